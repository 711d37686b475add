/* SPDX-License-Identifier: GPL-2.0-or-later */
/* relay_rpc.h: what the relay understands of ONC RPC: where a record of the
 * TCP record marking begins and ends, which procedure a call is for, and how
 * many calls of each there were. Knows no sockets.
 */
#pragma once

#include "../cache/base.h"

enum {
	RPC_MARK_BYTES = 4, /* before every fragment */
	RPC_CALL_HEAD_BYTES = 24, /* xid, type, rpcvers, prog, vers, proc */
	RPC_REPLY_HEAD_BYTES = 4, /* xid */
};

/* One direction of one connection. All zero is the state between records. */
struct rpc_stream {
	uint8_t mark[RPC_MARK_BYTES];
	unsigned mark_n;
	uint32_t fragment_left; /* bytes of it still to come */
	bool last; /* this fragment ends the record */
	uint8_t head[RPC_CALL_HEAD_BYTES]; /* the message's first bytes */
	unsigned head_n;
};

enum rpc_event {
	RPC_HEAD = 1, /* s->head has got its @want bytes */
	RPC_END = 2, /* the record ends here */
};

/* Consume bytes of @p until something happens; return how many. @want is the
 * number of message bytes to collect in s->head. Sets *@ret_events to a set of
 * enum rpc_event, 0 when all @len bytes were used and nothing happened. After
 * RPC_END s->head stays readable until the next step. */
size_t rpc_stream_step(struct rpc_stream *s, const uint8_t *p, size_t len,
		       unsigned want, unsigned *ret_events);

struct rpc_call {
	uint32_t xid, prog, vers, proc;
};

/* Decode a collected head; false when it is not a call. */
bool rpc_call_parse(const struct rpc_stream *s, struct rpc_call *ret_call);
uint32_t rpc_xid(const struct rpc_stream *s);

enum { RPC_NAME_BYTES = 40 };

/* "GETATTR" for NFSv3, "MOUNT.MNT", "COMPOUND", else "prog.vers.proc". */
const char *rpc_call_name(const struct rpc_call *call,
			  char buf[RPC_NAME_BYTES]);

enum { RPC_NFS3_PROCS = 22, RPC_OTHERS_MAX = 64 };

struct rpc_counts {
	uint64_t total;
	uint64_t nfs3[RPC_NFS3_PROCS];
	struct {
		struct rpc_call call;
		uint64_t n;
	} other[RPC_OTHERS_MAX];
	unsigned others_n;
	uint64_t uncounted; /* no room left in @other */
};

void rpc_counts_add(struct rpc_counts *counts, const struct rpc_call *call);

/* "NAME":count, ... without braces; NFSv3 procedures always, others when they
 * were called. */
void rpc_counts_print(const struct rpc_counts *counts, FILE *out);

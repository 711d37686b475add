/* SPDX-License-Identifier: GPL-2.0-or-later */
/* relay_rpc.c: record marking (RFC 5531, section 11) and the names of the
 * procedures (RFC 1813). The parser keeps no more than a message's first 24
 * bytes, so a record of any length costs nothing, and it takes the stream in
 * pieces of any size, because TCP delivers it so.
 */
#include "relay_rpc.h"

#include <inttypes.h>
#include <string.h>

enum { PROG_NFS = 100003, PROG_MOUNT = 100005, MSG_TYPE_CALL = 0 };

static const char *const nfs3_names[RPC_NFS3_PROCS] = {
	"NULL",	   "GETATTR", "SETATTR", "LOOKUP",  "ACCESS",	   "READLINK",
	"READ",	   "WRITE",   "CREATE",	 "MKDIR",   "SYMLINK",	   "MKNOD",
	"REMOVE",  "RMDIR",   "RENAME",	 "LINK",    "READDIR",	   "READDIRPLUS",
	"FSSTAT",  "FSINFO",  "PATHCONF", "COMMIT",
};

static const char *const mount_names[] = {
	"MOUNT.NULL", "MOUNT.MNT",     "MOUNT.DUMP",
	"MOUNT.UMNT", "MOUNT.UMNTALL", "MOUNT.EXPORT",
};

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}

/* Body bytes: collect the head, skip the rest. */
static size_t take_body(struct rpc_stream *s, const uint8_t *p, size_t len,
			unsigned want, unsigned *events)
{
	size_t n = MIN((size_t)s->fragment_left, len);

	if (s->head_n < want) {
		n = MIN(n, (size_t)want - s->head_n);
		memcpy(s->head + s->head_n, p, n);
		s->head_n += (unsigned)n;
		if (s->head_n == want)
			*events |= RPC_HEAD;
	}
	s->fragment_left -= (uint32_t)n;
	return n;
}

size_t rpc_stream_step(struct rpc_stream *s, const uint8_t *p, size_t len,
		       unsigned want, unsigned *ret_events)
{
	unsigned events = 0;
	size_t used = 0;

	while (used < len && !events) {
		if (s->mark_n < RPC_MARK_BYTES) {
			if (s->mark_n == 0 && s->last) {
				s->last = false;
				s->head_n = 0;
			}
			s->mark[s->mark_n++] = p[used++];
			if (s->mark_n < RPC_MARK_BYTES)
				continue;
			s->last = s->mark[0] & 0x80;
			s->fragment_left = be32(s->mark) & 0x7fffffff;
		} else {
			used += take_body(s, p + used, len - used, want,
					  &events);
		}
		if (s->fragment_left == 0) {
			s->mark_n = 0;
			if (s->last)
				events |= RPC_END;
		}
	}
	*ret_events = events;
	return used;
}

bool rpc_call_parse(const struct rpc_stream *s, struct rpc_call *ret_call)
{
	if (s->head_n < RPC_CALL_HEAD_BYTES || be32(s->head + 4) != MSG_TYPE_CALL)
		return false;
	*ret_call = (struct rpc_call){
		.xid = be32(s->head),
		.prog = be32(s->head + 12),
		.vers = be32(s->head + 16),
		.proc = be32(s->head + 20),
	};
	return true;
}

uint32_t rpc_xid(const struct rpc_stream *s)
{
	return be32(s->head);
}

const char *rpc_call_name(const struct rpc_call *call, char buf[RPC_NAME_BYTES])
{
	if (call->prog == PROG_NFS && call->vers == 3 &&
	    call->proc < RPC_NFS3_PROCS)
		return nfs3_names[call->proc];
	if (call->prog == PROG_NFS && call->vers == 4 && call->proc == 1)
		return "COMPOUND";
	if (call->prog == PROG_MOUNT && call->proc < ARRAY_LEN(mount_names))
		return mount_names[call->proc];
	(void)snprintf(buf, RPC_NAME_BYTES, "%" PRIu32 ".%" PRIu32 ".%" PRIu32,
		       call->prog, call->vers, call->proc);
	return buf;
}

void rpc_counts_add(struct rpc_counts *counts, const struct rpc_call *call)
{
	counts->total++;
	if (call->prog == PROG_NFS && call->vers == 3 &&
	    call->proc < RPC_NFS3_PROCS) {
		counts->nfs3[call->proc]++;
		return;
	}
	for (unsigned i = 0; i < counts->others_n; i++) {
		const struct rpc_call *c = &counts->other[i].call;

		if (c->prog == call->prog && c->vers == call->vers &&
		    c->proc == call->proc) {
			counts->other[i].n++;
			return;
		}
	}
	if (counts->others_n == RPC_OTHERS_MAX) {
		counts->uncounted++;
		return;
	}
	counts->other[counts->others_n].call = *call;
	counts->other[counts->others_n++].n = 1;
}

void rpc_counts_print(const struct rpc_counts *counts, FILE *out)
{
	char buf[RPC_NAME_BYTES];

	for (unsigned i = 0; i < RPC_NFS3_PROCS; i++)
		(void)fprintf(out, "%s\"%s\":%" PRIu64, i ? "," : "",
			      nfs3_names[i], counts->nfs3[i]);
	for (unsigned i = 0; i < counts->others_n; i++)
		(void)fprintf(out, ",\"%s\":%" PRIu64,
			      rpc_call_name(&counts->other[i].call, buf),
			      counts->other[i].n);
	if (counts->uncounted)
		(void)fprintf(out, ",\"others\":%" PRIu64, counts->uncounted);
}

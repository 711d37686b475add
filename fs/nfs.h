/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nfs.h: what the nfs_*.c files share; nobody else includes it.
 *
 *   nfs.c         the remote: which connection takes a call; open and close
 *   nfs_conn.c    one connection: its thread, its states, its calls
 *   nfs_ops.c     a remote_call as a message, and the reply's way back
 *   nfs_record.c  replies from the socket to libnfs, if they are well-formed
 *   nfs_reply.c   what that is; pure
 *   nfs_decode.c  a reply judged and copied into the remote_call; pure
 *   nfs_list.c    the same of a listing's page
 *   nfs_rpc.c     a connected libnfs context; calls one waits for
 *   nfs_mount.c   finding the server, and the MOUNT protocol (nfs_mount.h)
 *
 * libnfs knows no threads: a context is touched by the thread that made it and
 * by no other. What threads share is under one lock, struct nfs.lock, which is
 * held for a few instructions, never over a call of libnfs, a system call that
 * may wait, or a completion.
 */
#pragma once

#include "../cache/attr.h"
#include "../cache/sync.h"
#include "nfs_compat.h"
#include "nfs_mount.h"
#include "remote.h"

struct nfs;
struct nfs_conn;

/* Puts records together from what the socket gives. Zeroed at first. */
struct nfs_reader {
	char marker[4];
	unsigned marker_n; /* bytes of it that are there */
	bool last;         /* this fragment is the record's last */
	size_t left;       /* bytes of it that are still to come */
	/* With room for a marker in front. Who wants to keep a large part of it
	 * takes a reference. */
	struct bytes *record;
	size_t len; /* bytes without the marker */
};

/* A call that was given to libnfs. Its thread's own. */
struct nfs_flight {
	struct nfs_conn *conn;
	struct remote_call *call;
	struct nfs_flight *prev, *next; /* of the connection, oldest first */
	uint32_t xid;
	uint64_t sent_ms;
	int rejected; /* libnfs called back without a result: -errno */
	bool again;   /* to be sent once more, see nfs_flight_start() */

	/* ---- listings ---- */
	uint64_t cookie; /* where this page starts */
	uint8_t verf[8];
	unsigned pages; /* asked for in the name of this one call */
	bool plain;     /* READDIR, for a server without READDIRPLUS */

	struct bytes *buf; /* READ, where libnfs wants it beforehand */
};

enum nfs_conn_state { NFS_DOWN, NFS_CONNECTING, NFS_UP };

struct nfs_conn {
	struct nfs *nfs;
	pthread_t thread;
	int wake_fd; /* eventfd: look at the queue, or stop */

	/* ---- under nfs->lock ---- */
	enum nfs_conn_state state;
	struct remote_call *queue_head, *queue_tail;
	unsigned load; /* calls queued or in flight */
	bool asleep;   /* the thread waits: a submitter must wake it */
	bool ever_up;
	uint64_t retry_ms; /* DOWN: no attempt before this time */
	unsigned backoff_ms;
	int fd; /* for TCP_INFO; -1 unless UP */

	/* ---- the thread's own ---- */
	struct rpc_context *rpc;
	struct nfs_reader reader;
	uint32_t xid; /* of the last call */
	struct nfs_flight *flights, *flights_tail;
	bool sweep;         /* some flight is rejected or wants to go again */
	unsigned completed; /* not yet subtracted from load */
	bool heard;         /* a reply came over this connection */
};

struct nfs {
	struct remote remote;
	struct nfs_server server;
	char *path; /* as mounted */
	unsigned timeo_ms;

	struct mutex lock; /* guards what follows, and parts of conns[] */
	bool closing;
	uint64_t calls[REMOTE_OPS], replies, reconnects;
	uint64_t bytes_out, bytes_in; /* of connections that are gone */

	unsigned conns_n;
	struct nfs_conn conns[];
};

/* ---- nfs_conn.c ---- */

/* libnfs 4 decodes a listing by recursion, one level an entry: the largest
 * reply that it takes has 32,000 levels. */
enum { NFS_STACK_BYTES = 32 * 1024 * 1024 };

/* Start the thread of @c, which is zeroed but for nfs. */
int nfs_conn_start(struct nfs_conn *c);
/* nfs->closing is set: end the thread; all calls have completed then. */
void nfs_conn_stop(struct nfs_conn *c);

/* With the lock held, from any thread; @c is one of @nfs. */
bool nfs_conn_may_try(struct nfs *nfs, const struct nfs_conn *c,
		      uint64_t now_ms) REQUIRES(nfs->lock);
/* Make a connection that is DOWN try. */
void nfs_conn_kick(struct nfs *nfs, struct nfs_conn *c) REQUIRES(nfs->lock);
/* True: the caller is to nfs_conn_wake() once it has let the lock go. */
bool nfs_conn_push(struct nfs *nfs, struct nfs_conn *c,
		   struct remote_call *call) REQUIRES(nfs->lock);
/* Bytes that went over the present connection. */
void nfs_conn_add_bytes(struct nfs *nfs, const struct nfs_conn *c,
			uint64_t *out, uint64_t *in) REQUIRES(nfs->lock);

void nfs_conn_wake(struct nfs_conn *c);

/* The reply is in: the call is over with @status. Frees @f. */
void nfs_flight_finish(struct nfs_flight *f, int status);

/* ---- nfs_ops.c ---- */

/* Give the call of @f to its connection's libnfs context. On failure nothing
 * was queued: -ENAMETOOLONG, -EINVAL, -ENOMEM. */
int nfs_flight_start(struct nfs_flight *f);

/* ---- nfs_rpc.c ---- */

/* A context connected to @port of @address (numeric), as root, without delay of
 * small messages. Waits @timeout_ms at most. -ECANCELED when @cancel_fd (may be
 * -1) became readable; otherwise the reason connect(2) gives. */
int nfs_rpc_connect(const char *address, unsigned port, unsigned timeout_ms,
		    int cancel_fd, struct rpc_context **ret);

/* Where to start counting xids: a server recognises a repeated call by its xid,
 * so a new connection must not count through the numbers of an old one. */
uint32_t nfs_rpc_random(void);

/* A call one waits for. To be zeroed but for the first three. */
struct nfs_wait {
	const char *grammar; /* of the result, see nfs_reply.c */
	void (*take)(void *reply, void *out); /* while the reply is valid */
	void *out;
	int status;
	bool over;
};
/* The callback, with the struct nfs_wait as private data. */
void nfs_wait_cb(struct rpc_context *rpc, int status, void *data, void *arg);
/* Serve @rpc until @w is over. 0, -ETIMEDOUT, -ECONNRESET, or what
 * nfs_rpc_errno() makes of a rejection. */
int nfs_wait(struct rpc_context *rpc, struct nfs_wait *w, unsigned timeout_ms);

/* The callback's @status and @data when the call had no result: -EACCES the
 * credentials were refused, -EOPNOTSUPP no such procedure, -EPROTONOSUPPORT no
 * such program or version, -ETIMEDOUT, -EREMOTEIO. */
int nfs_rpc_errno(int status, const void *data);

/* ---- nfs_record.c ---- */

/* The grammar of the result that belongs to @xid, or NULL: no such call. */
typedef const char *nfs_grammar_fn(void *arg, uint32_t xid);

/* The socket of @rpc is readable: give libnfs the replies that are there, which
 * calls back. -ECONNRESET: the connection is of no more use. */
int nfs_reader_serve(struct nfs_reader *r, struct rpc_context *rpc,
		     nfs_grammar_fn *grammar, void *arg);
void nfs_reader_done(struct nfs_reader *r);

/* ---- nfs_reply.c ---- */

/* Is @reply, a record without its marker, safe to be decoded by libnfs? */
bool nfs_reply_ok(const void *reply, size_t len, const char *grammar);
/* @plain: READDIR in place of READDIRPLUS. */
const char *nfs_reply_grammar(enum remote_op op, bool plain);

/* ---- nfs_decode.c ----
 *
 * Pure functions. @c's results are written only as far as they are valid, and
 * its attributes are taken from failures, too. Each returns the call's status.
 */

enum { NFS_AGAIN = 1 }; /* nothing usable in this page: ask for the next */

int nfs_decode_status(int nfsstat);
bool nfs_decode_attr(const fattr3 *a, struct attr *ret);
bool nfs_decode_post(const post_op_attr *p, struct attr *ret);
bool nfs_decode_handle(const nfs_fh3 *fh, struct handle *ret);
void nfs_decode_post_handle(const post_op_fh3 *p, struct handle *ret);
bool nfs_decode_name_ok(const char *s);

int nfs_decode_getattr(struct remote_call *c, const GETATTR3res *res);
int nfs_decode_setattr(struct remote_call *c, const SETATTR3res *res);
int nfs_decode_lookup(struct remote_call *c, const LOOKUP3res *res);
int nfs_decode_access(struct remote_call *c, const ACCESS3res *res);
int nfs_decode_readlink(struct remote_call *c, const READLINK3res *res);
/* @of: what the data lies in, which the call refers to from then on unless most
 * of it is something else; @buffer: it starts there, else @res says where. */
int nfs_decode_read(struct remote_call *c, const READ3res *res,
		    struct bytes *of, bool buffer);
int nfs_decode_write(struct remote_call *c, const WRITE3res *res);
int nfs_decode_commit(struct remote_call *c, const COMMIT3res *res);
int nfs_decode_create(struct remote_call *c, const CREATE3res *res);
int nfs_decode_mkdir(struct remote_call *c, const MKDIR3res *res);
int nfs_decode_symlink(struct remote_call *c, const SYMLINK3res *res);
int nfs_decode_mknod(struct remote_call *c, const MKNOD3res *res);
int nfs_decode_remove(struct remote_call *c, const REMOVE3res *res);
int nfs_decode_rmdir(struct remote_call *c, const RMDIR3res *res);
int nfs_decode_rename(struct remote_call *c, const RENAME3res *res);
int nfs_decode_link(struct remote_call *c, const LINK3res *res);
/* nfs_list.c. @cookie: where the page was to start; where the next one does, after
 * NFS_AGAIN. */
int nfs_decode_readdirplus(struct remote_call *c, const READDIRPLUS3res *res,
			   uint64_t *cookie);
int nfs_decode_readdir(struct remote_call *c, const READDIR3res *res,
		       uint64_t *cookie);
int nfs_decode_fsstat(struct remote_call *c, const FSSTAT3res *res);
int nfs_decode_fsinfo(struct remote_call *c, const FSINFO3res *res);
int nfs_decode_pathconf(struct remote_call *c, const PATHCONF3res *res);

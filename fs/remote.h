/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remote.h: the server, behind one function.
 *
 * A struct remote_call is one NFSv3 procedure: arguments, results, and what to
 * do when it is over. remote_submit() starts it from any thread and returns at
 * once; the completion runs exactly once, in a thread of the remote (or in the
 * submitter's, when the remote needs no waiting), must not block and may
 * submit further calls. remote_run() is the blocking form built on that.
 *
 * Remotes stack: nfs.c speaks to a server and makes one attempt a call;
 * remote_mem.c is a server in memory; remote_fault.c wraps any of them and
 * injects errors, delays, lost replies; retry.c wraps any of them and makes of
 * attempts what a hard or a soft mount promises. The rest of the program holds
 * the top of the stack and does not know which it is.
 *
 * The server is untrusted: whatever comes back in a call has been checked by
 * the remote that decoded it (name lengths and characters, handle sizes,
 * types, counts no larger than asked for).
 */
#pragma once

#include "../cache/attr.h"
#include "../cache/bytes.h"
#include "../cache/sync.h"

enum remote_op {
	REMOTE_NULL,
	REMOTE_GETATTR,     /* fh -> attr */
	REMOTE_SETATTR,     /* fh, set -> attr, pre */
	REMOTE_LOOKUP,      /* fh/name -> fh_out, attr, dir_attr */
	REMOTE_ACCESS,      /* fh, access (bits asked) -> access (granted), attr */
	REMOTE_READLINK,    /* fh -> data (NUL-terminated), data_len, attr */
	REMOTE_READ,        /* fh, offset, count -> data (in data_of), data_len,
			     * eof, attr */
	REMOTE_WRITE,       /* fh, offset, data, data_len, stable -> count, attr, pre,
			     * stable (what the server did), verf */
	REMOTE_COMMIT,      /* fh -> verf, attr */
	REMOTE_CREATE,      /* fh/name, set; GUARDED -> fh_out, attr, dir_attr, pre */
	REMOTE_MKDIR,       /* the same */
	REMOTE_SYMLINK,     /* fh/name, set, data = target -> the same */
	REMOTE_MKNOD,       /* fh/name, set, type in set.mode, rdev -> the same */
	REMOTE_REMOVE,      /* fh/name -> dir_attr, pre */
	REMOTE_RMDIR,       /* fh/name -> dir_attr, pre */
	REMOTE_RENAME,      /* fh/name to fh2/name2; object (if known) -> dir_attr, pre,
			     * dir2_attr, pre2 */
	REMOTE_LINK,        /* object, to fh/name -> attr, dir_attr, pre */
	REMOTE_READDIRPLUS, /* fh, cookie, verf, count -> entries, eof, verf, dir_attr */
	REMOTE_FSSTAT,      /* fh -> fsstat */
	REMOTE_FSINFO,      /* fh -> fsinfo, attr */
	REMOTE_PATHCONF,    /* fh -> pathconf */
	REMOTE_OPS,
};

/* "LOOKUP"; the names of RFC 1813. */
const char *remote_op_name(enum remote_op op);

/* What SETATTR and the creating calls set. */
enum remote_set {
	REMOTE_SET_MODE = ATTR_MODE,
	REMOTE_SET_UID = ATTR_UID,
	REMOTE_SET_GID = ATTR_GID,
	REMOTE_SET_SIZE = ATTR_SIZE,
	REMOTE_SET_ATIME = ATTR_ATIME, /* to set.atime */
	REMOTE_SET_MTIME = ATTR_MTIME, /* to set.mtime */
	REMOTE_SET_ATIME_NOW = 1 << 6, /* to the server's clock */
	REMOTE_SET_MTIME_NOW = 1 << 7,
};

struct remote_sattr {
	unsigned valid; /* enum remote_set */
	uint32_t mode;  /* permission bits; MKNOD: the type bits too */
	uint32_t uid, gid;
	uint64_t size;
	struct timespec atime, mtime;
};

enum remote_stable { REMOTE_UNSTABLE, REMOTE_DATA_SYNC, REMOTE_FILE_SYNC };

/* The attributes before an operation, where the server gave them (weak cache
 * consistency). */
struct remote_pre {
	bool valid;
	uint64_t size;
	struct timespec mtime, ctime;
};

struct remote_dirent {
	const char *name; /* into the call's own memory */
	uint64_t fileid;
	uint64_t cookie;
	bool has_attr;
	struct handle fh; /* len 0: the server gave none */
	struct attr attr;
};

struct remote_fsstat {
	uint64_t bytes_total, bytes_free, bytes_avail;
	uint64_t files_total, files_free, files_avail;
};

struct remote_fsinfo {
	uint32_t read_max, write_max, readdir_pref; /* bytes */
	uint64_t file_size_max;
	struct timespec time_delta; /* the server's time granularity */
	bool has_links, has_symlinks, can_set_time;
};

struct remote_pathconf {
	uint32_t link_max, name_max;
	bool no_trunc, chown_restricted;
	bool case_insensitive, case_preserving;
};

enum { REMOTE_ACCESS_READ = 1, REMOTE_ACCESS_LOOKUP = 2,
       REMOTE_ACCESS_MODIFY = 4, REMOTE_ACCESS_EXTEND = 8,
       REMOTE_ACCESS_DELETE = 16, REMOTE_ACCESS_EXECUTE = 32 };

struct remote_call;
typedef void remote_done_fn(struct remote_call *c, void *arg);

struct remote_call {
	enum remote_op op;

	/* ---- arguments: filled in by the caller, not changed by a remote ---- */
	struct handle fh;  /* the object, or the directory of name */
	struct handle fh2; /* RENAME: the directory of name2 */
	struct handle object; /* LINK: the file; RENAME: the file, or len 0 */
	char name[NAME_BYTES_MAX + 1];
	char name2[NAME_BYTES_MAX + 1];
	struct remote_sattr set;
	uint32_t rdev_major, rdev_minor;
	uint64_t offset;
	uint32_t count;  /* bytes: asked for (READ, READDIRPLUS), done (WRITE) */
	uint32_t access;
	uint64_t cookie;
	uint8_t verf[8]; /* READDIRPLUS: in and out; WRITE, COMMIT: out */
	enum remote_stable stable;
	void *data; /* owned by the call: malloc'ed, or within data_of */
	uint32_t data_len;
	struct bytes *data_of; /* a reference, or NULL */
	bool background; /* nobody waits for it: it stays out of the way of
			  * those that somebody waits for */

	/* ---- results ---- */
	int status;      /* 0 or -errno, see below */
	bool maybe_done; /* status is an error of the transport, and the server
			  * may have executed the call all the same */
	bool eof;
	bool has_attr, has_dir_attr, has_dir2_attr;
	struct handle fh_out; /* len 0: the server gave none */
	struct attr attr, dir_attr, dir2_attr;
	struct remote_pre pre, pre2; /* of the (first, second) directory, or of
				      * the object for SETATTR and WRITE */
	struct remote_dirent *entries; /* owned by the call, one allocation */
	size_t entries_n;
	struct remote_fsstat fsstat;
	struct remote_fsinfo fsinfo;
	struct remote_pathconf pathconf;

	/* ---- for the remotes; others leave these alone ---- */
	struct {
		remote_done_fn *fn;
		void *arg;
	} frames[4]; /* who is to be told, the innermost layer last */
	unsigned frames_n;
	unsigned refs;            /* atomic */
	struct remote_call *next; /* in the queue of whoever holds it now */
	uint64_t started_ms;      /* clock_ms() of the first attempt */
	unsigned attempts;        /* made by the retry layer */
};

/* Errors in call->status:
 *   -ENOTCONN     not sent: no connection to the server can be made
 *   -ECONNRESET   the connection broke before a reply came (maybe_done is set)
 *   -ETIMEDOUT    no reply in time (maybe_done is set)
 *   -EINPROGRESS  the server says: later (JUKEBOX)
 *   -ESTALE       the handle is no longer valid (also BADHANDLE)
 *   -EREMOTEIO    the server failed or its reply makes no sense
 *   -EBADE        READDIRPLUS: the cookie is no longer good (BAD_COOKIE)
 *   -EINTR        remote_run() was interrupted
 *   otherwise     what the server said: -ENOENT, -EACCES, -EROFS, ...
 * The retry layer lets none of the first four through: it waits, and on a soft
 * mount turns the first three into -EIO at the end of its patience. */
static inline bool remote_error_is_transport(int status)
{
	return status == -ENOTCONN || status == -ECONNRESET ||
	       status == -ETIMEDOUT;
}

/* A zeroed call with one reference. NULL without memory, or when @name (may be
 * NULL) is longer than NAME_BYTES_MAX: callers check names beforehand. */
struct remote_call *remote_call_new(enum remote_op op, const struct handle *fh,
				    const char *name);
struct remote_call *remote_call_ref(struct remote_call *c);
void remote_call_unref(struct remote_call *c); /* NULL is fine */

/* What a READ brought; without a reference of its own. */
static inline struct slice remote_call_data(const struct remote_call *c)
{
	return (struct slice){ .of = c->data_of, .at = c->data,
			       .len = c->data_len };
}

/* Make a call ready to be sent once more: results cleared, arguments kept. */
void remote_call_reset(struct remote_call *c);

struct remote; /* a layer */

struct remote_info { /* what `status` shows */
	unsigned connections, connected;
	uint64_t calls[REMOTE_OPS]; /* attempts that were sent */
	uint64_t replies, reconnects, retries;
	uint64_t bytes_out, bytes_in;
	char address[64]; /* "192.0.2.1 port 2049" */
};

struct remote_vtable {
	void (*submit)(struct remote *r, struct remote_call *c);
	void (*info)(struct remote *r, struct remote_info *ret);
	/* All calls submitted have completed when it returns; those that were
	 * waiting complete with -ENOTCONN. Closes the layers beneath. */
	void (*close)(struct remote *r);
};

struct remote {
	const struct remote_vtable *v;
};

/* @done(c, @arg) is told once; the remote holds a reference until then. */
void remote_submit(struct remote *r, struct remote_call *c,
		   remote_done_fn *done, void *arg);

/* For remotes: a call is over (status and results are set); tells the
 * innermost frame, and drops the reference of the submission. */
void remote_complete(struct remote_call *c);

void remote_get_info(struct remote *r, struct remote_info *ret);
void remote_close(struct remote *r); /* NULL is fine */

/* Somebody else's wish that a blocking call should end: a signal that reached
 * the application (FUSE_INTERRUPT). One for each request; may outlive calls. */
struct remote_intr {
	bool raised; /* atomic */
	/* Asked from time to time once raised: is it a signal that ends the
	 * program (SIGINT, SIGTERM, ...)? Others do not cut a call short, as
	 * they do not on a local disk. NULL: yes. */
	bool (*fatal)(void *arg);
	void *arg;
};
void remote_intr_raise(struct remote_intr *i);
bool remote_intr_is_fatal(struct remote_intr *i);

/* Submit and wait. Returns call->status, or -EINTR when @intr (may be NULL) was
 * raised before the reply, or -EAGAIN when @timeout_ms (0: none) passed; in
 * both cases the call goes on by itself, its results must not be looked at, and
 * the caller just drops its reference. */
int remote_run(struct remote *r, struct remote_call *c, struct remote_intr *intr,
	       unsigned timeout_ms);

/* ---- the layers ---- */

struct remote_nfs_options {
	const char *host, *path;
	unsigned port, mountport; /* 0: ask the portmapper */
	unsigned nconnect;        /* connections */
	unsigned timeo_ms;        /* without a reply for so long: reconnect */
};

/* Resolve, MNT, and connect: blocking, for use before the mount exists.
 * @ret_root is the root's handle. On failure *@ret_why (malloc'ed, may be NULL)
 * is a sentence for the user: what failed, on what, what to do. */
int remote_nfs_open(const struct remote_nfs_options *o, struct remote **ret,
		    struct handle *ret_root, char **ret_why);

struct remote_retry_options {
	bool soft;
	unsigned timeo_ms, retrans; /* soft: gives up after timeo * (retrans + 1) */
};
/* Takes ownership of @inner when it succeeds. */
int remote_retry_open(struct remote *inner, const struct remote_retry_options *o,
		      struct remote **ret);

/* True while the last attempt of a call failed in the transport: the server is
 * away. What is known then keeps being served. */
bool remote_retry_is_away(struct remote *retry);

/* Is somebody waiting for the server, or was a moment ago? Then it should not be
 * given much else to do: calls that are `background` are none of those. */
bool remote_retry_is_waited_for(struct remote *retry);

/* From now on a call that the server does not answer ends with -EIO, at once if
 * it waits already: for closing while the server is away. */
void remote_retry_give_up(struct remote *retry);

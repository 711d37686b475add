/* SPDX-License-Identifier: GPL-2.0-or-later */
/* wback.h: the write-back log: changes that applications were told are done and
 * that the server has not seen yet. Truth is the server and this.
 *
 * A change is applied by wback_apply(): it is in the log file (the page cache
 * has it: the death of the process loses nothing) and in the overlay, the part
 * of the file tree that is newer than the server, when that returns. The log is
 * fsynced every interval, or at once for whoever waits in wback_sync().
 *
 * Whoever sends the changes takes them as jobs (wback_take()), in an order in
 * which they may be sent side by side, and reports what came of each. Opening
 * the log replays it: the overlay is then what it was, and what had been taken
 * and not reported is taken again, marked `again`.
 *
 * Threads: every function may be called from any thread. The overlay and the metadata cache are one state
 * to a reader who holds the cache's bracket, because wback_apply() and the
 * reports are called inside it; see fs/view.h.
 */
#pragma once

#include "attr.h"
#include "sync.h"

struct wback; /* opaque */

/* An inode as its changes refer to it. Kept in the log, so that the log can be
 * replayed without the metadata cache. */
struct wback_ref {
	uint64_t ino;    /* 0: none */
	uint64_t parent; /* the directory where it is, or was last seen */
	uint32_t mode;   /* the type bits at least */
	uint32_t nlink;  /* as applications see it before the change; of what
			  * wback_refs() gives: as the server has it */
	struct handle fh; /* len 0: the server does not know it yet */
	/* The server's version that the change is based on; with fh only. */
	uint64_t fsid, fileid, size; /* fileid 0: the version is not known */
	struct timespec mtime;
};

enum wback_op {
	WBACK_MAKE,    /* obj, new, as dir/name; attr; target of a symlink */
	WBACK_LINK,    /* obj also as dir/name */
	WBACK_REMOVE,  /* dir/name, which is obj; a directory is empty */
	WBACK_RENAME,  /* dir/name, which is obj, to newdir/newname, which is
			* `replaced` (ino 0: nothing) */
	WBACK_SETATTR, /* attr's fields of mask (enum attr_mask) on obj */
	WBACK_WRITE,   /* data, len at offset of obj */
};

struct wback_change {
	enum wback_op op;
	struct wback_ref obj, dir, newdir, replaced;
	const char *name, *newname, *target;
	unsigned mask;
	struct attr attr; /* MAKE: mode, uid, gid, mtime, atime, rdev */
	uint64_t offset;
	const void *data;
	uint32_t len;
	struct timespec now; /* the ctime that the change leaves */
};

struct wback_options {
	uint64_t bytes_max;    /* of the log; past it wback_room() says no */
	uint64_t keep_free;    /* bytes of the disk that are left to others */
	unsigned interval_ms;  /* between fsyncs */
	uint64_t segment_bytes; /* of a file of the log; 0: by bytes_max */
	/* Where a name stands in the order of directories (meta_offset()). */
	uint64_t (*name_offset)(void *arg, const char *name);
	void *arg;
};

/* Opens, or makes, the log in directory @dir, and replays it. @server as for
 * meta_open(). -EUCLEAN: damaged in the middle; *@ret_why (malloc'ed) says
 * where; -EXDEV: of another server; -EMEDIUMTYPE: another format version;
 * -EBUSY: in use; or an errno of the disk. */
int wback_open(const char *dir, const char *server,
	       const struct wback_options *o, struct wback **ret,
	       char **ret_why);

/* Syncs and closes; what is pending stays for the next time. NULL is fine. */
void wback_close(struct wback *wb);

/* No inode number in the log is as large. */
uint64_t wback_ino_bound(struct wback *wb);

/* Calls @fn for each inode with changes pending that the server knows. For use
 * after opening, when the metadata cache may not know them. */
typedef void wback_ref_fn(void *arg, const struct wback_ref *ref);
void wback_refs(struct wback *wb, wback_ref_fn *fn, void *arg);

/* ---- changes ---- */

struct wback_view {
	struct wback_ref ref;
	bool fresh;      /* the server does not know it: attr has every field */
	bool removed;    /* no name is left */
	unsigned local;  /* enum attr_mask: fields of attr that are newer */
	struct attr attr;
	int nlink_delta; /* to be added to what the server says; not if fresh */
	int error;       /* -errno: the server refuses a change of it for good */
};

/* The inodes that have nothing pending any more: what the overlay said of them
 * last. The caller's cache takes over. */
struct wback_settled {
	struct wback_view views[8];
	unsigned n;
};

/* -ENOSPC: the local disk has no room; -EAGAIN: ch->obj or a directory has no
 * handle in its ref, and the log no longer knows it: look again. On failure
 * nothing has changed. *@ret_seq (may be NULL): for wback_sync(). *@ret: what
 * settled because the change undid another. */
int wback_apply(struct wback *wb, const struct wback_change *ch,
		uint64_t *ret_seq, struct wback_settled *ret);

/* 0: the log has room for @bytes; -EAGAIN: wait; -ENOSPC: as above, or what is
 * stuck takes all the room. */
int wback_room(struct wback *wb, uint64_t bytes);
/* Until there may be room, or the clock_ms() @deadline_ms. */
void wback_wait_room(struct wback *wb, uint64_t deadline_ms);

/* Until all up to @seq (0: everything) is on the local disk. */
int wback_sync(struct wback *wb, uint64_t seq);

/* The kernel has let go of a removed inode: nobody can ask for it again. */
void wback_forget(struct wback *wb, uint64_t ino);

/* ---- the overlay ---- */

/* False: the log knows nothing of it. */
bool wback_get(struct wback *wb, uint64_t ino, struct wback_view *ret);

/* Has it changes that are to be sent? A directory has while names in it do. */
bool wback_is_pending(struct wback *wb, uint64_t ino);

/* 1: @name is *@ret_ino; -ENOENT: it is absent; 0: the log does not say. */
int wback_name_get(struct wback *wb, uint64_t dir, const char *name,
		   uint64_t *ret_ino, uint8_t *ret_type);

struct wback_dirent {
	uint64_t offset; /* options.name_offset(name) */
	uint64_t ino;
	uint8_t type;    /* DT_* */
	bool absent;     /* the name is gone */
	char name[NAME_BYTES_MAX + 1];
};
/* The next names of @dir of an offset greater than @after, in the order of
 * (offset, name). Returns how many, at most @n. */
unsigned wback_names(struct wback *wb, uint64_t dir, uint64_t after,
		     struct wback_dirent *ret, unsigned n);

/* The target of a symlink that is fresh; malloc'ed. */
int wback_readlink(struct wback *wb, uint64_t ino, char **ret);

enum wback_source { WBACK_DATA, WBACK_ZERO, WBACK_SERVER };
/* Where the bytes at @offset come from, and *@ret_n, at most @len, how many of
 * them; WBACK_DATA: they are in @buf. Sizes are the caller's matter. */
int wback_read(struct wback *wb, uint64_t ino, uint64_t offset, uint32_t len,
	       void *buf, enum wback_source *ret_source, uint32_t *ret_n);

/* ---- sending ---- */

enum wback_job_kind { JOB_MAKE, JOB_LINK, JOB_REMOVE, JOB_RENAME, JOB_STORE };

struct wback_extent {
	uint64_t offset;
	uint64_t len;
};

struct wback_job {
	enum wback_job_kind kind;
	uint64_t id;
	struct wback_ref obj, dir, newdir, replaced; /* with handles as now known */
	char *name, *newname, *target;               /* the job's */
	/* MAKE: all of attr; STORE: the fields of mask. In that order: cut to
	 * trunc unless UINT64_MAX, write the extents, set mask. */
	unsigned mask;
	struct attr attr;
	uint64_t trunc;
	struct wback_extent *extents; /* the job's, sorted */
	unsigned extents_n;
	uint64_t bytes;      /* of all extents */
	bool store_follows;  /* MAKE of a regular file: a STORE sets its mtime */
	struct timespec verifier; /* MAKE: the mtime to create it with: unique if
				   * store_follows; the same when sent again */
	bool ours;           /* obj, or what is replaced, has no version that it
			      * could be compared to: no conflict to look for */
	bool last_name;      /* takes the last name from obj (RENAME: replaced) */
	bool again;          /* was sent before and no reply is known */
	struct op *op;       /* private */
	void *sources;       /* private: keeps the contents readable */
};

/* What may be sent: what is older than @delay_ms, or was changed up to @force.
 * @unique_time gives the verifiers. */
struct wback_want {
	unsigned delay_ms;
	uint64_t force;
	struct timespec (*unique_time)(void *arg);
	void *arg;
};
/* Takes up to @n jobs. Returns how many, or -errno. */
int wback_take(struct wback *wb, const struct wback_want *want,
	       struct wback_job **ret, unsigned n);
/* When wback_take() may have something (clock_ms()); UINT64_MAX: not before
 * something else happens. */
uint64_t wback_due(struct wback *wb, const struct wback_want *want);
void wback_job_free(struct wback_job *job); /* NULL is fine */

/* Contents for STORE: @len bytes at @offset, inside one extent. */
int wback_job_read(struct wback *wb, const struct wback_job *job,
		   uint64_t offset, uint32_t len, void *buf);

/* The server has it. @fh: the handle of obj, when it is new. @now: the server's
 * attributes of obj after it, for the next change to be based on; NULL: not
 * told. */
void wback_done(struct wback *wb, struct wback_job *job,
		const struct handle *fh, const struct attr *now,
		struct wback_settled *ret);
/* The server knows @ino by @fh now: it was made anew. */
void wback_moved(struct wback *wb, uint64_t ino, const struct handle *fh);
/* Not sent, or, @maybe, no answer: to be taken again. */
void wback_undo(struct wback *wb, struct wback_job *job, bool maybe);
/* The server refuses it for good. Kept, with all that hangs on it. */
void wback_stuck(struct wback *wb, struct wback_job *job, int err);

/* ---- what is stuck, what is beside ---- */

enum wback_trouble_kind {
	TROUBLE_STUCK, /* the server refuses it: .error */
	TROUBLE_COPY,  /* the server's version was kept beside as .name */
};

struct wback_trouble {
	uint64_t id;
	enum wback_trouble_kind kind;
	enum wback_job_kind job; /* STUCK */
	int error;               /* STUCK: -errno */
	uint64_t ino, dir;       /* COPY: dir/name is the copy of dir/of */
	const char *name, *of;
	time_t when;
};
typedef void wback_trouble_fn(void *arg, const struct wback_trouble *t);
void wback_troubles(struct wback *wb, wback_trouble_fn *fn, void *arg);

/* A copy of the server's version of dir/of was kept as dir/name. */
int wback_note_copy(struct wback *wb, uint64_t dir, const char *name,
		    const char *of);
/* STUCK: try again. -ENOENT: no such trouble. */
int wback_retry(struct wback *wb, uint64_t id);
void wback_retry_all(struct wback *wb);
/* STUCK: give the local change up, and what hangs on it; COPY: no longer
 * listed. *@ret: what settled by it. -ENOENT. */
int wback_drop(struct wback *wb, uint64_t id, struct wback_settled *ret);

struct wback_stats {
	uint64_t ops, inodes;    /* pending */
	uint64_t data_bytes;     /* pending contents */
	uint64_t log_bytes;      /* on the local disk */
	uint64_t oldest_ms;      /* age of the oldest pending change */
	uint64_t seq, durable;   /* the last change; the last one on disk */
	uint64_t first;          /* all changes below are on the server, but for
				  * what is stuck and what hangs on that */
	uint64_t stuck, copies;
	uint64_t cancelled;      /* changes never sent because undone, in all */
	uint64_t replayed;       /* records read at opening */
	bool full;               /* the local disk had no room, last time */
};
void wback_get_stats(struct wback *wb, struct wback_stats *ret);

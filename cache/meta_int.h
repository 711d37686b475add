/* SPDX-License-Identifier: GPL-2.0-or-later */
/* meta_int.h: private to the metadata cache: the open cache, and what its files
 * offer each other. From the bottom: meta_key (bytes), meta_env (the
 * transaction and its thread), meta_files (open, close, mark), meta (inodes and
 * the index), meta_spare (those that find no room), meta_names (names, sweep).
 */
#pragma once

#include <assert.h>
#include <lmdb.h>
#include <sys/queue.h>

#include "meta_key.h"

enum {
	/* A transaction holds at most META_OPS_MAX single changes of a
	 * database; past META_OPS_SOFT the end of a bracket commits it. This
	 * bounds dirty pages, hence memory, and the room a commit can need. */
	META_OPS_SOFT = 768,
	META_OPS_MAX = 1024,

	/* Ranges are deleted, and walked when nobody waits, in such steps. */
	META_STEP = 256,

	/* Numbers at least set aside on disk beyond the last one given out.
	 * Small, since each crash wastes that many, and 32-bit programs cannot
	 * stat() a file whose number needs more than 32 bits. */
	META_INO_RESERVE = 65536,
	META_INO_FIRST = 16,

	/* Inodes kept in memory for want of room, before those that nobody
	 * needs go. */
	META_SPARE_SOFT = 65536,

	/* Whoever fills the disk may make room; not looked for at each put. */
	META_ROOM_AGAIN_MS = 200,
};

/* What the lock file says of the data on disk; see meta_files.c. */
enum meta_mark {
	MARK_NONE,
	MARK_CLEAN,
	MARK_OPEN,
	MARK_CLOSED,
	MARK_DAMAGED,
};

/* A change that frees in the end may use the last of the room. */
enum meta_need { NEED_GROW, NEED_SHRINK };

struct meta {
	struct mutex lock; /* guards all below it, but for what is constant */
	struct cond wake;  /* the committer: first change, due now, or stop */
	bool bracket;	   /* somebody is between meta_begin and meta_end */
	bool stop;
	bool running; /* the committer was started */
	bool walking; /* a walk's cursor is open: no change, no commit */
	int broken;   /* -errno of every call from now on, or 0 */

	MDB_txn *txn;	    /* the only one; never NULL unless broken */
	unsigned ops;	    /* changes in it */
	uint64_t due_ms;    /* clock_ms() when it must be committed */
	uint64_t commits;   /* of transactions with changes */
	bool marked_open;   /* the lock file says MARK_OPEN, on disk */
	bool commit_failed; /* said so once */
	int lost;	    /* -errno of a lost transaction, for meta_sync */
	uint64_t next_ino;
	uint64_t ino_bound; /* committed: next_ino must stay below */
	struct meta_info info;

	uint64_t file_bytes; /* of the data file, room included */
	bool room[2];	     /* by enum meta_need */
	uint64_t room_again_ms; /* clock_ms(): when to look again */
	bool no_room;	     /* a test takes the room away here */

	TAILQ_HEAD(, spare) spares; /* meta_spare.c */
	void *spare_by_ino, *spare_by_handle; /* tsearch(3) */
	size_t spare_n, spare_soft;
	meta_keep_fn *keep;
	void *keep_arg;

	uint64_t damaged;    /* records dropped for a bad check */

	/* Constant once open: */
	MDB_env *env;
	MDB_dbi inodes, index, names, targets, info_db;
	int data_fd; /* LMDB's own */
	int lock_fd;
	size_t page_bytes;
	uint64_t map_bytes;
	bool was_closed;
	uint64_t session_start; /* stamp */
	uint64_t opened_us;	/* boot time */
	struct meta_keys keys;
	pthread_t committer;
	/* A test makes names collide here. */
	uint64_t (*name_offset)(const struct meta_keys *k, const char *name,
				size_t len);

};

/* Public functions start with it: the caller holds the bracket. */
static inline void meta_bracket_check(const struct meta *m)
	THREAD_ANNOTATION(assert_capability(m->lock))
{
	assert(m->bracket);
	(void)m;
}

/* ---- meta_files.c ---- */

/* On failure meta_files_close() is still due. */
int meta_files_open(struct meta *m, const char *dir, const char *server);
void meta_files_close(struct meta *m);

/* Write the mark; on disk at return, but for MARK_CLEAN and MARK_CLOSED. */
int meta_files_mark(const struct meta *m, enum meta_mark mark);

/* ---- meta_env.c ---- */

uint64_t meta_boot_us(void);
int meta_errno(int rc);

/* The transaction; at open. -errno, and then the cache is broken. */
int meta_env_begin(struct meta *m) REQUIRES(m->lock);

/* The thread that commits, once all else is open. */
int meta_env_start(struct meta *m);
void meta_env_stop(struct meta *m);

/* Ends the transaction and begins the next. -errno when changes were lost. */
int meta_env_commit(struct meta *m) REQUIRES(m->lock);

/* The same, with @bound as the number below which inodes are given out. */
int meta_env_commit_bound(struct meta *m, uint64_t bound) REQUIRES(m->lock);

/* Commits and has it on disk; takes the bracket itself. */
int meta_env_sync(struct meta *m);

/* The bracket ends: commits if that is due. */
void meta_env_bracket_end(struct meta *m) REQUIRES(m->lock);

/* Before a change of at most @ops steps: commits first when they would not
 * fit. No cursor may be open. -ENOSPC, or why the cache is broken. */
int meta_env_room(struct meta *m, unsigned ops, enum meta_need need)
	REQUIRES(m->lock);

/* One record. @ret_data is valid until the next change. -ENOENT. */
int meta_db_get(struct meta *m, MDB_dbi db, const void *key, size_t key_len,
		MDB_val *ret_data) REQUIRES(m->lock);
int meta_db_put(struct meta *m, MDB_dbi db, const void *key, size_t key_len,
		const void *data, size_t len) REQUIRES(m->lock);
int meta_db_del(struct meta *m, MDB_dbi db, const void *key, size_t key_len)
	REQUIRES(m->lock);

/* LMDB refused with @rc what should have worked. The transaction, which it
 * spoils, is given up, and with it open cursors; damage ends the use of the
 * cache. Returns -errno. */
int meta_env_fail(struct meta *m, int rc) REQUIRES(m->lock);
void meta_env_changed(struct meta *m) REQUIRES(m->lock);

/* ---- meta.c ---- */

/* A record of @dir's names was damaged, so a name is missing: its absence no
 * longer proves anything. */
void meta_dir_incomplete(struct meta *m, uint64_t dir) REQUIRES(m->lock);
int meta_inode_drop(struct meta *m, uint64_t ino) REQUIRES(m->lock);

/* ---- meta_spare.c ---- */

/* NULL: not there. Valid until the next change. */
const struct meta_inode *spare_get(const struct meta *m, uint64_t ino)
	REQUIRES(m->lock);
const struct meta_inode *spare_find(const struct meta *m,
				    const struct handle *h) REQUIRES(m->lock);
/* -ENOSPC, -ENOMEM: nothing changed. */
int spare_put(struct meta *m, const struct meta_inode *in) REQUIRES(m->lock);
void spare_drop(struct meta *m, uint64_t ino) REQUIRES(m->lock); /* or none */
/* To the disk, as far as there is room: a few, or @all. */
void spare_return(struct meta *m, bool all) REQUIRES(m->lock);
void spare_free(struct meta *m) REQUIRES(m->lock);

/* ---- meta_names.c ---- */

int meta_names_drop(struct meta *m, uint64_t dir) REQUIRES(m->lock);

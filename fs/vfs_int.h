/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vfs_int.h: what the vfs's files share.
 *
 * The way through: an operation reads what it needs in one meta bracket,
 * closes it, asks the server (no lock held), and records what came back in a
 * second bracket. Between the two the world may have changed. Two mechanisms
 * keep an old reply from overwriting newer knowledge:
 *
 *   the sequence  Every change of ours takes a number before it is sent and
 *                 another when its result is recorded, and leaves it in
 *                 changed[] under the inodes it touches. A fill remembers the
 *                 sequence when it was sent (vfs_sent()); what was touched
 *                 later than that is not overwritten (vfs_is_newer()).
 *                 changed[] is hashed by inode: a collision costs a repeated
 *                 question, never a wrong answer.
 *   the flight    A listing under way takes note of the names that we change
 *                 meanwhile, and leaves those alone (vfs_dir.c, flight.c).
 *
 * Locks, in order: meta bracket -> the log's -> vfs.lock -> ahead's, node
 * table. None is held while the server is asked.
 */
#pragma once

#include <sys/queue.h>

#include "hold.h"
#include "node.h"
#include "vfs.h"
#include "../cache/msg.h"
#include "../cache/wback.h"

enum { CHANGED_SLOTS = 4096, PINS_MAX = 256, HOLD_DIRS_MAX = 32,
       FLIGHT_SLOTS = 256 };

struct ahead;  /* what is in use, and about to be, ahead.c */
struct fetch;  /* contents, fetch.h */
struct flight; /* a question to the server under way, flight.c */
struct tours;  /* walks that a command asked for, tour.c */

/* Of an inode that is known, but not believed: older than any real stamp. */
enum { STAMP_DOUBTED = 1 };
struct times;  /* modification times not yet sent, times.c */

struct pin {
	uint64_t dir, ino;
	char *name;
};

struct place { /* of an option through= or back= */
	uint64_t ino;
	bool through;
};

struct hold_dir {
	uint64_t fsid;
	struct handle fh;
};

struct vfs {
	/* Set by vfs_open() and then only read: */
	const struct config *config;
	struct meta *meta;
	struct remote *remote;
	struct wback *wback; /* NULL: everything goes through */
	struct flush *flush; /* set once, when there is one */
	struct stats *stats;
	struct nodes *nodes;
	struct times *times;
	struct ahead *ahead;
	struct fetch *fetch;
	struct tours *tours;
	struct remote_fsinfo fsinfo;
	struct remote_pathconf pathconf;
	struct place places[LIMIT_POLICIES];
	unsigned places_n;
	uint64_t session; /* meta_session_start() */
	uint64_t trust_from; /* what was confirmed before is not believed, not
			      * even forever: the cache was not closed */
	char client[64];  /* our host's name, before the names of held files */
	uint64_t time_delta_ns;

	/* Atomic: */
	uint64_t seq;
	uint64_t changed[CHANGED_SLOTS];
	uint64_t last_time_ns; /* given out by vfs_unique_time() */
	int64_t clock_lead_ns; /* a clock of ours is ahead of the server's by at
				* most so much */
	bool log_full;         /* the user was told */
	uint64_t log_full_ms;  /* when it was so last; these two: atomic */

	struct mutex lock; /* guards what follows */
	struct cond cond;  /* the worker has work, a call ended, or closing */
	struct flight *flights[FLIGHT_SLOTS]; /* hashed by inode */
	TAILQ_HEAD(, flight) replies; /* for the worker */
	bool stirred; /* ahead.c or tour.c has work for the worker */
	bool working; /* the worker has some */
	struct pin pins[PINS_MAX];
	unsigned pins_n;
	struct hold_dir hold[HOLD_DIRS_MAX];
	unsigned hold_n;
	unsigned in_flight; /* submitted calls nobody waits for */
	bool closing, closed; /* vfs_close() has begun; needs nothing more */
	struct remote_fsstat fsstat;
	uint64_t fsstat_ms;  /* clock_ms() of it, 0: never */
	uint64_t fsstat_seq; /* vfs_sent() of it */
	struct vfs_kernel kernel; /* .arg NULL: it cannot be told anything */
	unsigned telling;         /* threads that do */
	uint64_t *stale;          /* inos: see vfs_kernel.c */
	size_t stale_n;           /* also read without the lock */
	pthread_t teller;

	pthread_t worker; /* moves on what nobody waits for */
};

/* ---- the sequence (vfs.c) ---- */

uint64_t vfs_sent(struct vfs *v); /* the number a fill remembers */
void vfs_touch(struct vfs *v, uint64_t ino);
bool vfs_is_newer(struct vfs *v, uint64_t ino, uint64_t sent);

/* What a fill must know of the moment it was sent. */
struct moment {
	uint64_t sent;  /* vfs_sent() */
	uint64_t stamp; /* meta_now() */
};
struct moment vfs_moment(struct vfs *v);

/* A time of the local clock, different from every other one given out, as
 * fine as the server can store. New files carry it as their mtime: so all
 * files' times come from one clock, and a repeated CREATE whose first reply was
 * lost is recognised by it. */
struct timespec vfs_unique_time(struct vfs *v);

/* ---- the space left (vfs_data.c) ---- */

/* The server said so of what had been changed up to vfs_sent() @seq. */
void vfs_space_learn(struct vfs *v, const struct remote_fsstat *now,
		     uint64_t seq);

/* ---- where changes go (policy.c) ---- */

int policy_open(struct vfs *v);
/* Does what is changed in directory @dir go to the server at once? Without a
 * log, all does. */
bool policy_is_through(struct vfs *v, uint64_t dir);

/* ---- trust (vfs_lookup.c) ---- */

/* The trust window. It never changes while a vfs is open, but in tests. */
static inline uint32_t vfs_ac_ms(const struct vfs *v)
{
	return __atomic_load_n(&v->config->ac_ms, __ATOMIC_RELAXED);
}

/* Does what was confirmed at @checked still count, for an operation that began
 * at @since (0: for one that asks nothing)? */
bool vfs_trusts(struct vfs *v, uint64_t checked, uint64_t since);

/* Make the kernel's answer of an inode. In a bracket. */
void vfs_answer(struct vfs *v, const struct meta_inode *i, uint64_t dir_checked,
		struct vfs_entry *ret);
/* The same, and one reference more. */
void vfs_answer_ref(struct vfs *v, const struct meta_inode *i,
		    uint64_t dir_checked, struct vfs_entry *ret);

/* ---- fills (vfs_fill.c) ---- */

/* In a bracket: merge attributes of the server into @i (not stored). @ours: the
 * reply to a change of ours; differences are then no news. */
void vfs_merge(struct vfs *v, struct meta_inode *i, const struct attr *a,
	       const struct moment *when, bool ours);

/* The same of inode @ino, in a bracket of its own, and stored. -ESTALE: it is not
 * known. */
int vfs_record_attr(struct vfs *v, uint64_t ino, const struct attr *a,
		    const struct moment *when);

/* In a bracket: the inode of a handle, known or new, with @a merged and stored.
 * @parent: where it was seen. */
int vfs_adopt(struct vfs *v, uint64_t parent, const struct handle *fh,
	      const struct attr *a, const struct moment *when, bool ours,
	      struct meta_inode *ret);

/* Every change of a file from now on gives it another ctime than @ctime: the
 * server's clock has moved on since. */
bool vfs_is_settled(struct vfs *v, const struct timespec *ctime);

/* In a bracket: record @dir's attributes after a change of ours in it, given
 * the attributes before: was it only us? Stores and returns it in @ret. */
int vfs_merge_dir(struct vfs *v, uint64_t dir, bool has_attr,
		  const struct attr *post, const struct remote_pre *pre,
		  const struct moment *when, struct meta_inode *ret);

/* ---- questions to the server (vfs_lookup.c) ---- */

/* Ask the server for @i's attributes, and record them. On success *@i is what
 * is now known, which may be less than @since demands: then ask once more. When
 * the server is away, *@i stays and that is success. */
int vfs_revalidate(struct vfs *v, const struct caller *c, struct meta_inode *i,
		   uint64_t since);

/* Known and trusted as of @since; asks the server when it must. */
int vfs_inode(struct vfs *v, const struct caller *c, uint64_t ino,
	      uint64_t since, struct meta_inode *ret);

/* Run @call on the object @ino: its handle is filled in; an -ESTALE is
 * answered by looking the name up once more. */
int vfs_run(struct vfs *v, const struct caller *c, uint64_t ino,
	    struct remote_call *call);

/* The inode that @name leads to, as vfs_lookup() finds it; -ENOENT when absent.
 * *@ret_dir is the directory. */
int vfs_walk(struct vfs *v, const struct caller *c, uint64_t dir,
	     const char *name, struct meta_inode *ret_dir,
	     struct meta_inode *ret);

/* In a bracket: a name of @i in the directory where it was last seen. */
int vfs_name_in_parent(struct vfs *v, const struct meta_inode *i,
		       char ret[NAME_BYTES_MAX + 1]);

/* A LOOKUP of call->name in @d whose reply has the attributes, even of a server
 * that leaves them out. -ENOENT: absent. */
int vfs_lookup_call(struct vfs *v, const struct caller *c,
		    const struct meta_inode *d, struct remote_call *call);

/* ---- directories (vfs_dir.c) ---- */

/* 1: no name is in @dir; 0: one is; or -errno. (vfs_readdir.c) */
int vfs_dir_is_empty(struct vfs *v, const struct caller *c, uint64_t dir);

/* Make *@d, a directory, complete: list it, or wait for who does. @patient:
 * wait however large it is; else -EAGAIN when the listing goes on behind.
 * -ENOSPC: the cache has no room for its names. */
int vfs_list(struct vfs *v, const struct caller *c, const struct meta_inode *d,
	     uint64_t since, bool patient);
/* In a bracket: a name as the server just told it; sets n->epoch. These three do
 * not fail for want of room: then nothing is believed of the name. */
int vfs_name_learn(struct vfs *v, uint64_t dir, const char *name,
		   struct meta_name *n);
/* In a bracket: names we change ourselves. */
int vfs_name_set(struct vfs *v, const struct meta_inode *dir, const char *name,
		 const struct meta_inode *i);
int vfs_name_unset(struct vfs *v, const struct meta_inode *dir,
		   const char *name);

/* ---- a directory that there is no room to list (vfs_unlisted.c) ---- */

struct unlisted; /* its names, in memory */
int vfs_unlisted_read(struct vfs *v, const struct caller *c, uint64_t dir,
		      struct unlisted **ret);
/* In a bracket: have we changed it since it was read? */
bool vfs_unlisted_is_stale(struct vfs *v, const struct unlisted *u);
/* In a bracket: as meta_names(). */
int vfs_unlisted_names(const struct unlisted *u, uint64_t after,
		       meta_name_fn *fn, void *arg);
void vfs_unlisted_free(struct unlisted *u); /* NULL is fine */

/* A name that a server may give in a listing. */
bool vfs_name_is_sane(const char *name);

/* ---- unlinked files (hold.c) ---- */

int hold_open(struct vfs *v, const struct handle *root);
/* The holding directory of the filesystem that @i is on; made if missing. */
int hold_dir_of(struct vfs *v, const struct caller *c,
		const struct meta_inode *i, struct handle *ret);
/* The call that keeps @i, which is about to be replaced, by one link more.
 * NULL: it cannot be kept. */
struct remote_call *hold_link_call(struct vfs *v, const struct caller *c,
				   const struct meta_inode *i);
void hold_name(const struct vfs *v, uint64_t ino, char ret[NAME_BYTES_MAX + 1]);
/* The kernel let go of it: remove it from the server, in the background. */
void hold_release(struct vfs *v, const struct meta_inode *i);
void hold_close(struct vfs *v);

/* ---- calls nobody waits for (vfs.c) ---- */

/* Consumes the caller's reference. @done may be NULL. (Nobody waits here; a
 * caller who does not either sets call->background.) */
void vfs_submit(struct vfs *v, struct remote_call *call, remote_done_fn *done,
		void *arg);
/* To be called first of all by every such @done's end. */
void vfs_submitted(struct vfs *v);
void vfs_wait_submitted(struct vfs *v);
void vfs_stir(struct vfs *v); /* the worker has something to look for */

/* ---- the kernel's caches (vfs.c) ---- */

/* Should the kernel know @ino: it is to ask for its attributes again, and, with
 * @name, for that name of it in @dir. May wait for the kernel, which may wait for
 * an operation in @dir: not from inside one. */
void vfs_tell_kernel(struct vfs *v, uint64_t ino, uint64_t dir,
		     const char *name);

/* The kernel may have contents of @ino as they were: it is to drop them. May be
 * called in a bracket. */
void vfs_stale(struct vfs *v, uint64_t ino);
/* Until it has, or for a moment. Before the kernel is told of @ino; outside a
 * bracket. */
void vfs_stale_wait(struct vfs *v, uint64_t ino);
int teller_start(struct vfs *v);
void teller_stop(struct vfs *v); /* the vfs is closing */

/* ---- modification times (times.c) ---- */

int times_open(struct vfs *v, struct times **ret);
void times_written(struct times *t, uint64_t ino, struct timespec mtime);
/* Before a SETATTR of @ino is sent: waits until none of ours is under way.
 * Fills in the pending mtime unless @set has one; then none is pending. */
void times_setattr(struct times *t, uint64_t ino, struct remote_sattr *set);
bool times_pending(struct times *t, uint64_t ino, struct timespec *ret);
void times_drop(struct times *t, uint64_t ino);
int times_flush(struct times *t, uint64_t ino); /* waits for it */
void times_close(struct times *t);              /* sends all, waits, frees */

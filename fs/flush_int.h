/* SPDX-License-Identifier: GPL-2.0-or-later */
/* flush_int.h: private to the flusher: flush.c owns the thread and decides what
 * is taken when; flush_send.c takes one job through its steps, of which
 * flush_check.c and flush_store.c have some; flush_record.c records what the
 * server said, flush_dir.c for directories; conflict.c keeps what others changed.
 */
#pragma once

#include "change.h"
#include "flush.h"
#include "view.h"

enum step {
	STEP_CHECK,    /* GETATTR: has somebody else changed the object? */
	STEP_PRESENT,  /* LOOKUP: is it there still? (REMOVE sent before) */
	STEP_FREE,     /* LOOKUP: has a RENAME's new name become another's? */
	STEP_HOLD,     /* LINK: keep what a RENAME replaces, it may be open */
	STEP_MAIN,     /* the call that the job is about */
	STEP_FIND_OUT, /* MAIN had been done before a crash, perhaps */
	STEP_HANDLE,   /* LOOKUP: the server did not say what it made */
	STEP_ATTR,     /* GETATTR: nor then */
	STEP_FIX,      /* SETATTR: it made it otherwise than asked */
	STEP_TRUNC,    /* SETATTR of the size, before contents */
	STEP_WRITE,    /* WRITEs, side by side */
	STEP_COMMIT,
	STEP_FINAL,    /* SETATTR of all else, after contents */
};

struct part { /* a call under way */
	struct part *next; /* among those that are over */
	struct sending *s;
	struct remote_call *call;
};

struct sending { /* a job under way; the flusher's thread has it */
	struct flush *f;
	struct wback_job *job;
	enum step step;
	unsigned parts;      /* calls under way */
	int error;           /* the first of a WRITE */
	struct moment when;
	/* The call of STEP_MAIN, for its results; referenced. */
	struct remote_call *main;
	struct handle fh;    /* of obj, once known */
	bool has_attr;       /* of obj, after the last call */
	struct attr attr;
	bool in_burst;       /* flush_dir.c counts it */
	bool made_anew;      /* its directory was */
	bool asked_again;    /* whether what is to be removed is there */
	unsigned looks;      /* at what was half made, with the name of a MAKE */
	bool held;           /* removed by renaming into the holding directory */
	bool stable;         /* one WRITE is enough: FILE_SYNC */
	bool resent;         /* a WRITE was: the first may be executed yet */
	bool verf_set, verf_changed;
	uint8_t verf[8];
	unsigned extent;     /* the next WRITE begins in it, */
	uint64_t done;       /* so many bytes behind its start */
};

struct burst;

struct flush {
	struct vfs *v;
	pthread_t thread;

	struct mutex lock; /* guards what follows */
	struct cond wake;  /* the thread: a call is over, something is wanted */
	struct cond moved; /* waiters: something got to the server, or stuck */
	struct part *over, **over_end;
	uint64_t force;    /* goal of the last flush_force() */
	uint64_t pressure_until_ms;
	uint64_t pause_until_ms; /* after a failure of the transport */
	bool stop, keep, kicked;
	bool idle;         /* atomic: the thread sleeps until it is woken */
	bool lost;         /* somebody else writes now */

	/* Constant: */
	flush_guard_fn *guard;
	void *guard_arg;

	/* The thread's own: */
	uint64_t guarded_ms; /* when the guard was last asked */
	struct burst *bursts;
	unsigned jobs;       /* under way */
	uint64_t bytes;      /* in WRITEs under way */
};

/* ---- flush_send.c; the flusher's thread ---- */

void send_job(struct flush *f, struct wback_job *job);
/* A call is over. Consumes @p. */
void send_go_on(struct part *p);
/* The sequence (vfs_touch()) of all that the job is about. */
void touch_all(struct sending *s);

/* For the files of the steps: */
void send_step(struct sending *s, enum step step);
struct remote_call *send_new_call(enum remote_op op, const struct handle *fh,
				  const char *name); /* or no memory: aborts */
void send_call(struct sending *s, struct remote_call *call); /* consumes it */
void send_take_attr(struct sending *s, const struct remote_call *call);
/* The ends; each consumes @s and its job. */
void send_failed(struct sending *s, int status);
void send_finished(struct sending *s);

/* ---- flush_check.c ---- */

void check_begin(struct sending *s);
void check_done(struct sending *s, struct remote_call *call);
void check_free_done(struct sending *s, struct remote_call *call);
/* The name is taken, or not empty: by somebody else. */
void check_in_the_way(struct sending *s);
/* The directory in which something is to be made is gone, perhaps. */
void check_dir_lost(struct sending *s);

/* ---- flush_store.c ---- */

bool store_fits_in_one(const struct sending *s);
void store_write(struct sending *s); /* as much as may be under way */
void store_written(struct sending *s, struct remote_call *call);
void store_committed(struct sending *s, struct remote_call *call);
struct remote_call *store_final_call(struct sending *s);
/* The server does not know the object any more. */
void store_lost(struct sending *s);

/* ---- flush_dir.c: the changes under way in each directory ---- */

/* Is all that was told of @dir since its changes began explained by them? */
bool burst_is_ours(struct flush *f, uint64_t dir);
/* A change in @dir is about to be sent. */
void burst_begin(struct flush *f, uint64_t dir);
/* It was not, or there is no answer. */
void burst_cancel(struct flush *f, uint64_t dir);
/* In a bracket: the reply to it; the directory's record is brought up to it.
 * @links: subdirectories that came by it, or went. */
int burst_end(struct flush *f, uint64_t dir, bool has_attr,
	      const struct attr *post, const struct remote_pre *pre,
	      const struct moment *when, int links, struct meta_inode *ret);
/* In the same bracket, when the log has let go of the change. */
void burst_settle(struct flush *f, uint64_t dir);

/* ---- flush_record.c ---- */

/* The job's work is done on the server. Consumes @s and its job. */
void record_done(struct sending *s);

/* ---- conflict.c; block, and are rare ---- */

/* Is the version that the change was based on, as @ref has it, not the one that
 * the server has? */
bool conflict_is_changed(const struct wback_ref *ref, const struct attr *now);

/* Move the server's dir/name out of the way, under a name beside it, and note
 * it. -ENOENT: it is gone by itself. */
int conflict_move_aside(struct vfs *v, const struct wback_ref *dir,
			const char *name);

/* Keep a copy of the server's contents of @obj beside it, and note it. */
int conflict_copy_aside(struct vfs *v, const struct wback_ref *obj);

/* The server has lost the object of STORE @job: make it anew, if the log has all
 * of its contents, or it is a directory. *@ret its new handle. -ENODATA. */
int conflict_make_anew(struct vfs *v, const struct wback_job *job,
		       struct handle *ret);

/* The server does not know directory @dir->fh any more, in which a change is to
 * be made: make it anew, with what is above it. @dir->fh is the new handle.
 * -ENODATA: it is there. */
int conflict_make_dir_anew(struct vfs *v, struct wback_ref *dir);

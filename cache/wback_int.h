/* SPDX-License-Identifier: GPL-2.0-or-later */
/* wback_int.h: private to the write-back log: its state, and what its files
 * offer each other. From the bottom: wback_rec (bytes), wback_log (files),
 * wback_scan (reading them), wback_table (objects, names, the order of
 * operations), wback_data (contents), wback_apply, wback_outcome and wback_drop
 * (what each record does to the state), wback_take (sending), wback (open, views).
 *
 * The state is a function of the records: wback_apply() appends a record and
 * then does what opening the log does with it, rec_apply(). What is taken and
 * what is reported are records too.
 *
 * An inode with changes is an object. A change that the server must be sent is
 * an op: MAKE, LINK, REMOVE, RENAME are one each, in the order they were made;
 * STORE is one for all contents and attributes changed so far:
 *
 *   state    how it comes there            what a new change does
 *   WAITING  made                          STORE: merges into it. REMOVE of the
 *                                          last name of an object whose MAKE
 *                                          waits: all its ops are cancelled
 *   SENT     wback_take()                  STORE: a new one waits behind it
 *   STUCK    wback_stuck()                 as WAITING, but nothing is cancelled
 *   gone     done, cancelled or dropped
 *
 * Order. Every op stands in queues: its object's, its names', the replaced
 * object's. It may be sent when it is at the head of all of them, and the
 * directories it works in are on the server. Besides, what empties or seals a
 * directory (RMDIR; replacing one; setting its time) waits for all that was to
 * be done in it before, and moving a directory waits for everything before it
 * but what is stuck or hangs on that. As an op waits only for older ones, there is
 * no cycle.
 *
 * Invariants (wback_check.c): at most one STORE of an object waits; it exists if
 * something of the object is to be sent that no waiting MAKE carries; a fresh
 * object has a MAKE, or is removed; names have ops; what nobody needs is freed.
 *
 * Locks, in order: `order` (appending and applying are one step), `lock` (the
 * state), the log's own. Readers take `lock` alone, which is never held while a
 * file is written.
 */
#pragma once

#include <assert.h>
#include <string.h>
#include <sys/queue.h>

#include "wback_log.h"

#define TRUNC_NONE UINT64_MAX
enum { ATTR_ALL = (1 << 7) - 1 };

struct op;

struct touch { /* an op's place in a queue */
	struct op *op;
	struct touch *prev, *next;
	struct queue *queue; /* NULL: in none */
};
struct queue {
	struct touch *first, *last;
};

enum { T_OBJ, T_NAME, T_IN, T_NEWNAME, T_NEWIN, T_REPLACED, T_MOVED, TOUCHES };

enum op_state { OP_WAITING, OP_SENT, OP_STUCK };

struct op {
	TAILQ_ENTRY(op) link; /* in wback.ops, by id */
	uint64_t id;          /* seq of the record that made it, or, */
	uint64_t log_id;      /* after a replay that began later, was to the
			       * log; all records speak of this one */
	uint64_t born_ms;
	uint64_t segment;     /* what it sends begins in */
	bool inherits;        /* segment is another op's, which it replaced */
	size_t heap_at;       /* in wback.ready, from 1; 0: not ready */
	enum wback_job_kind kind;
	enum op_state state;
	bool again, store_follows;
	bool blocked;         /* as of mark_blocked() */
	int error;
	struct object *obj, *dir, *newdir, *replaced;
	struct name *name, *newname;
	struct timespec verifier;
	uint64_t upto;        /* STORE, SENT: changes up to this seq */
	unsigned touches;     /* members of t */
	struct touch t[];
};

struct extent {
	uint64_t offset, len;
	uint64_t seq;
	struct segment *seg; /* a reference */
	uint64_t at;
};

struct extents { /* sorted, disjoint */
	struct extent *v;
	unsigned n, cap;
	uint64_t bytes;
};

struct object {
	struct object *next_hash;
	struct wback_ref ref; /* version: what the next change is based on */
	struct attr attr;
	unsigned local;       /* fields of attr that are newer than the server's */
	unsigned mask, sending; /* to be sent; by the STORE under way */
	uint64_t trunc, trunc_sending;
	int nlink_delta;
	bool fresh, removed, forgotten, base_known;
	int error;
	uint64_t last_seq;    /* of its last change */
	struct extents data;
	struct op *make;      /* unfinished */
	struct op *store;     /* the one that waits */
	struct queue ops;     /* those that it is obj or replaced of */
	struct queue in;      /* those on names in it */
	char *target;
	struct name **names;  /* of a directory; holes are NULL */
	size_t names_n, names_cap, holes;
	bool sorted;
	bool marked;
	struct object *next_marked;
};

struct name {
	struct name *next_hash;
	struct object *dir;
	uint64_t offset, ino; /* ino 0: absent */
	size_t at;            /* in dir->names */
	struct queue ops;
	uint8_t type;
	char text[];
};

struct trouble_copy {
	struct trouble_copy *next;
	uint64_t id, dir, segment;
	int64_t when;
	char name[NAME_BYTES_MAX + 1], of[NAME_BYTES_MAX + 1];
};

struct table {
	void **slots;
	size_t size, n; /* size: a power of two */
};

TAILQ_HEAD(op_list, op);

struct wback {
	struct wback_options o;
	struct log *log;

	struct mutex order;
	bool full;       /* under order */

	struct mutex lock; /* guards what follows */
	struct cond room;  /* the log got shorter */
	struct table objects, names;
	struct op_list ops;
	struct op **ready; /* a heap by id, from 1 */
	size_t ready_n, ready_cap;
	struct queue moved; /* RENAMEs of directories */
	struct object *marked;
	struct trouble_copy *copies;
	uint64_t ops_n, sent_n, data_bytes, stuck_n, copies_n, cancelled, replayed;
	uint64_t inherits_n; /* ops that inherit a segment */
	uint64_t renamed_n;  /* ops whose log_id is not id */
	uint64_t ino_bound;
	bool replaying;
	struct timespec replayed_now; /* when its record was made */
};

void *xcalloc(size_t n, size_t size);

/* ---- wback_table.c; all REQUIRES(wb->lock) ---- */

struct object *object_find(struct wback *wb, uint64_t ino);
struct object *object_get(struct wback *wb, const struct wback_ref *ref);
bool object_is_dirty(const struct object *o);
/* To be looked at when the record has been applied: is it needed still? */
void object_mark(struct wback *wb, struct object *o);
/* Frees those that are not; *@ret (may be NULL) gets their last views. */
void settle_marked(struct wback *wb, struct wback_settled *ret);
void object_free(struct wback *wb, struct object *o);
void object_view(const struct object *o, struct wback_view *ret);

struct name *name_find(struct wback *wb, uint64_t dir, const char *text);
struct name *name_get(struct wback *wb, struct object *dir, const char *text);
void name_settle(struct wback *wb, struct name *n);
void names_sort(struct object *dir);

struct op *op_new(struct wback *wb, enum wback_job_kind kind, uint64_t id,
		  uint64_t segment);
void op_touch(struct op *op, unsigned t, struct queue *q);
void op_untouch(struct op *op, unsigned t);
void op_leave(struct wback *wb, struct op *op, unsigned t);
/* Its queues are complete: it may be ready. */
void op_enter(struct wback *wb, struct op *op);
void op_check(struct wback *wb, struct op *op);
/* Of those that move a directory the first, or, when what is stuck changes, @all. */
void moved_check(struct wback *wb, bool all);
/* Sets op->blocked: it is stuck, or waits for one that is. */
void mark_blocked(struct wback *wb);
/* Leaves all queues, wakes who waited, and is freed. Not the objects. */
void op_end(struct wback *wb, struct op *op);
struct op *op_find(struct wback *wb, uint64_t id);

static inline struct op *queue_head(const struct queue *q)
{
	return q->first ? q->first->op : NULL;
}

/* ---- wback_ready.c; REQUIRES(wb->lock) ---- */

void ready_add(struct wback *wb, struct op *op);
void ready_remove(struct wback *wb, struct op *op); /* or was not in it */

/* ---- wback_data.c ---- */

void extents_put(struct extents *e, const struct extent *x);
void extents_cut(struct extents *e, uint64_t size);
void extents_drop(struct extents *e, uint64_t upto_seq);
void extents_free(struct extents *e);
/* The first that ends behind @offset; e->n: none. */
unsigned extents_find(const struct extents *e, uint64_t offset);

/* ---- wback_apply.c ---- */

/* What @r does to the state. @data_at: where its contents are. */
void rec_apply(struct wback *wb, const struct rec *r, struct segment *seg,
	       uint64_t data_at, struct wback_settled *ret) REQUIRES(wb->lock);
/* After a replay: the MAKE of @o is not in the log, and no report of it. It was
 * cancelled with all that was to be done, some of which is still here. */
void cancel_unmade(struct wback *wb, struct object *o);
/* One name of @o more, or less. */
void object_add_link(struct object *o, int n);
bool store_is_void(const struct object *o); /* nothing is left to be sent */
/* What @op sends begins in @segment, older than its own record's. */
void op_inherit(struct wback *wb, struct op *op, uint64_t segment);
/* The op will never be sent: it was undone before. */
void op_cancel(struct wback *wb, struct op *op);

/* ---- wback_outcome.c; the rest of rec_apply() ---- */

/* @o was never made; before its ops are cancelled. */
void unmade_count(const struct object *o);

void rec_apply_to_op(struct wback *wb, const struct rec *r) REQUIRES(wb->lock);
void rec_apply_copy(struct wback *wb, const struct rec *r, uint64_t segment)
	REQUIRES(wb->lock);

/* ---- wback_drop.c ---- */

/* @op is given up, and what hangs on it. */
void apply_drop(struct wback *wb, struct op *op);

/* ---- wback.c ---- */

/* Append a record about sending, and apply it. */
int wback_control(struct wback *wb, struct rec *r, struct wback_settled *ret)
	REQUIRES(wb->order);
void wback_trim(struct wback *wb) REQUIRES(wb->order);

/* ---- wback_check.c ---- */

/* Aborts when an invariant does not hold. For tests. */
void wback_check(struct wback *wb);

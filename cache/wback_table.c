/* SPDX-License-Identifier: GPL-2.0-or-later */
/* wback_table.c: owns the objects, the names and the ops: how they are found,
 * in which queues an op stands, and which ops are ready to be sent. All of it
 * under wback.lock. Without memory the process ends: what was acknowledged is
 * in the log.
 */
#include "wback_int.h"

#include <dirent.h>

void *xcalloc(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p)
		abort();
	return p;
}

/* ---- tables: chained, a power of two of slots ---- */

static uint64_t mix(uint64_t h)
{
	h *= 0x9E3779B97F4A7C15u;
	return h ^ h >> 29;
}

static uint64_t hash_ino(uint64_t ino)
{
	return mix(ino);
}

static uint64_t hash_name(uint64_t dir, const char *text)
{
	uint64_t h = mix(dir);

	for (; *text; text++)
		h = (h ^ (uint8_t)*text) * 0x100000001B3u;
	return mix(h);
}

static void objects_grow(struct table *t)
{
	struct table old = *t;

	t->size = old.size ? 2 * old.size : 256;
	t->slots = xcalloc(t->size, sizeof(*t->slots));
	for (size_t k = 0; k < old.size; k++) {
		struct object *o = old.slots[k], *next;

		for (; o; o = next) {
			void **slot = &t->slots[hash_ino(o->ref.ino) &
						(t->size - 1)];

			next = o->next_hash;
			o->next_hash = *slot;
			*slot = o;
		}
	}
	free(old.slots);
}

static void names_grow(struct table *t)
{
	struct table old = *t;

	t->size = old.size ? 2 * old.size : 256;
	t->slots = xcalloc(t->size, sizeof(*t->slots));
	for (size_t k = 0; k < old.size; k++) {
		struct name *n = old.slots[k], *next;

		for (; n; n = next) {
			void **slot =
				&t->slots[hash_name(n->dir->ref.ino, n->text) &
					  (t->size - 1)];

			next = n->next_hash;
			n->next_hash = *slot;
			*slot = n;
		}
	}
	free(old.slots);
}

/* ---- objects ---- */

struct object *object_find(struct wback *wb, uint64_t ino)
{
	const struct table *t = &wb->objects;
	struct object *o = NULL;

	if (t->size)
		o = t->slots[hash_ino(ino) & (t->size - 1)];
	while (o && o->ref.ino != ino)
		o = o->next_hash;
	return o;
}

struct object *object_get(struct wback *wb, const struct wback_ref *ref)
{
	struct table *t = &wb->objects;
	struct object *o = object_find(wb, ref->ino);
	void **slot;

	if (o) {
		if (o->ref.fh.len == 0 && ref->fh.len > 0) {
			o->ref = *ref;
			o->fresh = false;
			o->base_known = ref->fileid != 0;
		}
		o->ref.parent = ref->parent;
		return o;
	}
	if (t->n >= t->size)
		objects_grow(t);
	o = xcalloc(1, sizeof(*o));
	o->ref = *ref;
	o->attr.mode = ref->mode;
	o->attr.nlink = ref->nlink;
	o->fresh = ref->fh.len == 0;
	o->base_known = !o->fresh && ref->fileid;
	o->removed = ref->nlink == 0;
	o->trunc = o->trunc_sending = TRUNC_NONE;
	o->sorted = true;
	slot = &t->slots[hash_ino(ref->ino) & (t->size - 1)];
	o->next_hash = *slot;
	*slot = o;
	t->n++;
	wb->ino_bound = MAX(wb->ino_bound, ref->ino + 1);
	wb->ino_bound = MAX(wb->ino_bound, ref->parent + 1);
	return o;
}

/* Something of it is to be sent, or was sent and is not known to be there. */
bool object_is_dirty(const struct object *o)
{
	return o->ops.first || o->in.first;
}

void object_view(const struct object *o, struct wback_view *ret)
{
	*ret = (struct wback_view){
		.ref = o->ref,
		.fresh = o->fresh,
		.removed = o->removed,
		.local = o->fresh ? ATTR_ALL : o->local,
		.attr = o->attr,
		.nlink_delta = o->nlink_delta,
		.error = o->error,
	};
	if (o->removed)
		ret->attr.nlink = 0;
}

void object_free(struct wback *wb, struct object *o)
{
	struct table *t = &wb->objects;
	void **slot = &t->slots[hash_ino(o->ref.ino) & (t->size - 1)];
	struct object *before = *slot;

	if (before == o) {
		*slot = o->next_hash;
	} else {
		while (before->next_hash != o)
			before = before->next_hash;
		before->next_hash = o->next_hash;
	}
	t->n--;
	for (size_t k = 0; k < o->names_n; k++)
		assert(!o->names[k]);
	extents_free(&o->data);
	free(o->names);
	free(o->target);
	free(o);
}

static bool is_needed(const struct wback *wb, const struct object *o)
{
	if (object_is_dirty(o))
		return true;
	/* A removed file that is open: its contents are asked for until the
	 * kernel lets go of it. */
	return o->removed && !o->forgotten && !wb->replaying &&
	       (o->fresh || o->data.n || o->local);
}

void object_mark(struct wback *wb, struct object *o)
{
	if (!o || o->marked)
		return;
	o->marked = true;
	o->next_marked = wb->marked;
	wb->marked = o;
}

void settle_marked(struct wback *wb, struct wback_settled *ret)
{
	while (wb->marked) {
		struct object *o = wb->marked;

		wb->marked = o->next_marked;
		o->marked = false;
		if (is_needed(wb, o))
			continue;
		if (ret && ret->n < ARRAY_LEN(ret->views))
			object_view(o, &ret->views[ret->n++]);
		object_free(wb, o);
	}
}

/* ---- names ---- */

struct name *name_find(struct wback *wb, uint64_t dir, const char *text)
{
	const struct table *t = &wb->names;
	struct name *n = NULL;

	if (t->size)
		n = t->slots[hash_name(dir, text) & (t->size - 1)];
	while (n && (n->dir->ref.ino != dir || strcmp(n->text, text) != 0))
		n = n->next_hash;
	return n;
}

static int compare_names(const void *a, const void *b)
{
	const struct name *x = *(struct name *const *)a;
	const struct name *y = *(struct name *const *)b;

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return strcmp(x->text, y->text);
}

static void close_holes(struct object *dir)
{
	size_t n = 0;

	for (size_t k = 0; k < dir->names_n; k++)
		if (dir->names[k]) {
			dir->names[n] = dir->names[k];
			dir->names[n]->at = n;
			n++;
		}
	dir->names_n = n;
	dir->holes = 0;
}

void names_sort(struct object *dir)
{
	if (dir->sorted)
		return;
	close_holes(dir);
	qsort(dir->names, dir->names_n, sizeof(*dir->names), compare_names);
	for (size_t k = 0; k < dir->names_n; k++)
		dir->names[k]->at = k;
	dir->sorted = true;
}

struct name *name_get(struct wback *wb, struct object *dir, const char *text)
{
	struct table *t = &wb->names;
	struct name *n = name_find(wb, dir->ref.ino, text);
	size_t len = strlen(text);
	void **slot;

	if (n)
		return n;
	if (t->n >= t->size)
		names_grow(t);
	n = xcalloc(1, sizeof(*n) + len + 1);
	memcpy(n->text, text, len + 1);
	n->dir = dir;
	n->offset = wb->o.name_offset(wb->o.arg, text);
	slot = &t->slots[hash_name(dir->ref.ino, text) & (t->size - 1)];
	n->next_hash = *slot;
	*slot = n;
	t->n++;
	if (dir->names_n == dir->names_cap) {
		dir->names_cap = dir->names_cap ? 2 * dir->names_cap : 8;
		dir->names = reallocarray(dir->names, dir->names_cap,
					  sizeof(*dir->names));
		if (!dir->names)
			abort();
	}
	n->at = dir->names_n;
	dir->names[dir->names_n++] = n;
	dir->sorted = false;
	return n;
}

/* Frees a name that no op is about. */
void name_settle(struct wback *wb, struct name *n)
{
	struct table *t = &wb->names;
	struct object *dir = n->dir;
	void **slot;
	struct name *before;

	if (n->ops.first)
		return;
	slot = &t->slots[hash_name(dir->ref.ino, n->text) & (t->size - 1)];
	before = *slot;
	if (before == n) {
		*slot = n->next_hash;
	} else {
		while (before->next_hash != n)
			before = before->next_hash;
		before->next_hash = n->next_hash;
	}
	t->n--;
	dir->names[n->at] = NULL;
	if (++dir->holes * 2 > dir->names_n)
		close_holes(dir);
	free(n);
}

/* ---- ops ---- */

/* The monotonic time of a record that an earlier process made. */
static uint64_t born_before(const struct wback *wb)
{
	uint64_t now_ms = clock_ms();
	struct timespec now;
	int64_t age_ms;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	age_ms = ((int64_t)now.tv_sec - wb->replayed_now.tv_sec) * 1000;
	return age_ms <= 0		   ? now_ms :
	       (uint64_t)age_ms >= now_ms ? 0 :
					    now_ms - (uint64_t)age_ms;
}

struct op *op_new(struct wback *wb, enum wback_job_kind kind, uint64_t id,
		  uint64_t segment)
{
	unsigned n = kind == JOB_RENAME ? TOUCHES : kind == JOB_STORE ? 1 : 3;
	struct op *op = xcalloc(1, sizeof(*op) + n * sizeof(op->t[0]));

	op->kind = kind;
	op->id = op->log_id = id;
	op->segment = segment;
	op->born_ms = wb->replaying ? born_before(wb) : clock_ms();
	op->touches = n;
	TAILQ_INSERT_TAIL(&wb->ops, op, link);
	wb->ops_n++;
	return op;
}

/* Nearly always the newest. */
void op_touch(struct op *op, unsigned t, struct queue *q)
{
	struct touch *x = &op->t[t], *before = q->last;

	while (before && before->op->id > op->id)
		before = before->prev;
	x->op = op;
	x->queue = q;
	x->prev = before;
	x->next = before ? before->next : q->first;
	if (x->next)
		x->next->prev = x;
	else
		q->last = x;
	if (before)
		before->next = x;
	else
		q->first = x;
}

void op_untouch(struct op *op, unsigned t)
{
	struct touch *x = &op->t[t];
	struct queue *q = x->queue;

	if (t >= op->touches || !q)
		return;
	if (x->prev)
		x->prev->next = x->next;
	else
		q->first = x->next;
	if (x->next)
		x->next->prev = x->prev;
	else
		q->last = x->prev;
	x->queue = NULL;
}

static bool at_head(const struct op *op, unsigned t)
{
	return t >= op->touches || !op->t[t].queue ||
	       op->t[t].queue->first == &op->t[t];
}

/* Is nothing of before left to be done in @dir? */
static bool nothing_before(const struct object *dir, const struct op *op)
{
	return !dir->in.first || dir->in.first->op->id > op->id;
}

/* Is all that was to be done in the directory before @op to be done first? */
static bool needs_empty(const struct op *op)
{
	const struct object *o = op->obj;

	return S_ISDIR(o->ref.mode) &&
	       (op->kind == JOB_REMOVE ||
		(op->kind == JOB_STORE && o->mask & ATTR_MTIME));
}

static bool behind_blocked(const struct op *op, unsigned t)
{
	return t < op->touches && op->t[t].queue && op->t[t].prev &&
	       op->t[t].prev->op->blocked;
}

static bool in_unmade(const struct object *dir)
{
	return dir && dir->fresh && dir->make && dir->make->blocked;
}

/* Has @dir something before @op that is blocked? */
static bool is_kept_full(const struct object *dir, const struct op *op)
{
	const struct touch *x = dir ? dir->in.first : NULL;

	while (x && x->op->id < op->id && !x->op->blocked)
		x = x->next;
	return x && x->op->id < op->id;
}

/* Ops wait for older ones only: one pass, in their order. */
void mark_blocked(struct wback *wb)
{
	struct op *op;

	TAILQ_FOREACH(op, &wb->ops, link)
		op->blocked = op->state == OP_STUCK ||
			      (op->state == OP_WAITING &&
			       (behind_blocked(op, T_OBJ) ||
				behind_blocked(op, T_NAME) ||
				behind_blocked(op, T_NEWNAME) ||
				behind_blocked(op, T_REPLACED) ||
				in_unmade(op->dir) || in_unmade(op->newdir) ||
				is_kept_full(op->replaced, op) ||
				(needs_empty(op) &&
				 is_kept_full(op->obj, op))));
}

/* Does @op move a directory, with older ops still to be sent? */
static bool move_must_wait(struct wback *wb, const struct op *op)
{
	const struct op *first = TAILQ_FIRST(&wb->ops);

	if (op->touches <= T_MOVED || !op->t[T_MOVED].queue)
		return false;
	if (wb->stuck_n)
		mark_blocked(wb);
	while (wb->stuck_n && first->blocked && first != op)
		first = TAILQ_NEXT(first, link);
	return first != op;
}

static bool is_ready(struct wback *wb, const struct op *op)
{
	const struct object *o = op->obj;

	if (op->state != OP_WAITING || !at_head(op, T_OBJ) ||
	    !at_head(op, T_NAME) || !at_head(op, T_NEWNAME) ||
	    !at_head(op, T_REPLACED) || move_must_wait(wb, op))
		return false;
	if ((op->dir && op->dir->fresh) || (op->newdir && op->newdir->fresh))
		return false;
	if (op->kind != JOB_MAKE && o->fresh)
		return false;
	if (op->replaced && !nothing_before(op->replaced, op))
		return false;
	return !needs_empty(op) || nothing_before(o, op);
}

void op_check(struct wback *wb, struct op *op)
{
	bool ready = op && is_ready(wb, op);

	if (ready && op->heap_at == 0)
		ready_add(wb, op);
	else if (op && !ready && op->heap_at != 0)
		ready_remove(wb, op);
}

void moved_check(struct wback *wb, bool all)
{
	for (struct touch *x = wb->moved.first; x; x = all ? x->next : NULL)
		op_check(wb, x->op);
}

void op_enter(struct wback *wb, struct op *op)
{
	struct object *const in[] = { op->dir, op->newdir };

	op_check(wb, op);
	/* Setting the time of the directory comes after this one now. */
	for (unsigned k = 0; k < ARRAY_LEN(in); k++)
		if (in[k])
			op_check(wb, queue_head(&in[k]->ops));
}

/* Leave one queue; who stood behind may be ready. */
void op_leave(struct wback *wb, struct op *op, unsigned t)
{
	struct queue *q = t < op->touches ? op->t[t].queue : NULL;

	if (!q)
		return;
	op_untouch(op, t);
	op_check(wb, queue_head(q));
}

/* After an op of @dir is gone: what waited for that. */
static void wake_dir(struct wback *wb, struct object *dir)
{
	if (dir)
		op_check(wb, queue_head(&dir->ops));
}

void op_end(struct wback *wb, struct op *op)
{
	struct queue *woken[TOUCHES] = { 0 };

	ready_remove(wb, op);
	for (unsigned t = 0; t < op->touches; t++) {
		woken[t] = op->t[t].queue;
		op_untouch(op, t);
	}
	TAILQ_REMOVE(&wb->ops, op, link);
	wb->ops_n--;
	if (op->state == OP_STUCK)
		wb->stuck_n--;
	if (op->state == OP_SENT)
		wb->sent_n--;
	wb->inherits_n -= op->inherits;
	wb->renamed_n -= op->log_id != op->id;
	if (op->obj->make == op)
		op->obj->make = NULL;
	if (op->obj->store == op)
		op->obj->store = NULL;
	for (unsigned t = 0; t < ARRAY_LEN(woken); t++)
		if (woken[t])
			op_check(wb, queue_head(woken[t]));
	wake_dir(wb, op->dir);
	wake_dir(wb, op->newdir);
	moved_check(wb, wb->stuck_n || op->state == OP_STUCK);
	object_mark(wb, op->obj);
	object_mark(wb, op->dir);
	object_mark(wb, op->newdir);
	object_mark(wb, op->replaced);
	/* A directory came to be on the server: what is to be done in it. */
	if (op->kind == JOB_MAKE && S_ISDIR(op->obj->ref.mode))
		for (struct touch *x = op->obj->in.first; x; x = x->next)
			op_check(wb, x->op);
	if (op->name)
		name_settle(wb, op->name);
	if (op->newname)
		name_settle(wb, op->newname);
	free(op);
}

struct op *op_find(struct wback *wb, uint64_t id)
{
	struct op *op;

	/* Those that are asked for are old. */
	TAILQ_FOREACH(op, &wb->ops, link)
		if (op->log_id == id || (op->id > id && !wb->renamed_n))
			break;
	return op && op->log_id == id ? op : NULL;
}

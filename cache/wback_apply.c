/* SPDX-License-Identifier: GPL-2.0-or-later */
/* wback_apply.c: what each record does to the state, whether it was just
 * appended or is being replayed. Holds the rules of merging and cancelling:
 *
 *   a change of      to which something waits      becomes
 *   attributes       MAKE                          part of it
 *   attributes,      STORE                         part of it
 *     contents
 *   last name        MAKE, nothing under way       nothing: all is cancelled; a
 *     removed                                      RENAME of it that replaced
 *                                                  something removes that
 *   last name        STORE                         the removal alone, unless it
 *     removed                                      is seen by another name first
 */
#include "wback_int.h"

#include <dirent.h>

/* ---- pieces ---- */

static void touch_time(struct object *o, const struct timespec *now)
{
	o->attr.ctime = *now;
	o->local |= ATTR_CTIME;
}

/* Both are kept: a replay that begins behind the MAKE learns at the end of it
 * only that the server counts from here. */
void object_add_link(struct object *o, int n)
{
	if (o->fresh)
		o->attr.nlink = (uint32_t)((int)o->attr.nlink + n);
	o->nlink_delta += n;
}

void op_cancel(struct wback *wb, struct op *op)
{
	wb->cancelled++;
	op_end(wb, op);
}

bool store_is_void(const struct object *o)
{
	return o->mask == 0 && o->data.n == 0 && o->trunc == TRUNC_NONE;
}

/* A name in @dir has changed: so have its times, and one that an application
 * had set before no longer counts. */
static void dir_changed(struct wback *wb, struct object *dir,
			const struct timespec *now)
{
	dir->attr.mtime = *now;
	dir->local |= ATTR_MTIME;
	touch_time(dir, now);
	dir->mask &= ~(unsigned)ATTR_MTIME;
	if (dir->store && store_is_void(dir))
		op_cancel(wb, dir->store);
}

static struct op *add_store(struct wback *wb, struct object *o, uint64_t id,
			    uint64_t segment)
{
	struct op *op = op_new(wb, JOB_STORE, id, segment);

	op->obj = o;
	op_touch(op, T_OBJ, &o->ops);
	o->store = op;
	op_enter(wb, op);
	return op;
}

/* What @op sends begins in an older segment than its own record. */
void op_inherit(struct wback *wb, struct op *op, uint64_t segment)
{
	if (segment >= op->segment)
		return;
	op->segment = segment;
	wb->inherits_n += !op->inherits;
	op->inherits = true;
}

/* The STORE that will carry what was changed just now. */
static void need_store(struct wback *wb, struct object *o, uint64_t id,
		       uint64_t segment)
{
	struct op *op = o->store;
	uint64_t since = op ? op->segment : segment;

	/* The time of a directory is set after all that is in it. */
	if (op && S_ISDIR(o->ref.mode) && o->mask & ATTR_MTIME && o->in.last &&
	    o->in.last->op->id > op->id) {
		op_cancel(wb, op);
		op = NULL;
	}
	if (op)
		op_check(wb, op);
	else
		op_inherit(wb, add_store(wb, o, id, segment), since);
}

/* ---- the last name ---- */

/* RENAME of what will never have been made: what it replaced is gone all the
 * same. */
static void rename_to_remove(struct wback *wb, struct op *op)
{
	object_mark(wb, op->dir);
	op_leave(wb, op, T_OBJ);
	op_leave(wb, op, T_IN);
	op_leave(wb, op, T_MOVED);
	op_leave(wb, op, T_NAME);
	name_settle(wb, op->name);
	op->kind = JOB_REMOVE;
	op->obj = op->replaced;
	op->dir = op->newdir;
	op->name = op->newname;
	op->replaced = op->newdir = NULL;
	op->newname = NULL;
	op_check(wb, op);
	moved_check(wb, true); /* they wait for it again */
}

/* What @op would have replaced is replaced by @by, a newer one to the same name,
 * which is never absent that way. */
static bool hand_on(struct wback *wb, struct op *op, struct op *by)
{
	/* A rename from one link of a file to another does nothing. */
	if (by->kind != JOB_RENAME || by->newname != op->newname ||
	    by->obj == op->obj || by->obj == op->replaced)
		return false;
	if (by->replaced == op->obj) {
		by->replaced = NULL;
		op_leave(wb, by, T_REPLACED);
	}
	if (by->replaced)
		return false;
	by->replaced = op->replaced;
	op_touch(by, T_REPLACED, &by->replaced->ops);
	op_inherit(wb, by, op->segment);
	if (by->t[T_REPLACED].next)
		op_check(wb, by->t[T_REPLACED].next->op);
	op_cancel(wb, op);
	return true;
}

/* The change after @op to the name that it gave to its object. */
static struct op *next_at_name(const struct op *op)
{
	const struct touch *x = &op->t[T_OBJ];

	while ((x = x->next))
		if (x->op->name == op->newname ||
		    x->op->newname == op->newname)
			return x->op;
	return NULL;
}

/* @op is a RENAME of what will never have been made, over something. @by: the
 * change that takes the last name; may be NULL. As long as something comes of
 * it, a replay needs the record of the creation, to cancel the same again. */
static void cancel_replacing(struct wback *wb, struct op *op, struct op *by)
{
	struct op *next = next_at_name(op);

	if (!next)
		next = by;
	if (op->obj->make)
		op_inherit(wb, op, op->obj->make->segment);
	if (!next) { /* a replay: it has been sent, and replaced that, too */
		op_cancel(wb, op);
	} else if (!hand_on(wb, op, next)) {
		wb->cancelled++;
		rename_to_remove(wb, op);
	}
}

static struct op *find_replacing(const struct object *o)
{
	for (const struct touch *x = o->ops.first; x; x = x->next)
		if (x->op->obj == o && x->op->kind == JOB_RENAME &&
		    x->op->replaced)
			return x->op;
	return NULL;
}

static bool can_cancel(const struct object *o)
{
	if (!o->fresh || !o->make)
		return false;
	/* One that was sent before a crash may have been done. */
	for (const struct touch *x = o->ops.first; x; x = x->next)
		if (x->op->state == OP_SENT || x->op->again ||
		    x->op->obj != o)
			return false;
	return !o->in.first;
}

static void cancel_all(struct wback *wb, struct object *o, struct op *by);

/* A directory that was removed, but for what was to be done in it before. */
static void cancel_dir(struct wback *wb, struct object *dir)
{
	if (dir && dir->removed && can_cancel(dir))
		cancel_all(wb, dir, NULL);
}

/* @by: the change that takes the last name; may be NULL. */
static void cancel_all(struct wback *wb, struct object *o, struct op *by)
{
	struct touch *x, *next;
	struct op *op;

	while ((op = find_replacing(o)))
		cancel_replacing(wb, op, by);
	for (x = o->ops.first; x; x = next) {
		struct object *dir = x->op->dir, *newdir = x->op->newdir;

		next = x->next;
		op_cancel(wb, x->op);
		cancel_dir(wb, dir);
		cancel_dir(wb, newdir);
	}
	o->mask = 0;
}

/* Is the server to see @o, after it was stored, by another name than it had? Who
 * publishes a file so must not be seen to publish half of it, though it has been
 * replaced since. */
static bool is_shown(const struct object *o)
{
	for (const struct touch *x = o->ops.first; x; x = x->next)
		if (x->op->obj == o && x->op->id > o->store->id &&
		    (x->op->kind == JOB_RENAME || x->op->kind == JOB_LINK))
			return true;
	return false;
}

/* One name of @o less, by the change @by. True: an op must tell the server. */
static bool unlink_object(struct wback *wb, struct object *o,
			  const struct wback_ref *ref,
			  const struct timespec *now, struct op *by)
{
	bool last = S_ISDIR(o->ref.mode) ||
		    (o->fresh ? o->attr.nlink : ref->nlink) <= 1;

	touch_time(o, now);
	if (S_ISDIR(o->ref.mode))
		o->attr.nlink = 0;
	else
		object_add_link(o, -1);
	if (!last)
		return true;
	o->removed = true;
	wb->data_bytes -= o->data.bytes; /* hardly to be sent any more */
	if (can_cancel(o)) {
		cancel_all(wb, o, by);
		return false;
	}
	if (o->store && is_shown(o))
		return true;
	o->mask = 0;
	if (o->store) {
		/* It may have been done, before a crash. */
		o->base_known &= !o->store->again;
		op_cancel(wb, o->store);
	}
	return true;
}

/* ---- names ---- */

static struct op *add_op(struct wback *wb, enum wback_job_kind kind,
			 const struct rec *r, uint64_t segment,
			 struct object *o, struct object *dir, struct name *n)
{
	struct op *op = op_new(wb, kind, r->seq, segment);

	op->obj = o;
	op->dir = dir;
	op->name = n;
	op_touch(op, T_OBJ, &o->ops);
	op_touch(op, T_NAME, &n->ops);
	op_touch(op, T_IN, &dir->in);
	return op;
}

static void set_name(struct name *n, const struct object *o)
{
	n->ino = o ? o->ref.ino : 0;
	if (o)
		n->type = IFTODT(o->ref.mode);
}

static void apply_make(struct wback *wb, const struct rec *r, uint64_t segment)
{
	struct object *dir = object_get(wb, &r->dir);
	struct object *o = object_get(wb, &r->obj);
	struct name *n = name_get(wb, dir, r->name);
	struct op *op;

	o->fresh = true;
	o->removed = false;
	o->attr = r->attr;
	o->attr.nlink = S_ISDIR(r->obj.mode) ? 2 : 1;
	o->local = ATTR_ALL;
	o->last_seq = r->seq;
	touch_time(o, &r->now);
	if (r->target) {
		o->target = strdup(r->target);
		if (!o->target)
			abort();
		o->attr.size = strlen(o->target);
	}
	set_name(n, o);
	if (S_ISDIR(r->obj.mode))
		object_add_link(dir, 1);
	dir_changed(wb, dir, &r->now);
	op = add_op(wb, JOB_MAKE, r, segment, o, dir, n);
	o->make = op;
	op_enter(wb, op);
}

static void apply_link(struct wback *wb, const struct rec *r, uint64_t segment)
{
	struct object *dir = object_get(wb, &r->dir);
	struct object *o = object_get(wb, &r->obj);
	struct name *n = name_get(wb, dir, r->name);

	object_add_link(o, 1);
	touch_time(o, &r->now);
	set_name(n, o);
	dir_changed(wb, dir, &r->now);
	op_enter(wb, add_op(wb, JOB_LINK, r, segment, o, dir, n));
}

static void apply_remove(struct wback *wb, const struct rec *r,
			 uint64_t segment)
{
	struct object *dir = object_get(wb, &r->dir);
	struct object *o = object_get(wb, &r->obj);
	struct name *n = name_get(wb, dir, r->name);

	set_name(n, NULL);
	if (S_ISDIR(o->ref.mode))
		object_add_link(dir, -1);
	dir_changed(wb, dir, &r->now);
	/* First in the queues, so that nothing is freed by a cancellation. */
	struct op *op = add_op(wb, JOB_REMOVE, r, segment, o, dir, n);

	op_untouch(op, T_OBJ); /* it is no reason not to cancel */
	if (unlink_object(wb, o, &r->obj, &r->now, op)) {
		op_touch(op, T_OBJ, &o->ops);
		op_enter(wb, op);
	} else {
		op_cancel(wb, op);
	}
}

static void apply_rename(struct wback *wb, const struct rec *r,
			 uint64_t segment)
{
	struct object *dir = object_get(wb, &r->dir);
	struct object *newdir = object_get(wb, &r->newdir);
	struct object *o = object_get(wb, &r->obj), *replaced;
	struct name *n = name_get(wb, dir, r->name);
	struct name *newname = name_get(wb, newdir, r->newname);
	bool is_dir = S_ISDIR(o->ref.mode);
	struct op *op = add_op(wb, JOB_RENAME, r, segment, o, dir, n);

	op->newdir = newdir;
	op->newname = newname;
	op_touch(op, T_NEWNAME, &newname->ops);
	op_touch(op, T_NEWIN, &newdir->in);
	if (is_dir)
		op_touch(op, T_MOVED, &wb->moved);
	if (r->replaced.ino) {
		replaced = object_get(wb, &r->replaced);
		if (S_ISDIR(replaced->ref.mode))
			object_add_link(newdir, -1);
		if (unlink_object(wb, replaced, &r->replaced, &r->now, op)) {
			op->replaced = replaced;
			op_touch(op, T_REPLACED, &replaced->ops);
		}
	}
	set_name(n, NULL);
	set_name(newname, o);
	if (is_dir && dir != newdir) {
		object_add_link(dir, -1);
		object_add_link(newdir, 1);
	}
	o->ref.parent = newdir->ref.ino;
	touch_time(o, &r->now);
	dir_changed(wb, dir, &r->now);
	dir_changed(wb, newdir, &r->now);
	op_enter(wb, op);
}

/* ---- attributes and contents ---- */

/* Is there anything of a removed object to be kept? Not after a replay. */
static bool is_gone(struct wback *wb, const struct object *o,
		    const struct wback_ref *ref)
{
	return o ? o->removed && wb->replaying : ref->nlink == 0;
}

static uint64_t size_of(const struct object *o)
{
	return o->local & ATTR_SIZE ? o->attr.size : o->ref.size;
}

static void resize(struct wback *wb, struct object *o, uint64_t size)
{
	uint64_t was = size_of(o), bytes = o->data.bytes;

	if (size < was) {
		if (!o->fresh)
			o->trunc = MIN(o->trunc, size);
		else if (size > 0) /* its contents may end before */
			o->mask |= ATTR_SIZE;
		extents_cut(&o->data, size);
		if (!o->removed)
			wb->data_bytes -= bytes - o->data.bytes;
	} else if (size > was) {
		o->mask |= ATTR_SIZE;
	}
	o->attr.size = size;
	o->local |= ATTR_SIZE;
}

static void take_attr(struct object *o, const struct attr *a, unsigned mask)
{
	if (mask & ATTR_MODE)
		o->attr.mode = (o->attr.mode & S_IFMT) | (a->mode & 07777);
	if (mask & ATTR_UID)
		o->attr.uid = a->uid;
	if (mask & ATTR_GID)
		o->attr.gid = a->gid;
	if (mask & ATTR_ATIME)
		o->attr.atime = a->atime;
	if (mask & ATTR_MTIME)
		o->attr.mtime = a->mtime;
	o->local |= mask;
	o->mask |= mask & ~(unsigned)ATTR_SIZE;
}

/* Does the MAKE that waits carry what is to be sent of @o? */
static bool make_carries(const struct object *o)
{
	/* Sent again, it is the same as before, to be recognised. */
	if (!o->make || o->make->state == OP_SENT || o->make->again)
		return false;
	if (S_ISDIR(o->ref.mode))
		return !(o->mask & ATTR_MTIME) || !o->in.first;
	return o->data.n == 0 && !(o->mask & ATTR_SIZE);
}

/* Only a replay that began behind the change that made it so does not know. */
static void know_size(struct object *o, const struct rec *r)
{
	if (r->seen_size == SEEN_NONE || o->local & ATTR_SIZE)
		return;
	o->attr.size = r->seen_size;
	o->local |= ATTR_SIZE;
}

static void apply_setattr(struct wback *wb, const struct rec *r,
			  uint64_t segment)
{
	struct object *o = object_find(wb, r->obj.ino);
	unsigned mask = r->mask;
	struct attr a = r->attr;

	if (is_gone(wb, o, &r->obj))
		return;
	o = object_get(wb, &r->obj);
	know_size(o, r);
	o->last_seq = r->seq;
	if (mask & ATTR_SIZE) {
		resize(wb, o, a.size);
		if (!(mask & ATTR_MTIME)) {
			mask |= ATTR_MTIME;
			a.mtime = r->now;
		}
	}
	take_attr(o, &a, mask);
	touch_time(o, &r->now);
	if (o->removed)
		o->mask = 0;
	else if (!make_carries(o))
		need_store(wb, o, r->seq, segment);
}

static void apply_write(struct wback *wb, const struct rec *r,
			struct segment *seg, uint64_t data_at)
{
	struct object *o = object_find(wb, r->obj.ino);
	struct extent x = { .offset = r->offset, .len = r->len, .seq = r->seq,
			    .seg = seg, .at = data_at };
	uint64_t end = r->offset + r->len, bytes, was;

	if (is_gone(wb, o, &r->obj))
		return;
	o = object_get(wb, &r->obj);
	know_size(o, r);
	o->last_seq = r->seq;
	bytes = o->data.bytes;
	extents_put(&o->data, &x);
	was = size_of(o);
	o->attr.size = MAX(was, end);
	o->attr.mtime = r->now;
	o->local |= ATTR_SIZE | ATTR_MTIME;
	o->mask |= ATTR_MTIME;
	touch_time(o, &r->now);
	if (o->removed) {
		o->mask = 0;
		return;
	}
	wb->data_bytes += o->data.bytes - bytes;
	need_store(wb, o, r->seq, segment_number(seg));
}

void cancel_unmade(struct wback *wb, struct object *o)
{
	struct op *replacing;

	unmade_count(o);
	o->removed = o->forgotten = true;
	while ((replacing = find_replacing(o)))
		cancel_replacing(wb, replacing, NULL);
	for (struct touch *x = o->ops.first, *next; x; x = next) {
		struct op *op = x->op;

		next = x->next;
		if (op->obj == o)
			continue;
		op->replaced = NULL; /* nothing, as it turned out */
		op_leave(wb, op, T_REPLACED);
	}
	cancel_all(wb, o, NULL);
	object_mark(wb, o);
}

void rec_apply(struct wback *wb, const struct rec *r, struct segment *seg,
	       uint64_t data_at, struct wback_settled *ret)
{
	uint64_t segment = seg ? segment_number(seg) : 0;

	wb->replayed_now = r->now;
	switch (r->type) {
	case REC_MAKE:
		apply_make(wb, r, segment);
		break;
	case REC_LINK:
		apply_link(wb, r, segment);
		break;
	case REC_REMOVE:
		apply_remove(wb, r, segment);
		break;
	case REC_RENAME:
		apply_rename(wb, r, segment);
		break;
	case REC_SETATTR:
		apply_setattr(wb, r, segment);
		break;
	case REC_WRITE:
		apply_write(wb, r, seg, data_at);
		break;
	case REC_COPY:
		rec_apply_copy(wb, r, segment);
		break;
	case REC_TYPES:
		break;
	default:
		rec_apply_to_op(wb, r);
		break;
	}
	settle_marked(wb, ret);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* wback_outcome.c: what becomes of an op that is sent, done, refused or given
 * up: the records about sending, and those about what the user decides.
 */
#include "wback_int.h"

/* ---- sending ---- */

static void apply_start(struct wback *wb, struct op *op, const struct rec *r)
{
	struct object *o = op->obj;

	ready_remove(wb, op);
	wb->sent_n += op->state != OP_SENT;
	op->state = OP_SENT;
	op->upto = r->seq;
	if (op->kind == JOB_MAKE && !op->again) {
		op->store_follows = o->store && o->mask & ATTR_MTIME;
		op->verifier = op->store_follows ? r->now : o->attr.mtime;
		o->mask &= op->store_follows ? ATTR_MTIME | ATTR_SIZE : 0;
	} else if (op->kind == JOB_STORE) {
		o->sending = o->mask;
		o->mask = 0;
		o->trunc_sending = o->trunc;
		o->trunc = TRUNC_NONE;
		o->store = NULL;
	}
}

/* The record that made the op went with an old segment; what merged into it
 * later is here, and waits as a STORE of its own. */
static void start_unknown(struct wback *wb, const struct rec *r)
{
	struct object *o = object_find(wb, r->obj.ino);

	if (!o || !o->store)
		return;
	if (r->error == JOB_STORE) {
		o->store->log_id = r->id;
		wb->renamed_n++;
		apply_start(wb, o->store, r);
	} else if (r->error == JOB_MAKE) { /* attributes: it carries them */
		o->mask &= r->when ? ATTR_MTIME | ATTR_SIZE : 0;
		if (store_is_void(o))
			op_end(wb, o->store);
	}
}

/* What the STORE under way was to do is to be done again. Returns the op that
 * will: another one may wait by now, and that one stands behind all that it has
 * to wait for. */
static struct op *take_back_store(struct wback *wb, struct op *op)
{
	struct object *o = op->obj;
	struct op *other = o->store;

	o->mask |= o->sending;
	o->trunc = MIN(o->trunc, o->trunc_sending);
	o->sending = 0;
	o->trunc_sending = TRUNC_NONE;
	if (o->removed)
		o->mask = 0;
	if (other && S_ISDIR(o->ref.mode)) {
		other->again |= op->again;
		op_inherit(wb, other, op->segment);
		op_end(wb, op);
		return other;
	}
	if (other)
		op_end(wb, other);
	o->store = op;
	return op;
}

static struct op *undo(struct wback *wb, struct op *op, bool again)
{
	if (op->state != OP_SENT)
		return op;
	wb->sent_n--;
	op->again |= again;
	op->state = OP_WAITING;
	if (op->kind == JOB_STORE)
		op = take_back_store(wb, op);
	op_check(wb, op);
	return op;
}

static void apply_stuck(struct wback *wb, struct op *op, int error)
{
	/* Some of a STORE may have been done. */
	op = undo(wb, op, op->kind == JOB_STORE);
	ready_remove(wb, op);
	op->state = OP_STUCK;
	op->error = op->obj->error = error;
	wb->stuck_n++;
	moved_check(wb, true);
}

static void apply_retry(struct wback *wb, struct op *op)
{
	if (op->state != OP_STUCK)
		return;
	op->state = OP_WAITING;
	op->error = op->obj->error = 0;
	wb->stuck_n--;
	op_check(wb, op);
}

/* @stored: the server's version is ours. After a LINK, say, it may be what
 * somebody else made of it, which a STORE that waits is to find. */
static void learn(struct object *o, const struct wback_ref *ref, bool stored)
{
	if (ref->fh.len) {
		o->ref.fh = ref->fh;
		o->fresh = false;
	}
	if (stored && ref->fh.len && !ref->fileid) {
		o->base_known = false; /* not told which */
		o->ref.size = ref->size;
	}
	if (stored && ref->fh.len && ref->fileid) {
		o->ref.fsid = ref->fsid;
		o->ref.fileid = ref->fileid;
		o->ref.size = ref->size;
		o->ref.mtime = ref->mtime;
		o->base_known = true;
	}
}

/* The server now counts @n links of @o more by itself. */
static void count_done(struct object *o, int n)
{
	o->nlink_delta -= n;
	o->ref.nlink = (uint32_t)((int)o->ref.nlink + n);
}

static void count_op(struct op *op)
{
	bool is_dir = S_ISDIR(op->obj->ref.mode);

	switch (op->kind) {
	case JOB_MAKE:
		if (is_dir)
			count_done(op->dir, 1);
		break;
	case JOB_LINK:
		count_done(op->obj, 1);
		break;
	case JOB_REMOVE:
		count_done(is_dir ? op->dir : op->obj, -1);
		break;
	case JOB_RENAME:
		if (op->replaced)
			count_done(S_ISDIR(op->replaced->ref.mode) ?
					   op->newdir :
					   op->replaced, -1);
		if (is_dir && op->dir != op->newdir) {
			count_done(op->dir, -1);
			count_done(op->newdir, 1);
		}
		break;
	case JOB_STORE:
		break;
	}
}

/* The links of directories, as the first record that is left tells them, have an
 * unmade one in them, which the server never had: they are what they would be if
 * it had been sent what became of it. */
void unmade_count(const struct object *o)
{
	for (struct touch *x = o->ops.first; x; x = x->next) {
		struct op *op = x->op, as_if = *op;

		if (op->obj == o && op->kind == JOB_RENAME) {
			as_if.replaced = NULL; /* is counted when it goes */
			count_op(&as_if);
		} else if (op->obj == o) {
			count_op(op);
		} else if (S_ISDIR(o->ref.mode)) { /* replaces it */
			as_if.kind = JOB_REMOVE;
			as_if.obj = op->replaced;
			as_if.dir = op->newdir;
			count_op(&as_if);
		}
	}
}

static void apply_done(struct wback *wb, struct op *op, const struct rec *r)
{
	struct object *o = op->obj;
	uint64_t bytes = o->data.bytes;

	if (op->kind == JOB_STORE) {
		o->sending = 0;
		o->trunc_sending = TRUNC_NONE;
		if (!o->removed) {
			extents_drop(&o->data, op->upto);
			wb->data_bytes -= bytes - o->data.bytes;
		}
	}
	o->error = 0;
	/* A fresh one's links are counted anew from here. */
	if (op->kind == JOB_MAKE) {
		o->ref.nlink = S_ISDIR(o->ref.mode) ? 2 : 1;
		o->nlink_delta = (int)o->attr.nlink - (int)o->ref.nlink;
	}
	/* A RENAME turned into a REMOVE is about another object. */
	o = object_find(wb, r->obj.ino);
	if (o)
		learn(o, &r->obj,
		      op->kind == JOB_MAKE || op->kind == JOB_STORE);
	count_op(op);
	op_end(wb, op);
}

/* ---- copies kept beside ---- */

void rec_apply_copy(struct wback *wb, const struct rec *r, uint64_t segment)
{
	struct trouble_copy *c;

	for (c = wb->copies; c; c = c->next)
		if (c->id == r->id) {
			c->segment = segment;
			return;
		}
	c = xcalloc(1, sizeof(*c));
	c->id = r->id;
	c->dir = r->dir.ino;
	c->segment = segment;
	c->when = r->when;
	(void)snprintf(c->name, sizeof(c->name), "%s", r->name ? r->name : "");
	(void)snprintf(c->of, sizeof(c->of), "%s",
		       r->newname ? r->newname : "");
	c->next = wb->copies;
	wb->copies = c;
	wb->copies_n++;
}

static void drop_copy(struct wback *wb, uint64_t id)
{
	for (struct trouble_copy **p = &wb->copies; *p; p = &(*p)->next)
		if ((*p)->id == id) {
			struct trouble_copy *c = *p;

			*p = c->next;
			free(c);
			wb->copies_n--;
			return;
		}
}

void rec_apply_to_op(struct wback *wb, const struct rec *r)
{
	struct op *op = op_find(wb, r->id);
	struct object *o;

	/* Its record went with an old segment: it had been done by then. */
	if (!op && r->type == REC_DONE) {
		o = object_find(wb, r->obj.ino);
		if (o)
			learn(o, &r->obj, r->error == 0);
	} else if (!op && r->type == REC_START) {
		start_unknown(wb, r);
	} else if (!op && r->type == REC_DROP) {
		drop_copy(wb, r->id);
	}
	if (!op)
		return;
	switch (r->type) {
	case REC_START:
		apply_start(wb, op, r);
		break;
	case REC_DONE:
		apply_done(wb, op, r);
		break;
	case REC_UNDO:
		(void)undo(wb, op, r->error != 0);
		break;
	case REC_STUCK:
		apply_stuck(wb, op, r->error);
		break;
	case REC_RETRY:
		apply_retry(wb, op);
		break;
	case REC_DROP:
		apply_drop(wb, op);
		break;
	default:
		break;
	}
}

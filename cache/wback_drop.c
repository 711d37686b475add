/* SPDX-License-Identifier: GPL-2.0-or-later */
/* wback_drop.c: giving up a change that the server refuses, for what the server
 * has. What hangs on it goes too, the newest first: all later ops on its names,
 * since they mean what this one would have left there; all ops of an object that
 * will never be made, and all in it. Later contents and attributes of an object
 * that the server knows do not hang on anything.
 */
#include "wback_int.h"

#include <dirent.h>

static void drop_contents(struct wback *wb, struct object *o)
{
	if (!o->removed)
		wb->data_bytes -= o->data.bytes;
	extents_free(&o->data);
	o->mask = o->sending = 0;
	o->trunc = o->trunc_sending = TRUNC_NONE;
	o->local = 0;
}

/* It has its name again. What else had been changed of it went when it was
 * removed. */
static void bring_back(struct wback *wb, struct object *o)
{
	drop_contents(wb, o);
	o->removed = o->forgotten = false;
}

/* Ops behind @op in its queue @t. */
static void drop_behind(struct wback *wb, struct op *op, unsigned t)
{
	struct queue *q = t < op->touches ? op->t[t].queue : NULL;

	while (q && q->last->op != op)
		apply_drop(wb, q->last->op);
}

/* Who has the name when @op, the last that changed it, is gone. */
static void restore_name(struct name *n, const struct op *op)
{
	const struct touch *x = n->ops.last;
	const struct op *before;

	while (x && x->op == op)
		x = x->prev;
	if (!x)
		return; /* what the server has counts */
	before = x->op;
	n->ino = 0;
	if (before->kind == JOB_MAKE || before->kind == JOB_LINK ||
	    x == &before->t[T_NEWNAME]) {
		n->ino = before->kind == JOB_REMOVE ? 0 : before->obj->ref.ino;
		n->type = IFTODT(before->obj->ref.mode);
	}
}

static void drop_make(struct wback *wb, struct op *op)
{
	struct object *o = op->obj;

	while (o->in.last)
		apply_drop(wb, o->in.last->op);
	drop_behind(wb, op, T_OBJ);
	drop_contents(wb, o);
	o->removed = o->forgotten = true;
	if (S_ISDIR(o->ref.mode))
		object_add_link(op->dir, -1);
}

static void drop_remove(struct wback *wb, struct op *op)
{
	bring_back(wb, op->obj);
	if (S_ISDIR(op->obj->ref.mode))
		object_add_link(op->dir, 1);
	else
		object_add_link(op->obj, 1);
}

static void drop_rename(struct wback *wb, struct op *op)
{
	bool is_dir = S_ISDIR(op->obj->ref.mode);

	op->obj->ref.parent = op->dir->ref.ino;
	if (is_dir && op->dir != op->newdir) {
		object_add_link(op->dir, 1);
		object_add_link(op->newdir, -1);
	}
	if (!op->replaced)
		return;
	bring_back(wb, op->replaced);
	object_add_link(S_ISDIR(op->replaced->ref.mode) ? op->newdir : op->replaced, 1);
}

void apply_drop(struct wback *wb, struct op *op)
{
	drop_behind(wb, op, T_NAME);
	drop_behind(wb, op, T_NEWNAME);
	switch (op->kind) {
	case JOB_MAKE:
		drop_make(wb, op);
		break;
	case JOB_LINK:
		object_add_link(op->obj, -1);
		break;
	case JOB_REMOVE:
		drop_remove(wb, op);
		break;
	case JOB_RENAME:
		drop_rename(wb, op);
		break;
	case JOB_STORE:
		drop_contents(wb, op->obj);
		break;
	}
	op->obj->error = 0;
	if (op->name)
		restore_name(op->name, op);
	if (op->newname)
		restore_name(op->newname, op);
	op_end(wb, op);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* back.c: the policy `back`: a change is acknowledged when the write-back log
 * has it. The server is told later, by flush.c.
 *
 * A log that is full holds writers up until the server has taken some of it. A
 * local disk that is full makes changes go through (change.c).
 */
#include "change.h"
#include "flush.h"
#include "view.h"

/* What most filesystems say of a small directory; the server will say. */
enum { DIR_BYTES = 4096 };

static const enum wback_op ops[] = {
	[CHANGE_CREATE] = WBACK_MAKE,	 [CHANGE_MKDIR] = WBACK_MAKE,
	[CHANGE_SYMLINK] = WBACK_MAKE,	 [CHANGE_LINK] = WBACK_LINK,
	[CHANGE_REMOVE] = WBACK_REMOVE,	 [CHANGE_RMDIR] = WBACK_REMOVE,
	[CHANGE_RENAME] = WBACK_RENAME,	 [CHANGE_SETATTR] = WBACK_SETATTR,
	[CHANGE_WRITE] = WBACK_WRITE,
};

static bool makes(const struct change *ch)
{
	return ops[ch->op] == WBACK_MAKE;
}

/* Until the log has room. The server's speed is then the speed. */
static int wait_room(struct vfs *v, const struct caller *c, uint64_t bytes)
{
	enum { LOOK_MS = 100 };
	int r;

	while ((r = wback_room(v->wback, bytes)) == -EAGAIN) {
		if (c->intr && remote_intr_is_fatal(c->intr))
			return -EINTR;
		flush_pressure(v->flush);
		wback_wait_room(v->wback, clock_ms() + LOOK_MS);
	}
	return r;
}

static int refresh(struct vfs *v, struct meta_inode *i)
{
	int r = i->ino ? view_get(v, i->ino, i) : 0;

	return r == -ENOENT ? -ESTALE : r;
}

/* In a bracket: what the change refers to, as it is now. */
static int refer(struct vfs *v, struct change *ch, struct wback_change *w)
{
	int r = makes(ch) ? 0 : refresh(v, &ch->obj);

	if (r == 0)
		r = refresh(v, &ch->dir);
	if (r == 0)
		r = refresh(v, &ch->newdir);
	if (r == 0)
		r = refresh(v, &ch->replaced);
	if (r < 0)
		return r;
	w->obj = view_ref(&ch->obj);
	w->dir = view_ref(&ch->dir);
	w->newdir = view_ref(&ch->newdir);
	w->replaced = view_ref(&ch->replaced);
	return 0;
}

static void make_new(struct vfs *v, struct change *ch, struct wback_change *w)
{
	ch->obj.ino = meta_new_ino(v->meta);
	ch->obj.parent = ch->dir.ino;
	w->obj = (struct wback_ref){ .ino = ch->obj.ino,
				     .parent = ch->dir.ino,
				     .mode = ch->set.mode,
				     .nlink = 1 };
	w->attr = (struct attr){
		.mode = ch->set.mode, .uid = ch->set.uid, .gid = ch->set.gid,
		.mtime = w->now, .atime = w->now,
		.rdev_major = ch->obj.attr.rdev_major,
		.rdev_minor = ch->obj.attr.rdev_minor,
		.size = S_ISDIR(ch->set.mode) ? DIR_BYTES : 0,
	};
}

static void describe_set(const struct change *ch, struct wback_change *w)
{
	const struct remote_sattr *s = &ch->set;

	w->mask = s->valid & (ATTR_MODE | ATTR_UID | ATTR_GID | ATTR_SIZE |
			      ATTR_ATIME | ATTR_MTIME);
	w->attr = (struct attr){ .mode = s->mode, .uid = s->uid, .gid = s->gid,
				 .size = s->size, .atime = s->atime,
				 .mtime = s->mtime };
}

/* In a bracket: nobody can ask for what just lost its last name. */
static void forget_unused(struct vfs *v, const struct meta_inode *i)
{
	if (i->ino && !nodes_known(v->nodes, i->ino))
		wback_forget(v->wback, i->ino);
}

static int apply(struct vfs *v, struct change *ch, struct wback_change *w)
{
	struct wback_settled settled = { 0 };
	int r;

	meta_begin(v->meta);
	r = refer(v, ch, w);
	if (r == 0 && makes(ch))
		make_new(v, ch, w);
	if (r == 0)
		r = wback_apply(v->wback, w, NULL, &settled);
	if (r == 0) {
		view_settled(v, &settled);
		if (ops[ch->op] == WBACK_REMOVE)
			forget_unused(v, &ch->obj);
		forget_unused(v, &ch->replaced);
		/* As they are now, for the answer. */
		(void)refresh(v, &ch->obj);
		(void)refresh(v, &ch->dir);
	}
	meta_end(v->meta);
	return r;
}

/* Contents are copied outside the bracket, unless it is the first change of an
 * inode that the log has to be told of. */
static int back_write(struct vfs *v, struct change *ch, struct wback_change *w)
{
	struct wback_settled settled = { 0 };
	int r;

	w->obj.ino = ch->obj.ino;
	w->obj.nlink = 1;
	r = wback_apply(v->wback, w, NULL, &settled);
	return r == -EAGAIN ? apply(v, ch, w) : r;
}

int back_apply(struct vfs *v, const struct caller *c, struct change *ch)
{
	struct wback_change w = {
		.op = ops[ch->op], .name = ch->name, .newname = ch->newname,
		.target = ch->target, .offset = ch->offset, .data = ch->data,
		.len = ch->len,
	};
	int r = wait_room(v, c, 1024 + ch->len);

	if (r < 0)
		return r;
	(void)clock_gettime(CLOCK_REALTIME, &w.now);
	if (ch->op == CHANGE_SETATTR)
		describe_set(ch, &w);
	do
		r = ch->op == CHANGE_WRITE ? back_write(v, ch, &w) :
					     apply(v, ch, &w);
	while (r == -EAGAIN);
	if (r == 0)
		flush_changed(v->flush);
	return r;
}

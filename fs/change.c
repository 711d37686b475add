/* SPDX-License-Identifier: GPL-2.0-or-later */
/* change.c: by which policy a change is applied. It follows from where it is
 * made: back, unless an option says through; and through when the local disk
 * has no room for the log. What goes through finds the server as applications
 * believe it to be: all that is pending of what it touches is sent first.
 */
#include "change.h"
#include "flush.h"
#include "view.h"

/* The directory whose place decides. */
static uint64_t place_of(const struct change *ch)
{
	if (ch->dir.ino)
		return ch->dir.ino;
	return S_ISDIR(ch->obj.attr.mode) ? ch->obj.ino : ch->obj.parent;
}

static bool goes_through(struct vfs *v, const struct change *ch)
{
	return policy_is_through(v, place_of(ch)) ||
	       (ch->newdir.ino && policy_is_through(v, ch->newdir.ino));
}

static void refresh(struct vfs *v, struct meta_inode *i)
{
	if (i->ino)
		(void)view_get(v, i->ino, i);
}

static int send_before(struct vfs *v, const struct caller *c,
		       struct change *ch)
{
	const uint64_t inos[] = { ch->obj.ino, ch->dir.ino, ch->newdir.ino,
				  ch->replaced.ino };

	for (size_t k = 0; k < ARRAY_LEN(inos); k++) {
		int r = inos[k] ? flush_wait_for(v->flush, inos[k], c->intr) :
				  0;

		if (r < 0)
			return r;
	}
	/* They may have got their handles by it. */
	meta_begin(v->meta);
	refresh(v, &ch->obj);
	refresh(v, &ch->dir);
	refresh(v, &ch->newdir);
	refresh(v, &ch->replaced);
	meta_end(v->meta);
	return 0;
}

/* A change that goes through sends what is pending, which makes room: as long as
 * the disk is nearly full, there is room and none in turn. That is told as one. */
enum { ROOM_AGAIN_MS = 5000 };

static void tell_full(struct vfs *v)
{
	__atomic_store_n(&v->log_full_ms, clock_ms(), __ATOMIC_RELAXED);
	if (!__atomic_exchange_n(&v->log_full, true, __ATOMIC_RELAXED))
		msg_warning("no room for the write-back log: changes wait for "
			    "the server until there is; nothing is lost");
}

static void tell_room(struct vfs *v)
{
	if (vfs_log_is_full(v) ||
	    !__atomic_exchange_n(&v->log_full, false, __ATOMIC_RELAXED))
		return;
	msg_info("the write-back log has room again");
}

bool vfs_log_is_full(struct vfs *v)
{
	return __atomic_load_n(&v->log_full, __ATOMIC_RELAXED) &&
	       clock_ms() - __atomic_load_n(&v->log_full_ms,
					    __ATOMIC_RELAXED) < ROOM_AGAIN_MS;
}

/* ---- what goes through: its time is sent a moment later (times.c) ---- */

/* What applications see from now on. */
static void show_mtime(struct vfs *v, uint64_t ino, struct timespec mtime)
{
	struct meta_inode i;

	meta_begin(v->meta);
	if (meta_get(v->meta, ino, &i) == 0) {
		i.attr.mtime = mtime;
		(void)meta_put(v->meta, &i);
	}
	meta_end(v->meta);
}

static int write_through(struct vfs *v, const struct caller *c,
			 struct change *ch)
{
	struct timespec now;
	int r;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	r = through_apply(v, c, ch);
	if (r < 0)
		return r;
	times_written(v->times, ch->obj.ino, now);
	show_mtime(v, ch->obj.ino, now);
	return 0;
}

static int setattr_through(struct vfs *v, const struct caller *c,
			   struct change *ch)
{
	uint64_t ino = ch->obj.ino;
	struct timespec mtime;
	bool pending = times_pending(v->times, ino, &mtime);
	int r;

	/* By this machine's clock, as the time of a write. */
	if (ch->set.valid & REMOTE_SET_SIZE &&
	    !(ch->set.valid & REMOTE_SET_MTIME)) {
		ch->set.valid |= REMOTE_SET_MTIME;
		(void)clock_gettime(CLOCK_REALTIME, &ch->set.mtime);
	}
	times_setattr(v->times, ino, &ch->set);
	r = through_apply(v, c, ch);
	if (r < 0 && pending)
		times_written(v->times, ino, mtime);
	return r;
}

static int apply_through(struct vfs *v, const struct caller *c,
			 struct change *ch)
{
	return ch->op == CHANGE_SETATTR ? setattr_through(v, c, ch) :
	       ch->op == CHANGE_WRITE	? write_through(v, c, ch) :
					  through_apply(v, c, ch);
}

/* ---- the choice ---- */

int change_apply(struct vfs *v, const struct caller *c, struct change *ch)
{
	int r;

	if (!goes_through(v, ch)) {
		r = back_apply(v, c, ch);
		if (r != -ENOSPC) {
			if (__atomic_load_n(&v->log_full, __ATOMIC_RELAXED))
				tell_room(v);
			return r;
		}
		tell_full(v);
	}
	if (v->wback) {
		r = send_before(v, c, ch);
		if (r < 0)
			return r;
	}
	return apply_through(v, c, ch);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* through.c: the policy `through`: a change is sent to the server at once, and
 * acknowledged when the server has it on stable storage (NFSv3 makes the
 * changes of names and attributes stable before it replies; data goes out as
 * FILE_SYNC). Then it is recorded in the cache.
 *
 * Each change touches the sequence twice, before it is sent and as it is
 * recorded, so that a fill which ran at the same time does not overwrite it.
 */
#include "change.h"
#include "fetch.h"

/* ---- what all share ---- */

/* The server contradicts what we believed of @dir: ask it again before the
 * next use. */
static void distrust(struct vfs *v, uint64_t dir)
{
	struct meta_inode d;

	meta_begin(v->meta);
	if (meta_get(v->meta, dir, &d) == 0) {
		d.checked = 0;
		(void)meta_put(v->meta, &d);
	}
	meta_end(v->meta);
}

/* Send @call, which works on the directory ch->dir. */
static int send_in_dir(struct vfs *v, const struct caller *c, struct change *ch,
		       struct remote_call *call)
{
	int r;

	vfs_touch(v, ch->dir.ino);
	r = vfs_run(v, c, ch->dir.ino, call);
	vfs_touch(v, ch->dir.ino);
	if (r == -EEXIST || r == -ENOENT || r == -ESTALE || r == -ENOTEMPTY)
		distrust(v, ch->dir.ino);
	return r;
}

static int merge_dir(struct vfs *v, struct change *ch,
		     const struct remote_call *call, const struct moment *when)
{
	return vfs_merge_dir(v, ch->dir.ino, call->has_dir_attr,
			     &call->dir_attr, &call->pre, when, &ch->dir);
}

int change_drop_link(struct vfs *v, struct meta_inode *i)
{
	(void)clock_gettime(CLOCK_REALTIME, &i->attr.ctime);
	if (!S_ISDIR(i->attr.mode) && i->attr.nlink > 1) {
		i->attr.nlink--;
		i->flags |= META_CTIME_OURS;
		i->checked = 0;
		return meta_put(v->meta, i);
	}
	times_drop(v->times, i->ino);
	if (!nodes_known(v->nodes, i->ino))
		return meta_forget(v->meta, i->ino);
	i->attr.nlink = 0;
	i->flags |= META_REMOVED;
	return meta_put(v->meta, i);
}

/* May an application still use @i after its last name is gone? Only regular
 * files: what is done to others when open never reaches the server. */
static bool must_hold(struct vfs *v, const struct meta_inode *i)
{
	return S_ISREG(i->attr.mode) && i->attr.nlink <= 1 &&
	       nodes_known(v->nodes, i->ino);
}

/* ---- creating ---- */

static enum remote_op create_op(const struct change *ch)
{
	switch (ch->op) {
	case CHANGE_MKDIR:
		return REMOTE_MKDIR;
	case CHANGE_SYMLINK:
		return REMOTE_SYMLINK;
	default:
		return S_ISREG(ch->obj.attr.mode) ? REMOTE_CREATE :
						    REMOTE_MKNOD;
	}
}

/* Servers differ in what they make of the attributes given at creation: some
 * clear setuid bits, or apply a umask of their own. Set right what is wrong; the
 * object exists, whether or not that succeeds. */
static void correct(struct vfs *v, const struct caller *c, struct change *ch)
{
	const struct attr *a = &ch->obj.attr;
	struct change fix = { .op = CHANGE_SETATTR, .obj = ch->obj };

	if (a->uid != ch->set.uid)
		fix.set.valid |= REMOTE_SET_UID;
	if (a->gid != ch->set.gid)
		fix.set.valid |= REMOTE_SET_GID;
	if (!S_ISLNK(a->mode) && (a->mode & 07777) != (ch->set.mode & 07777))
		fix.set.valid |= REMOTE_SET_MODE;
	if (!fix.set.valid)
		return;
	fix.set.uid = ch->set.uid;
	fix.set.gid = ch->set.gid;
	fix.set.mode = ch->set.mode & 07777;
	if (fix.set.valid & (REMOTE_SET_UID | REMOTE_SET_GID) &&
	    !S_ISLNK(a->mode)) /* a change of owner clears bits */
		fix.set.valid |= REMOTE_SET_MODE;
	if (through_apply(v, c, &fix) == 0)
		ch->obj = fix.obj;
}

static int record_created(struct vfs *v, struct change *ch,
			  const struct remote_call *call,
			  const struct moment *when)
{
	int r;

	meta_begin(v->meta);
	r = merge_dir(v, ch, call, when);
	if (r == 0)
		r = vfs_adopt(v, ch->dir.ino, &call->fh_out, &call->attr, when,
			      true, &ch->obj);
	if (r == 0 && ch->op == CHANGE_MKDIR) {
		/* It is empty, and we know it. */
		ch->obj.flags |= META_COMPLETE;
		r = meta_put(v->meta, &ch->obj);
	}
	if (r == 0)
		r = vfs_name_set(v, &ch->dir, ch->name, &ch->obj);
	meta_end(v->meta);
	return r;
}

static int through_create(struct vfs *v, const struct caller *c,
			  struct change *ch)
{
	struct moment when = vfs_moment(v);
	struct remote_call *call =
		remote_call_new(create_op(ch), NULL, ch->name);
	int r;

	if (!call)
		return -ENOMEM;
	call->set = ch->set;
	call->rdev_major = ch->obj.attr.rdev_major;
	call->rdev_minor = ch->obj.attr.rdev_minor;
	if (ch->op == CHANGE_SYMLINK) {
		call->data_len = (uint32_t)strlen(ch->target);
		call->data = strdup(ch->target);
		if (!call->data) {
			remote_call_unref(call);
			return -ENOMEM;
		}
	}
	r = send_in_dir(v, c, ch, call);
	if (r == 0 && (call->fh_out.len == 0 || !call->has_attr)) {
		/* The server made it and does not say what: ask. */
		struct remote_call *ask =
			remote_call_new(REMOTE_LOOKUP, NULL, ch->name);

		r = ask ? vfs_lookup_call(v, c, &ch->dir, ask) : -ENOMEM;
		if (r == 0) {
			call->fh_out = ask->fh_out;
			call->attr = ask->attr;
		}
		remote_call_unref(ask);
	}
	if (r == 0)
		r = record_created(v, ch, call, &when);
	remote_call_unref(call);
	if (r == 0)
		correct(v, c, ch);
	return r;
}

static int through_link(struct vfs *v, const struct caller *c,
			struct change *ch)
{
	struct moment when = vfs_moment(v);
	struct remote_call *call = remote_call_new(REMOTE_LINK, NULL, ch->name);
	int r;

	if (!call)
		return -ENOMEM;
	call->object = ch->obj.handle;
	vfs_touch(v, ch->obj.ino);
	r = send_in_dir(v, c, ch, call);
	vfs_touch(v, ch->obj.ino);
	if (r == 0) {
		meta_begin(v->meta);
		r = merge_dir(v, ch, call, &when);
		if (r == 0)
			r = meta_get(v->meta, ch->obj.ino, &ch->obj);
		if (r == 0 && call->has_attr) {
			vfs_merge(v, &ch->obj, &call->attr, &when, true);
		} else if (r == 0) {
			ch->obj.attr.nlink++;
			ch->obj.flags |= META_CTIME_OURS;
			ch->obj.checked = 0;
		}
		if (r == 0)
			r = meta_put(v->meta, &ch->obj);
		if (r == 0)
			r = vfs_name_set(v, &ch->dir, ch->name, &ch->obj);
		meta_end(v->meta);
	}
	remote_call_unref(call);
	return r;
}

/* ---- removing ---- */

/* Out of the tree, but not gone: it may be open. Errors of the holding
 * directory's own are no reason to keep the name. */
static int move_to_hold(struct vfs *v, const struct caller *c,
			struct change *ch, struct remote_call **ret)
{
	struct remote_call *call;
	int r;

	call = remote_call_new(REMOTE_RENAME, NULL, ch->name);
	if (!call)
		return -ENOMEM;
	hold_name(v, ch->obj.ino, call->name2);
	call->object = ch->obj.handle;
	r = hold_dir_of(v, c, &ch->obj, &call->fh2);
	if (r == 0)
		r = send_in_dir(v, c, ch, call);
	if (r < 0)
		remote_call_unref(call);
	else
		*ret = call;
	return r;
}

static int through_remove(struct vfs *v, const struct caller *c,
			  struct change *ch)
{
	struct moment when = vfs_moment(v);
	struct remote_call *call = NULL;
	bool held = false;
	int r;

	vfs_touch(v, ch->obj.ino);
	if (ch->op == CHANGE_REMOVE && must_hold(v, &ch->obj)) {
		r = move_to_hold(v, c, ch, &call);
		if (r == -ENOENT || r == -EINTR || r == -EIO)
			return r;
		held = r == 0;
	}
	if (!held) {
		call = remote_call_new(ch->op == CHANGE_RMDIR ? REMOTE_RMDIR :
								REMOTE_REMOVE,
				       NULL, ch->name);
		if (!call)
			return -ENOMEM;
		r = send_in_dir(v, c, ch, call);
		if (r < 0) {
			remote_call_unref(call);
			return r;
		}
	}
	vfs_touch(v, ch->obj.ino);
	meta_begin(v->meta);
	r = merge_dir(v, ch, call, &when);
	if (r == 0)
		r = vfs_name_unset(v, &ch->dir, ch->name);
	if (r == 0 && meta_get(v->meta, ch->obj.ino, &ch->obj) == 0)
		r = change_drop_link(v, &ch->obj);
	meta_end(v->meta);
	remote_call_unref(call);
	if (held)
		stats_add(&v->stats->held, 1);
	return r;
}

/* ---- renaming ---- */

/* Keep what a rename will replace: it may be open (a running program's own
 * file, a library in use). One more link in the holding directory does it, and
 * the rename itself stays atomic. */
static bool hold_replaced(struct vfs *v, const struct caller *c,
			  const struct meta_inode *t)
{
	struct remote_call *call = hold_link_call(v, c, t);
	int r;

	if (!call)
		return false;
	vfs_touch(v, t->ino);
	r = remote_run(v->remote, call, c->intr, 0);
	remote_call_unref(call);
	/* The name belongs to this inode alone: there already is as good. */
	return r == 0 || r == -EEXIST;
}

static int record_renamed(struct vfs *v, struct change *ch,
			  const struct remote_call *call,
			  const struct moment *when)
{
	bool same_dir = ch->dir.ino == ch->newdir.ino;
	int r;

	meta_begin(v->meta);
	r = merge_dir(v, ch, call, when);
	if (r == 0 && same_dir)
		ch->newdir = ch->dir;
	else if (r == 0)
		r = vfs_merge_dir(v, ch->newdir.ino, call->has_dir2_attr,
				  &call->dir2_attr, &call->pre2, when,
				  &ch->newdir);
	if (r == 0)
		r = vfs_name_unset(v, &ch->dir, ch->name);
	if (r == 0 && meta_get(v->meta, ch->obj.ino, &ch->obj) == 0) {
		ch->obj.parent = ch->newdir.ino;
		ch->obj.flags |= META_CTIME_OURS;
		ch->obj.checked = 0;
		r = meta_put(v->meta, &ch->obj);
	}
	if (r == 0)
		r = vfs_name_set(v, &ch->newdir, ch->newname, &ch->obj);
	if (r == 0 && ch->replaced.ino &&
	    meta_get(v->meta, ch->replaced.ino, &ch->replaced) == 0)
		r = change_drop_link(v, &ch->replaced);
	meta_end(v->meta);
	return r;
}

static int through_rename(struct vfs *v, const struct caller *c,
			  struct change *ch)
{
	struct moment when = vfs_moment(v);
	struct remote_call *call;
	bool held = false;
	int r;

	call = remote_call_new(REMOTE_RENAME, NULL, ch->name);
	if (!call)
		return -ENOMEM;
	strcpy(call->name2, ch->newname);
	call->fh2 = ch->newdir.handle;
	call->object = ch->obj.handle;
	if (ch->replaced.ino && must_hold(v, &ch->replaced))
		held = hold_replaced(v, c, &ch->replaced);
	vfs_touch(v, ch->newdir.ino);
	vfs_touch(v, ch->obj.ino);
	r = send_in_dir(v, c, ch, call);
	vfs_touch(v, ch->obj.ino);
	vfs_touch(v, ch->newdir.ino);
	if (r == -EEXIST && S_ISDIR(ch->obj.attr.mode))
		r = -ENOTEMPTY; /* both are right by the standard */
	if (r == 0) {
		r = record_renamed(v, ch, call, &when);
		if (held)
			stats_add(&v->stats->held, 1);
	} else {
		distrust(v, ch->newdir.ino);
		if (held)
			hold_release(v, &ch->replaced);
	}
	remote_call_unref(call);
	return r;
}

/* ---- attributes and data ---- */

static bool is_of_contents(const struct remote_call *call)
{
	return call->op == REMOTE_WRITE || call->set.valid & REMOTE_SET_SIZE;
}

/* In a bracket: what the reply said of the object; if nothing, that is noted. */
static int merge_object(struct vfs *v, struct change *ch,
			const struct remote_call *call,
			const struct moment *when)
{
	int r = meta_get(v->meta, ch->obj.ino, &ch->obj);

	if (r < 0)
		return r;
	if (call->has_attr) {
		vfs_merge(v, &ch->obj, &call->attr, when, true);
		if (is_of_contents(call))
			ch->obj.data_ctime = ch->obj.server_ctime;
	} else {
		ch->obj.flags |= META_CTIME_OURS;
		ch->obj.checked = 0;
	}
	return meta_put(v->meta, &ch->obj);
}

/* Send @call, which works on the object ch->obj, and record the reply. */
static int send_to_object(struct vfs *v, const struct caller *c,
			  struct change *ch, struct remote_call *call)
{
	struct moment when = vfs_moment(v);
	int r;

	vfs_touch(v, ch->obj.ino);
	r = vfs_run(v, c, ch->obj.ino, call);
	vfs_touch(v, ch->obj.ino);
	if (r < 0)
		return r;
	meta_begin(v->meta);
	r = merge_object(v, ch, call, &when);
	meta_end(v->meta);
	if (is_of_contents(call))
		fetch_forget(v->fetch, ch->obj.ino);
	return r;
}

static int through_setattr(struct vfs *v, const struct caller *c,
			   struct change *ch)
{
	struct remote_call *call = remote_call_new(REMOTE_SETATTR, NULL, NULL);
	int r;

	if (!call)
		return -ENOMEM;
	call->set = ch->set;
	r = send_to_object(v, c, ch, call);
	remote_call_unref(call);
	return r;
}

/* A server may do less than FILE_SYNC was asked for only by breaking the rules;
 * then COMMIT makes up for it. */
static int commit(struct vfs *v, const struct caller *c, uint64_t ino)
{
	struct remote_call *call = remote_call_new(REMOTE_COMMIT, NULL, NULL);
	int r = call ? vfs_run(v, c, ino, call) : -ENOMEM;

	remote_call_unref(call);
	return r;
}

static int write_once(struct vfs *v, const struct caller *c, struct change *ch,
		      uint32_t at, uint32_t *ret_count)
{
	uint32_t len = MIN(ch->len - at, v->fsinfo.write_max);
	struct remote_call *call = remote_call_new(REMOTE_WRITE, NULL, NULL);
	int r;

	if (!call)
		return -ENOMEM;
	call->data = malloc(len);
	if (!call->data) {
		remote_call_unref(call);
		return -ENOMEM;
	}
	memcpy(call->data, (const char *)ch->data + at, len);
	call->data_len = len;
	call->offset = ch->offset + at;
	call->stable = REMOTE_FILE_SYNC;
	r = send_to_object(v, c, ch, call);
	if (r == 0 && call->count == 0)
		r = -EREMOTEIO;
	if (r == 0 && call->stable == REMOTE_UNSTABLE)
		r = commit(v, c, ch->obj.ino);
	if (r == 0)
		*ret_count = MIN(call->count, len);
	remote_call_unref(call);
	return r;
}

static int through_write(struct vfs *v, const struct caller *c,
			 struct change *ch)
{
	uint32_t done = 0;

	while (done < ch->len) {
		uint32_t n = 0;
		int r = write_once(v, c, ch, done, &n);

		if (r < 0)
			return r;
		done += n;
	}
	return 0;
}

int through_apply(struct vfs *v, const struct caller *c, struct change *ch)
{
	switch (ch->op) {
	case CHANGE_CREATE:
	case CHANGE_MKDIR:
	case CHANGE_SYMLINK:
		return through_create(v, c, ch);
	case CHANGE_LINK:
		return through_link(v, c, ch);
	case CHANGE_REMOVE:
	case CHANGE_RMDIR:
		return through_remove(v, c, ch);
	case CHANGE_RENAME:
		return through_rename(v, c, ch);
	case CHANGE_SETATTR:
		return through_setattr(v, c, ch);
	case CHANGE_WRITE:
		return through_write(v, c, ch);
	}
	return -EINVAL;
}

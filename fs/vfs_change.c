/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vfs_change.c: what changes names and attributes: settle what is there now,
 * apply POSIX's rules that the kernel leaves to the filesystem, describe the
 * change, have it applied, answer.
 */
#include <sys/sysmacros.h>

#include "change.h"
#include "view.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE (1 << 0)
#endif

/* The attributes of a new object. In a setgid directory its group is the
 * directory's, and a new directory is setgid too. */
static void new_attrs(struct vfs *v, const struct caller *c,
		      const struct meta_inode *dir, mode_t mode,
		      struct change *ch)
{
	ch->set.valid = REMOTE_SET_MODE | REMOTE_SET_UID | REMOTE_SET_GID |
			REMOTE_SET_MTIME;
	ch->set.uid = c->uid;
	ch->set.gid = c->gid;
	ch->set.mtime = vfs_unique_time(v);
	if (dir->attr.mode & S_ISGID) {
		ch->set.gid = dir->attr.gid;
		if (S_ISDIR(mode))
			mode |= S_ISGID;
	}
	ch->set.mode = mode & (S_IFMT | 07777);
	ch->obj.attr.mode = mode;
}

/* ch->name is to be made in @dir: is that possible? Where the server will not be
 * asked before long, it is settled here. */
static int settle_new_name(struct vfs *v, const struct caller *c, uint64_t dir,
			   struct change *ch)
{
	struct meta_inode there;
	int r;

	if (strcmp(ch->name, HOLD_NAME) == 0)
		return -EPERM;
	meta_begin(v->meta);
	r = view_get(v, dir, &ch->dir);
	meta_end(v->meta);
	if (r < 0)
		return r == -ENOENT ? -ESTALE : r;
	if (ch->dir.flags & META_REMOVED)
		return -ENOENT;
	if (strlen(ch->name) > MIN(v->pathconf.name_max,
				   (uint32_t)NAME_BYTES_MAX))
		return -ENAMETOOLONG;
	if (policy_is_through(v, dir))
		return 0; /* the server will say */
	r = vfs_walk(v, c, dir, ch->name, &ch->dir, &there);
	return r == -ENOENT ? 0 : r < 0 ? r : -EEXIST;
}

static int create(struct vfs *v, const struct caller *c, uint64_t dir,
		  mode_t mode, struct change *ch, struct vfs_entry *ret)
{
	int r = settle_new_name(v, c, dir, ch);

	if (r < 0)
		return r;
	new_attrs(v, c, &ch->dir, mode, ch);
	r = change_apply(v, c, ch);
	if (r < 0)
		return r;
	meta_begin(v->meta);
	vfs_answer_ref(v, &ch->obj, ch->dir.checked, ret);
	meta_end(v->meta);
	return 0;
}

int vfs_mknod(struct vfs *v, const struct caller *c, uint64_t dir,
	      const char *name, mode_t mode, dev_t rdev, struct vfs_entry *ret)
{
	struct change ch = { .op = CHANGE_CREATE, .name = name };

	ch.obj.attr.rdev_major = major(rdev);
	ch.obj.attr.rdev_minor = minor(rdev);
	return create(v, c, dir, mode, &ch, ret);
}

int vfs_mkdir(struct vfs *v, const struct caller *c, uint64_t dir,
	      const char *name, mode_t mode, struct vfs_entry *ret)
{
	struct change ch = { .op = CHANGE_MKDIR, .name = name };

	return create(v, c, dir, (mode & 07777) | S_IFDIR, &ch, ret);
}

int vfs_symlink(struct vfs *v, const struct caller *c, uint64_t dir,
		const char *name, const char *target, struct vfs_entry *ret)
{
	struct change ch = { .op = CHANGE_SYMLINK,
			     .name = name,
			     .target = target };

	return create(v, c, dir, S_IFLNK | 0777, &ch, ret);
}

int vfs_link(struct vfs *v, const struct caller *c, uint64_t ino, uint64_t dir,
	     const char *name, struct vfs_entry *ret)
{
	struct change ch = { .op = CHANGE_LINK, .name = name };
	int r = settle_new_name(v, c, dir, &ch);

	if (r < 0)
		return r;
	r = vfs_inode(v, c, ino, 0, &ch.obj);
	if (r < 0)
		return r;
	if (ch.obj.flags & META_REMOVED)
		return -ENOENT;
	r = change_apply(v, c, &ch);
	if (r < 0)
		return r;
	meta_begin(v->meta);
	vfs_answer_ref(v, &ch.obj, ch.dir.checked, ret);
	meta_end(v->meta);
	return 0;
}

static int must_be_empty(struct vfs *v, const struct caller *c,
			 const struct meta_inode *dir)
{
	int r = vfs_dir_is_empty(v, c, dir->ino);

	return r < 0 ? r : r ? 0 : -ENOTEMPTY;
}

static int remove_name(struct vfs *v, const struct caller *c, uint64_t dir,
		       const char *name, enum change_op op)
{
	struct change ch = { .op = op, .name = name };
	int r = vfs_walk(v, c, dir, name, &ch.dir, &ch.obj);

	if (r == 0 && op == CHANGE_RMDIR)
		r = must_be_empty(v, c, &ch.obj);
	return r < 0 ? r : change_apply(v, c, &ch);
}

int vfs_unlink(struct vfs *v, const struct caller *c, uint64_t dir,
	       const char *name)
{
	return remove_name(v, c, dir, name, CHANGE_REMOVE);
}

int vfs_rmdir(struct vfs *v, const struct caller *c, uint64_t dir,
	      const char *name)
{
	return remove_name(v, c, dir, name, CHANGE_RMDIR);
}

int vfs_rename(struct vfs *v, const struct caller *c, uint64_t dir,
	       const char *name, uint64_t newdir, const char *newname,
	       unsigned flags)
{
	struct change ch = { .op = CHANGE_RENAME,
			     .name = name,
			     .newname = newname };
	int r;

	/* NFSv3 cannot exchange two names, nor leave a whiteout. */
	if (flags & ~(unsigned)RENAME_NOREPLACE)
		return -EINVAL;
	if (strcmp(newname, HOLD_NAME) == 0)
		return -EPERM;
	r = vfs_walk(v, c, dir, name, &ch.dir, &ch.obj);
	if (r < 0)
		return r;
	r = vfs_walk(v, c, newdir, newname, &ch.newdir, &ch.replaced);
	if (r == -ENOENT)
		ch.replaced.ino = 0;
	else if (r < 0)
		return r;
	else if (flags & RENAME_NOREPLACE)
		return -EEXIST;
	if (ch.newdir.flags & META_REMOVED)
		return -ENOENT;
	if (ch.replaced.ino == ch.obj.ino)
		return 0; /* two links of one file: nothing happens */
	if (ch.replaced.ino && S_ISDIR(ch.replaced.attr.mode)) {
		r = must_be_empty(v, c, &ch.replaced);
		if (r < 0)
			return r;
	}
	return change_apply(v, c, &ch);
}

/* ---- attributes ---- */

/* Leave out of @set what is so already. A chown or chmod that changes nothing
 * would cost a round trip; tar does one to every file. */
static void leave_out_same(const struct meta_inode *i, struct remote_sattr *set)
{
	const struct attr *a = &i->attr;

	if (set->valid & REMOTE_SET_MODE && (a->mode & 07777) == set->mode)
		set->valid &= ~(unsigned)REMOTE_SET_MODE;
	if (set->valid & REMOTE_SET_UID && a->uid == set->uid)
		set->valid &= ~(unsigned)REMOTE_SET_UID;
	if (set->valid & REMOTE_SET_GID && a->gid == set->gid)
		set->valid &= ~(unsigned)REMOTE_SET_GID;
	if (set->valid & REMOTE_SET_MTIME &&
	    timespec_equal(&a->mtime, &set->mtime))
		set->valid &= ~(unsigned)REMOTE_SET_MTIME;
	if (set->valid & REMOTE_SET_ATIME &&
	    timespec_equal(&a->atime, &set->atime))
		set->valid &= ~(unsigned)REMOTE_SET_ATIME;
}

/* A program that gets another owner, or contents of somebody who is not root,
 * must not go on running as its owner: the kernel leaves that to us. A @set of
 * nothing is the chown(2) that keeps both. As on a local disk, setgid without
 * group execution is no such right and stays. */
static void drop_privs(const struct caller *c, const struct meta_inode *i,
		       struct remote_sattr *set)
{
	bool drop = !set->valid || set->valid & (REMOTE_SET_UID | REMOTE_SET_GID) ||
		    (set->valid & REMOTE_SET_SIZE && c->uid != 0);
	mode_t mode = i->attr.mode & 07777 & ~(mode_t)S_ISUID;

	if (mode & S_IXGRP)
		mode &= ~(mode_t)S_ISGID;
	if (!drop || S_ISDIR(i->attr.mode) || set->valid & REMOTE_SET_MODE ||
	    mode == (i->attr.mode & 07777))
		return;
	set->valid |= REMOTE_SET_MODE;
	set->mode = mode;
}

int vfs_setattr(struct vfs *v, const struct caller *c, uint64_t ino,
		const struct remote_sattr *set, struct vfs_entry *ret)
{
	struct change ch = { .op = CHANGE_SETATTR, .set = *set };
	struct timespec on_its_way;
	int r = vfs_inode(v, c, ino, meta_now(v->meta), &ch.obj);

	if (r < 0)
		return r;
	drop_privs(c, &ch.obj, &ch.set);
	/* Compare with what the server has, not with a time still on its way.
	 * A change of size comes with its time in any case. */
	if (!(set->valid & REMOTE_SET_SIZE) &&
	    !times_pending(v->times, ino, &on_its_way))
		leave_out_same(&ch.obj, &ch.set);
	if (ch.set.valid)
		r = change_apply(v, c, &ch);
	if (r < 0)
		return r;
	meta_begin(v->meta);
	vfs_answer(v, &ch.obj, 0, ret);
	meta_end(v->meta);
	return 0;
}

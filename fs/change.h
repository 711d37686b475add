/* SPDX-License-Identifier: GPL-2.0-or-later */
/* change.h: one change of the server's tree. Whatever the filesystem wants
 * changed is described by a struct change and given to change_apply(); what
 * lies behind that is the policy of the place. `back` (back.c): the change is
 * applied when the write-back log has it, and sent later. `through` (through.c):
 * when the server has it on stable storage.
 */
#pragma once

#include "vfs_int.h"

enum change_op {
	CHANGE_CREATE,  /* dir/name, obj.attr.mode and rdev: a file of any type
			 * but the next two -> obj */
	CHANGE_MKDIR,   /* -> obj */
	CHANGE_SYMLINK, /* target -> obj */
	CHANGE_LINK,    /* obj also as dir/name */
	CHANGE_REMOVE,  /* dir/name, which is obj */
	CHANGE_RMDIR,   /* dir/name, which is obj */
	CHANGE_RENAME,  /* dir/name, which is obj, to newdir/newname, replacing
			 * `replaced` (ino 0: nothing there) */
	CHANGE_SETATTR, /* set on obj */
	CHANGE_WRITE,   /* data, len at offset of obj */
};

struct change {
	enum change_op op;
	struct meta_inode obj;
	struct meta_inode dir, newdir;
	struct meta_inode replaced;
	const char *name, *newname; /* the caller's */
	const char *target;         /* the caller's */
	struct remote_sattr set;    /* of the new object, or of SETATTR */
	uint64_t offset;
	const void *data;           /* the caller's */
	uint32_t len;
};

/* 0 when the change is applied: acknowledged by the rule of its place, and seen
 * by all who look; ch->obj, ch->dir are then as they are now. */
int change_apply(struct vfs *v, const struct caller *c, struct change *ch);

/* ---- the policies; for change.c ---- */

/* -ENOSPC: the local disk has no room; then nothing has changed. */
int back_apply(struct vfs *v, const struct caller *c, struct change *ch);
int through_apply(struct vfs *v, const struct caller *c, struct change *ch);

/* In a bracket: one name of @i less on the server. It moved the server's ctime
 * without our being told. */
int change_drop_link(struct vfs *v, struct meta_inode *i);

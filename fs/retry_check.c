/* SPDX-License-Identifier: GPL-2.0-or-later */
/* retry_check.c: owns the knowledge of which calls do harm when repeated, what
 * the server then says, and what proves that it was this call that did it:
 *
 *   REMOVE, RMDIR   -ENOENT   nothing more can be known
 *   CREATE, MKNOD   -EEXIST   the mtime that the call set: the caller chooses
 *                             one that is unique in nanoseconds
 *   MKDIR           -EEXIST   the same; if it set none: mode, owner, emptiness
 *   SYMLINK         -EEXIST   the target (retry.c reads it)
 *   LINK            -EEXIST   the file's handle or number
 *   RENAME          -ENOENT   the file's handle under its new name
 *
 * No state, no locks.
 */
#include "retry_check.h"

int retry_already_done(enum remote_op op)
{
	switch (op) {
	case REMOTE_REMOVE:
	case REMOTE_RMDIR:
	case REMOTE_RENAME:
		return -ENOENT;
	case REMOTE_CREATE:
	case REMOTE_MKDIR:
	case REMOTE_SYMLINK:
	case REMOTE_MKNOD:
	case REMOTE_LINK:
		return -EEXIST;
	default:
		return 0;
	}
}

static uint64_t to_ns(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * 1000000000 + (uint64_t)t->tv_nsec;
}

/* Is @found the mtime that @c set? A disk may have cut it down to the unit that
 * the server admits, or to a finer one: Linux says one second whatever the
 * filesystem keeps. */
static bool mtime_is_ours(const struct remote_call *c, uint64_t unit,
			  const struct timespec *found)
{
	uint64_t set = to_ns(&c->set.mtime), is = to_ns(found);

	if (!(c->set.valid & REMOTE_SET_MTIME))
		return false;
	for (uint64_t finer = 1; finer < unit; finer *= 10)
		if (is == set - set % finer)
			return true;
	return is == set - set % unit;
}

static bool dir_is_ours(const struct remote_call *c, uint64_t unit_ns,
			const struct attr *a)
{
	unsigned valid = c->set.valid;

	if (!S_ISDIR(a->mode))
		return false;
	if (valid & REMOTE_SET_MTIME)
		return mtime_is_ours(c, unit_ns, &a->mtime);
	/* Below a set-group-ID directory it has inherited that bit. */
	if ((valid & REMOTE_SET_MODE) &&
	    ((a->mode ^ c->set.mode) & (07777 & ~(uint32_t)S_ISGID)))
		return false;
	/* Some filesystems give every directory one link. */
	return (!(valid & REMOTE_SET_UID) || a->uid == c->set.uid) &&
	       (!(valid & REMOTE_SET_GID) || a->gid == c->set.gid) &&
	       a->nlink <= 2;
}

static bool node_is_ours(const struct remote_call *c, uint64_t unit_ns,
			 const struct attr *a)
{
	if ((a->mode ^ c->set.mode) & S_IFMT)
		return false;
	if ((S_ISCHR(a->mode) || S_ISBLK(a->mode)) &&
	    (a->rdev_major != c->rdev_major || a->rdev_minor != c->rdev_minor))
		return false;
	return mtime_is_ours(c, unit_ns, &a->mtime);
}

bool retry_is_ours(const struct remote_call *c, const struct remote_call *found,
		   uint64_t unit_ns)
{
	const struct attr *a = &found->attr;

	switch (c->op) {
	case REMOTE_CREATE:
		return S_ISREG(a->mode) && a->size == 0 &&
		       mtime_is_ours(c, unit_ns, &a->mtime);
	case REMOTE_MKDIR:
		return dir_is_ours(c, unit_ns, a);
	case REMOTE_MKNOD:
		return node_is_ours(c, unit_ns, a);
	case REMOTE_RENAME:
		return handle_equal(&found->fh_out, &c->object);
	default: /* LINK; servers may have several handles for a file */
		return handle_equal(&found->fh_out, &c->object) ||
		       (c->has_attr && c->attr.fsid == a->fsid &&
			c->attr.fileid == a->fileid);
	}
}

void retry_adopt(struct remote_call *c, const struct remote_call *found)
{
	c->pre.valid = c->pre2.valid = false;
	if (c->op == REMOTE_RENAME) {
		c->has_dir2_attr = found->has_dir_attr;
		c->dir2_attr = found->dir_attr;
		if (!handle_equal(&c->fh, &c->fh2))
			return; /* dir_attr is of the error's reply */
	} else {
		c->has_attr = true;
		c->attr = found->attr;
	}
	c->has_dir_attr = found->has_dir_attr;
	c->dir_attr = found->dir_attr;
	if (c->op != REMOTE_RENAME && c->op != REMOTE_LINK)
		c->fh_out = found->fh_out;
}

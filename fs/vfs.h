/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vfs.h: the filesystem without FUSE: one function an operation, POSIX
 * semantics. Permissions are the kernel's business (default_permissions); what
 * reaches us has been allowed.
 *
 * All functions may be called from any thread, may wait for the server, and
 * return 0 or -errno. Names come from the kernel: one component, not "." or
 * "..". Inode numbers are meta.h's, META_ROOT the root.
 */
#pragma once

#include "../cache/meta.h"
#include "../cache/wback.h"
#include "config.h"
#include "remote.h"
#include "stats.h"

struct blob;
struct vfs; /* opaque */

/* Who asks. */
struct caller {
	uid_t uid;
	gid_t gid;
	struct remote_intr *intr; /* may be NULL: not interruptible */
};

/* An inode as an answer, with how long the kernel may believe it. */
struct vfs_entry {
	uint64_t ino;
	struct attr attr;
	double name_valid_s, attr_valid_s;
};

/* Takes neither meta, blob, wback nor remote: they must outlive the vfs. Fetches
 * the root's attributes, the server's limits, and removes what an earlier mount left
 * in the holding directory. @remote is a retry layer (remote_retry_open). @wback
 * may be NULL: then every change goes to the server at once; @blob, too: then
 * contents are not kept. */
int vfs_open(const struct config *config, struct meta *meta,
	     struct blob *blob, struct wback *wback, struct remote *remote,
	     const struct handle *root, struct stats *stats, struct vfs **ret);

/* Sends what is pending (times, removals of held files), waits for it, frees.
 * What the log holds stays there. */
void vfs_close(struct vfs *v);

/* How the kernel is told that it is to ask again: for an inode's attributes; for
 * its contents, too, waiting for those who read them; for a name, without taking
 * away what is mounted on it or beneath. */
struct vfs_kernel {
	void (*attr)(void *arg, uint64_t ino);
	void (*contents)(void *arg, uint64_t ino);
	void (*name)(void *arg, uint64_t dir, const char *name);
	void *arg;
};
/* NULL: from now on it is told nothing; waits for who does. */
void vfs_set_kernel(struct vfs *v, const struct vfs_kernel *k);

/* Wait until nothing is under way that nobody waits for: what is asked ahead,
 * and what is sent in the background. Who counts calls does so after this. */
void vfs_settle(struct vfs *v);

/* The name of @ino must never vanish under the kernel while we run: something
 * is mounted on or beneath it. Lookups of it are answered from the cache. */
int vfs_pin_path(struct vfs *v, const char *path);

/* The path of @name in @dir, from the root ("/etc/motd"), as far as is known
 * without asking the server; @name NULL: of @dir itself, which may then be any
 * inode. The names of its ancestors are searched for in the cache and the
 * overlay. -ENOENT: it is not known, or has no name any more. Malloc'ed. Does
 * not wait. */
int vfs_path_of(struct vfs *v, uint64_t dir, const char *name, char **ret);

/* wback_drop() of a change that is stuck, or of a copy that shall no longer be
 * listed: what was changed locally is given up for what the server has.
 * -ENOENT: there is no trouble of that number. Does not wait. */
int vfs_drop_change(struct vfs *v, uint64_t id);

/* Has the local disk had no room for the log in the last seconds? */
bool vfs_log_is_full(struct vfs *v);

/* Each success of a function with a vfs_entry is one reference of the kernel's
 * on entry.ino, given back by vfs_forget(). A name known to be absent is
 * success with ino 0. */
int vfs_lookup(struct vfs *v, const struct caller *c, uint64_t dir,
	       const char *name, struct vfs_entry *ret);
void vfs_forget(struct vfs *v, uint64_t ino, uint64_t n);

/* No reference is taken by the next two. */
int vfs_getattr(struct vfs *v, const struct caller *c, uint64_t ino,
		struct vfs_entry *ret);
/* A @set of nothing takes away setuid and setgid, as a change of owner or one
 * of size by a @c that is not root does too. */
int vfs_setattr(struct vfs *v, const struct caller *c, uint64_t ino,
		const struct remote_sattr *set, struct vfs_entry *ret);

/* *@ret is malloc'ed, NUL-terminated. */
int vfs_readlink(struct vfs *v, const struct caller *c, uint64_t ino,
		 char **ret);

/* A file of any type but a directory; @mode with the type bits. */
int vfs_mknod(struct vfs *v, const struct caller *c, uint64_t dir,
	      const char *name, mode_t mode, dev_t rdev, struct vfs_entry *ret);
int vfs_mkdir(struct vfs *v, const struct caller *c, uint64_t dir,
	      const char *name, mode_t mode, struct vfs_entry *ret);
int vfs_symlink(struct vfs *v, const struct caller *c, uint64_t dir,
		const char *name, const char *target, struct vfs_entry *ret);
int vfs_link(struct vfs *v, const struct caller *c, uint64_t ino, uint64_t dir,
	     const char *name, struct vfs_entry *ret);
int vfs_unlink(struct vfs *v, const struct caller *c, uint64_t dir,
	       const char *name);
int vfs_rmdir(struct vfs *v, const struct caller *c, uint64_t dir,
	      const char *name);
/* @flags: 0 or RENAME_NOREPLACE; others are -EINVAL. */
int vfs_rename(struct vfs *v, const struct caller *c, uint64_t dir,
	       const char *name, uint64_t newdir, const char *newname,
	       unsigned flags);

/* *@ret is the caller's then; it may be short at the file's end only. */
int vfs_read(struct vfs *v, const struct caller *c, uint64_t ino,
	     uint64_t offset, uint32_t count, struct slice *ret);
int vfs_write(struct vfs *v, const struct caller *c, uint64_t ino,
	      uint64_t offset, const void *data, uint32_t len);
int vfs_fsync(struct vfs *v, const struct caller *c, uint64_t ino);
int vfs_fallocate(struct vfs *v, const struct caller *c, uint64_t ino, int mode,
		  uint64_t offset, uint64_t len);
int vfs_statfs(struct vfs *v, const struct caller *c, uint64_t ino,
	       struct remote_fsstat *ret, uint32_t *ret_name_max);

/* The entries of @dir after offset @after (0: the start), "." and ".." first.
 * With @plus each entry whose attributes are trusted comes with them and then
 * counts as one reference; else entry->attr.mode has only the type and the valid
 * times are 0. @emit returns 0 to go on and 1 when its
 * buffer is full: that entry was not taken. */
typedef int vfs_emit_fn(void *arg, const char *name, uint64_t offset,
			const struct vfs_entry *entry, bool with_attr);
int vfs_readdir(struct vfs *v, const struct caller *c, uint64_t dir,
		uint64_t after, bool plus, vfs_emit_fn *emit, void *arg);

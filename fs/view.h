/* SPDX-License-Identifier: GPL-2.0-or-later */
/* view.h: the file tree as applications see it: the metadata cache, which holds
 * what the server said, and over it the write-back log's overlay, which is
 * newer. The two change hands of an inode or a name only inside a bracket of the
 * cache, so that what is read in one bracket is one state.
 *
 * All functions are called in a bracket.
 */
#pragma once

#include "vfs_int.h"

/* As meta_get(). A fresh inode has no handle, and is as good as confirmed by
 * the server just now; a fresh directory is complete. */
int view_get(struct vfs *v, uint64_t ino, struct meta_inode *ret);

/* Do both sources know @name? 1: *@ret_ino; -ENOENT: it is absent; 0: what the
 * cache says of it counts. */
int view_name(struct vfs *v, uint64_t dir, const char *name,
	      uint64_t *ret_ino);

/* Is something of @ino to be sent? */
bool view_is_pending(struct vfs *v, uint64_t ino);

/* The overlay let go of them: what only it knew goes into the cache. */
void view_settled(struct vfs *v, const struct wback_settled *s);

/* The server's @fh is @ino. A listing may have met it before we were told, and
 * taken it for another one, which is then forgotten. */
void view_claim(struct vfs *v, uint64_t ino, const struct handle *fh);

/* @i as the log refers to it. */
struct wback_ref view_ref(const struct meta_inode *i);

/* After opening: the cache may have been deleted, or be older than the log. */
void view_restore(struct vfs *v);

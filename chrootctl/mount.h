/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mount.h: making filesystems, directories and files appear inside a root.
 *
 * @target is a path in the root, without its leading "/". It is turned into a
 * descriptor first, by a lookup that cannot leave the root, and only then
 * mounted on, by that descriptor: what the root does to its names meanwhile
 * is of no consequence. All return 0 or -errno. The caller's mount namespace
 * must be private.
 */
#pragma once

#include <sys/types.h>

#include "base.h"

/* A new filesystem; @options is "a=b,c" or NULL, @attributes MOUNT_ATTR_*. The
 * target must be a directory and no part of it a symbolic link. */
int mount_new(int root_fd, const char *type, const char *target,
	      const char *options, uint64_t attributes);

/* What lies at @source of this machine, with all mounts in it. In the target,
 * symbolic links are followed as they would be inside. */
int mount_bind(int root_fd, const char *source, const char *target,
	       bool read_only);

/* A copy of the file @source over the file @target. When the target is a
 * symbolic link to what does not exist below "run", it is made there; the
 * copy is kept in @keep. Nothing is ever written outside "run", which must be
 * a filesystem of ours. -ENOENT: no such place; -ENODATA: no @source. */
int mount_copy(int root_fd, const char *source, const char *target,
	       const char *keep);

/* The rest is for filesystems of ours: no symbolic link is followed, and what
 * exists already is an error. */

int mount_directory(int root_fd, const char *target, mode_t mode);
int mount_link(int root_fd, const char *text, const char *target);
int mount_file(int root_fd, const char *target, const char *contents,
	       mode_t mode);

/* The character device @source of this machine. Read-only speaks of the node,
 * its owner and mode, not of the device. */
int mount_node(int root_fd, const char *source, const char *target,
	       bool read_only);

/* What -errno means when it comes from mounting; strerror(3)'s texts speak of
 * disks that are full and devices that are absent. */
const char *mount_strerror(int err);

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* inroot.h: paths inside a root that is not to be trusted: a symlink, absolute
 * or not, and ".." never lead out of it (openat2(2), RESOLVE_IN_ROOT).
 */
#pragma once

#include <sys/types.h>

#include "../cache/base.h"

/* An O_CLOEXEC descriptor of @path below @root_fd, or -errno. */
int inroot_open(int root_fd, const char *path, int flags);

/* The contents of a regular file of at most @bytes_max, NUL-terminated,
 * malloc'ed. -EINVAL when it is another kind of file, -EFBIG when larger. */
int inroot_read_file(int root_fd, const char *path, size_t bytes_max,
		     char **ret);

struct inroot_dir {
	mode_t mode;
	uid_t uid;
	gid_t gid;
};

/* The directory @path, as a descriptor; what is missing is made: the last
 * component as @d says, those above it 0755 and root's. -ENOTDIR when something
 * else is there, -ELOOP when a symlink that leads nowhere is. */
int inroot_make_dir(int root_fd, const char *path, const struct inroot_dir *d);

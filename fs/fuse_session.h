/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuse_session.h: the mount in the kernel and the threads that serve it. */
#pragma once

#include "vfs.h"

struct fuse_front; /* opaque */

/* Opens /dev/fuse and mounts on config->mountpoint; the kernel's INIT has been
 * answered when it returns. @record may be NULL. On failure *@ret_why (malloc'ed) is a sentence for
 * the user. */
int fuse_front_open(const struct config *config, struct vfs *v,
		    struct stats *stats, struct record *record,
		    struct fuse_front **ret, char **ret_why);

/* Serve until unmounted or until fuse_front_stop(). Returns 0 or -errno. */
int fuse_front_run(struct fuse_front *f);

/* From any thread or a signal handler: end fuse_front_run(). */
void fuse_front_stop(struct fuse_front *f);

/* Unmounts (lazily) if still mounted, and frees. */
void fuse_front_close(struct fuse_front *f);

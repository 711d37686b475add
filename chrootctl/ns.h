/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ns.h: the namespaces that make up a session, and the change of root. */
#pragma once

#include <sys/types.h>

#include "base.h"

struct ns_session {
	pid_t pid;   /* the session's init, as its parent sees it */
	int life_fd; /* -1: none; see ns_spawn() */
};

/* Starts @init(arg) as process 1 of new PID and mount namespaces, with
 * the directory @dir_fd as its working directory in the new mount namespace.
 * What it returns is its exit status. When it ends, the kernel kills every
 * process of the session; when the caller dies, in whatever way, init is
 * killed. @ret->life_fd shows init that the caller lives: the caller keeps it
 * open while it does. The caller must have one thread. -errno. */
int ns_spawn(int dir_fd, int (*init)(void *arg), void *arg,
	     struct ns_session *ret);

/* The following are for init. */

/* From now on no mount goes from here to other namespaces, or comes from
 * them. */
int ns_make_private(void);

/* Clones the tree of mounts at the working directory and returns an O_PATH
 * descriptor of the clone's root, to be closed; or -errno. */
int ns_take_tree(void);

/* Makes @root_fd, from ns_take_tree(), the root and working directory, and
 * drops all other mounts of the namespace. */
int ns_pivot(int root_fd);

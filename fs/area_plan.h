/* SPDX-License-Identifier: GPL-2.0-or-later */
/* area_plan.h: which tmp areas a mounted root gets, and who owns what of them.
 */
#pragma once

#include "config.h"
#include "inroot.h"

/* Adds the default areas to @c unless the user named some, or none, and puts
 * them in the order in which they are to be mounted. */
int area_plan(struct config *c, int root_fd);

/* Owner and mode of the directory at @path, should it have to be made. */
void area_plan_dir(const char *path, int root_fd, struct inroot_dir *ret);

/* The value that the shell-like @text last gives to variable @name, malloc'ed.
 * -ENOENT: none; -EINVAL: one that only a shell could work out. */
int area_plan_shell_value(const char *text, const char *name, char **ret);

/* The ids of @user in the passwd(5) file @text. -ENOENT: none. */
int area_plan_user(const char *text, const char *user, uid_t *ret_uid,
		   gid_t *ret_gid);

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* area.h: the tmp areas of a mount: local directories bound over places of the
 * root, so that what is built there never goes through FUSE.
 *
 * For use by one thread. Reading a struct areas that is complete is safe from
 * any.
 */
#pragma once

#include "cachedir.h"

struct area {
	char *path;  /* below the root, as configured */
	char *where; /* what it is mounted on, as mountinfo shows it */
	char *dir;   /* the local directory; NULL: a tmpfs */
	int mount_id;
};

struct areas {
	struct area list[LIMIT_TMP_AREAS];
	unsigned n;
};

/* Told, before anything is mounted on it, the path below the root of a
 * directory of the server's. 0 or -errno. */
typedef int area_pin_fn(void *arg, const char *path);

/* Plans and mounts all areas of @c (which then has them) below c->mountpoint.
 * Mounts and makes directories through the mount: somebody must be serving it.
 * Messages say what is left out and why. A default area that cannot be had is
 * left out; one that the user named is an error, as is -errno of anything
 * else; what was mounted by then is in @ret, which starts empty. */
int areas_mount(struct config *c, const struct cachedir *cache,
		area_pin_fn *pin, void *arg, struct areas *ret);

/* Unmount what is still there, in reverse order, whether busy or not, and
 * empty the set. */
void areas_umount(struct areas *a);

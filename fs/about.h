/* SPDX-License-Identifier: GPL-2.0-or-later */
/* about.h: private to cachedir.c: the file that says whose a cache directory is.
 * Text: a line with the format's version, then "server " and "mountpoint ", a
 * line each.
 */
#pragma once

#include "../cache/base.h"

enum { ABOUT_VERSION = 1 };

struct about {
	unsigned version;
	char *server, *mountpoint; /* where it was last mounted */
};

/* "about" in @dir_fd. -ENOENT: none. -EBADMSG: not understood. */
int about_read(int dir_fd, struct about *ret);
void about_done(struct about *a);
int about_write(int dir_fd, const char *server, const char *mountpoint);

/* File @name in @dir_fd has @text now. Replaced as a whole and synced: half of
 * it would be taken for damage. */
int about_replace(int dir_fd, const char *name, const char *text);

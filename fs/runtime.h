/* SPDX-License-Identifier: GPL-2.0-or-later */
/* runtime.h: what a running mount leaves under /run/nfsrootfs (root's alone):
 *
 *   NAME.sock    its control socket (control.h)
 *   NAME.areas   the mounts of its tmp areas, one path a line, so that they can
 *                be told from foreign mounts even when the daemon died
 *
 * NAME is the mount point, escaped (escape.h). Both are removed by the daemon
 * as the last thing it does.
 */
#pragma once

#include "area.h"

#define RUNTIME_DIR "/run/nfsrootfs"
enum { RUNTIME_PATH_BYTES = 108 }; /* a socket's address has no more */

void runtime_path(const char *mountpoint, const char *suffix,
		  char ret[RUNTIME_PATH_BYTES]);
int runtime_make_dir(void);
int runtime_write_areas(const char *mountpoint, const struct areas *areas);

/* The paths, malloc'ed, in a malloc'ed array that ends with NULL; empty when
 * there is no such file. */
int runtime_read_areas(const char *mountpoint, char ***ret);
void runtime_free_areas(char **paths);

void runtime_remove(const char *mountpoint);

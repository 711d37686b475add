/* SPDX-License-Identifier: GPL-2.0-or-later */
/* attach.h: a root that is mounted for one session only. */
#pragma once

#include <limits.h>

#include "base.h"

/* "HOST:/PATH", as opposed to a directory. A directory of such a name can be
 * given as "./HOST:/PATH". */
bool attach_is_server(const char *text);

/* Mounts @server with `nfsrootfs mount`, and its -o @options unless NULL, on
 * a new directory, whose path goes to @ret_dir. Returns 0, or an exit status;
 * then nothing is left behind and the user has been told. */
int attach(const char *server, const char *options, char ret_dir[PATH_MAX]);

/* Unmounts @dir with `nfsrootfs umount` and removes it. Returns 0 or an exit
 * status; then the user has been told what is left. */
int attach_undo(const char *server, const char *dir);

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* attach.h: what chrootctl asks of nfsrootfs: a root that is mounted for one
 * session only, and that the server has everything when a session has ended.
 */
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

/* Waits with `nfsrootfs sync` until the server has all that was changed in the
 * mount that @path is in. When that fails the user has been told. */
void attach_sync(const char *path);

/* Unmounts @dir with `nfsrootfs umount`, which waits for the server unless @now,
 * and removes it. Returns 0 or an exit status; then the user has been told what
 * is left. */
int attach_undo(const char *server, const char *dir, bool now);

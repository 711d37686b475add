/* SPDX-License-Identifier: GPL-2.0-or-later */
/* probe.h: what a server and its export are good for, found out before a mount
 * depends on it.
 */
#pragma once

#include "exitcode.h"
#include "remote.h"

/* `nfsrootfs probe`: look at the export and write a report to @out, for people
 * or as JSON. Returns the process's exit status: EXITCODE_OK when a mount would
 * work well, else that of the first problem (EXITCODE_FAILED for one that has
 * no number of its own, such as a clock that is off). What is wrong, and what
 * to do about it, is in the report.
 *
 * Nothing on the server changes but times of the root directory. Blocking, for
 * some seconds at most a step. */
int probe_run(const struct remote_nfs_options *o, bool json, FILE *out);

/* Is root here root there? @root is the handle of @path, the exported
 * directory.
 *   0        yes, and the export may be written to
 *   -EPERM   no: the server maps root to nobody (root_squash)
 *   -EROFS   the export is read-only
 * or the error of a call. *@ret_why (malloc'ed, may be NULL) is a sentence for
 * the user. Only where nothing else tells, the directory's mode is set to what
 * it is, which changes its ctime. */
int remote_root_check(struct remote *r, const struct handle *root,
		      const char *path, char **ret_why);

/* The exit status for an error of remote_nfs_open(). */
enum exitcode server_exitcode(int err);

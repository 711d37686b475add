/* SPDX-License-Identifier: GPL-2.0-or-later */
/* trouble.h: the daemon's side of the conflicts command: changes that the
 * server refuses for good, and copies of the server's versions that lie beside
 * ours. The first TROUBLES_MAX are listed.
 */
#pragma once

#include "status.h"

enum { TROUBLES_MAX = 1000 };

/* Answers "list", a newline, and by @format:
 *   text  for people
 *   json  for programs; its keys are an interface (nfsrootfs.8)
 *   list  for our own command: one a line, fields ended by tabs:
 *         ID, "stuck" or "copy", PATH, COPY; the last two escaped
 *         (escape_text()), and empty when not known
 * -EINVAL: another one. */
int trouble_list(const struct status_source *s, const char *format, FILE *out);

/* The daemon's part, answered by "ok", or "ok gone" when there is no such trouble
 * any more: @keep "ours": try what is stuck again; "theirs": give it
 * up. "both": a copy, in whatever way it was dealt with, is no longer listed.
 * What is to be done to files is the command's business, because it may wait.
 * -EINVAL: another word. */
int trouble_resolve(const struct status_source *s, uint64_t id,
		    const char *keep, FILE *out);

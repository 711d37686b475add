/* SPDX-License-Identifier: GPL-2.0-or-later */
/* contents.h: the daemon's side of the cache command: the content cache of a
 * mount is checked, which takes its time, or emptied.
 */
#pragma once

#include "../cache/blob.h"

struct contents; /* opaque; owns the thread of a check that runs */

/* @blob, which may be NULL, must outlive it. */
int contents_open(struct blob *blob, struct contents **ret);
/* Ends a check that runs. NULL is fine. */
void contents_close(struct contents *c);

/* Answers, at once, what begins with "contents ": one line each.
 *   check   a check begins, unless one runs: "ok"
 *   state   "checking 0|1 chunks N bytes N damaged N of N error E": of the check
 *           that runs or was the last: sound chunks and their bytes, chunks
 *           dropped, bytes there are in all, an errno
 *   clear   everything is removed: "ok"
 * or "error" and why not. -EINVAL: another request. From one thread. */
int contents_answer(struct contents *c, const char *request, FILE *out);

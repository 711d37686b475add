/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lease.h: one client writes at a time. A file on the server, HOLD_NAME/lease
 * at the root of the export, names the one that does; a second one is told by
 * it.
 *
 * It is a word among well-behaved clients, no lock: the server does not look at
 * it, and whoever insists (steal) takes it. So the holder has to look, with
 * lease_check(), whether it still is the holder before it changes much.
 */
#pragma once

#include "remote.h"

struct lease; /* opaque */

/* Become the writer of the export whose root is @root. @id: 32 hex digits, the
 * cache directory's (cachedir_id()). A lease with the same @id is what we left
 * when we crashed, and becomes ours. @steal: so does anybody's.
 *
 * -EBUSY: somebody else writes. *@ret_why (malloc'ed, may be NULL) then says
 * who, where, since when, and what to do; it is fit for a terminal. Otherwise
 * the error of a call, and nothing is left on the server. Blocking. @r has to
 * be a retry layer. */
int lease_take(struct remote *r, const struct handle *root, const char *id,
	       const char *mountpoint, bool steal, struct lease **ret,
	       char **ret_why);

/* 0: it is still ours. -ESTALE: it is not, and never will be again: it was
 * stolen, or removed, and others may have written since. Another error: that
 * cannot be known now. Blocking; one call when nothing has changed. */
int lease_check(struct lease *l);

/* Give it back: remove it from the server if it is still ours, and free @l. At
 * most for some seconds; where the server is away, the lease stays there. NULL
 * is fine. */
void lease_drop(struct lease *l);

/* Free @l, and stay the holder, until lease_take() with the same id. */
void lease_free(struct lease *l);

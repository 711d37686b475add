/* SPDX-License-Identifier: GPL-2.0-or-later */
/* drain.h: what the control socket of a mount answers about changes that are
 * not on the server yet. Nothing here waits: who wants to see the end of it
 * asks again (drain_client.h).
 *
 *   flush          send all that is pending now:         "goal N"
 *   progress N     how far that is, see struct flush_progress:
 *                  "reached 0|1 away 0|1 changes N bytes N stuck N copies N
 *                  error ERRNO", on one line
 *   keep           when the mount is closed now, do not wait for the server;
 *                  `flush` takes it back:                "ok DIR", the cache's
 *   conflicts text|json|list       "list", a newline, and what is
 *                  stuck or lies beside (trouble.h)
 *   resolve ID ours|theirs|both    "ok", "ok gone"
 *
 * What failed is answered with "error TEXT".
 */
#pragma once

#include "status.h"

/* Part of status_answer(). */
int drain_answer(const struct status_source *s, const char *request, FILE *out);

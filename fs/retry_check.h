/* SPDX-License-Identifier: GPL-2.0-or-later */
/* retry_check.h: was it this call? Private to retry.c: pure questions about a
 * call @c that was repeated after a lost reply, and the LOOKUP @found of the
 * name that it was to make.
 */
#pragma once

#include "remote.h"

/* What the server says to a call whose work is already done (-errno); 0: the
 * call can be repeated without harm. */
int retry_already_done(enum remote_op op);

/* Not for SYMLINK, whose proof is its target. @found has attr and fh_out.
 * @unit_ns: how coarse the server's times may be, from FSINFO. */
bool retry_is_ours(const struct remote_call *c, const struct remote_call *found,
		   uint64_t unit_ns);

/* Make the error reply in @c what the reply that was lost had said, as far as
 * @found knows; the status is left to the caller. */
void retry_adopt(struct remote_call *c, const struct remote_call *found);

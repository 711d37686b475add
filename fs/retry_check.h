/* SPDX-License-Identifier: GPL-2.0-or-later */
/* retry_check.h: was it this call? Private to retry.c: about a call @c that was
 * repeated after a lost reply and was then told that its work is already done.
 */
#pragma once

#include "remote.h"

/* What the server says to a call whose work is already done (-errno); 0: the
 * call can be repeated without harm. */
int retry_already_done(enum remote_op op);

/* Did @c do it itself? Asks @r, and does not block. @verdict is told once, maybe
 * before this returns: 0 when it did (@c then holds what the lost reply had
 * said, as far as can be known), the error that stands when it did not, an
 * error for which retry_is_no_answer() holds, or -EINPROGRESS: the server may be
 * at it still, so repeat @c in a moment; if it says so again and again, that
 * error stands. */
enum { RETRY_LOOKS_MAX = 5 };
typedef void retry_verdict_fn(void *arg, int status);
void retry_find_out(struct remote *r, struct remote_call *c, uint64_t unit_ns,
		    retry_verdict_fn *verdict, void *arg);

/* After @status nobody can know what the server did. */
bool retry_is_no_answer(int status);

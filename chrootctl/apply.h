/* SPDX-License-Identifier: GPL-2.0-or-later */
/* apply.h: carrying a plan out. */
#pragma once

#include "plan.h"

/* Walks @plan once, in the session's init, whose working directory is the
 * root. A step that fails is named on standard error and ends the walk. The
 * last step is the command. Returns the exit status of the session. */
int apply_plan(const struct plan *plan);

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* holders.h: who keeps a mount busy. */
#pragma once

#include "mountinfo.h"

/* Looks through /proc, without touching the mount, for processes that have
 * something below @mount open or current, run from it, map it, or have it in a
 * mount namespace of their own that an umount here does not reach. Describes
 * the first of them, one a line, in @out. Returns how many there are, or
 * -errno. @except: a process not to count (the daemon; 0: none). */
int holders_find(const struct mountinfo_entry *mount, pid_t except, FILE *out);

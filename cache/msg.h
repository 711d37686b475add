/* SPDX-License-Identifier: GPL-2.0-or-later */
/* msg.h: what the programs say, and where.
 *
 * A message is one line: "nfsrootfs: what failed, on which object, why; what
 * to do". While a program runs in the foreground it goes to standard error;
 * once it is a daemon, to syslog. Debug messages belong to an area (a module's
 * name) and are off unless the area was named with -D.
 *
 * All functions may be called from any thread and keep errno.
 */
#pragma once

#include "base.h"

enum msg_level { MSG_ERROR, MSG_WARNING, MSG_INFO, MSG_DEBUG };

/* The program's name, put before every message. Not copied. */
void msg_set_program(const char *name);

/* From now on to syslog(3), not to standard error. */
void msg_to_syslog(void);

/* Turn the debug messages of @area on ("all" for every area). -EINVAL when
 * the name is longer than an area can be. */
int msg_debug_enable(const char *area);
bool msg_debug_enabled(const char *area);

void msg(enum msg_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);
void msg_debug_out(const char *area, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define msg_error(...) msg(MSG_ERROR, __VA_ARGS__)
#define msg_warning(...) msg(MSG_WARNING, __VA_ARGS__)
#define msg_info(...) msg(MSG_INFO, __VA_ARGS__)
#define msg_debug(area, ...)                          \
	do {                                          \
		if (msg_debug_enabled(area))          \
			msg_debug_out(area, __VA_ARGS__); \
	} while (0)

/* The text of an errno value given as -errno or errno. Thread-safe; the
 * result is valid until the thread's next call. */
const char *msg_strerror(int err);

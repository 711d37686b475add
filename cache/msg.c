/* SPDX-License-Identifier: GPL-2.0-or-later */
/* msg.c: owns the program's name, the target (stderr or syslog) and the set of
 * debug areas. The set is written while options are parsed, before any thread
 * starts, and only read afterwards; hence no lock.
 */
#include "msg.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <syslog.h>

enum { AREAS_MAX = 16, AREA_NAME_MAX = 15, LINE_BYTES_MAX = 2048 };

static const char *program = "nfsrootfs";
static atomic_bool use_syslog;
static char areas[AREAS_MAX][AREA_NAME_MAX + 1];
static unsigned areas_n;
static bool areas_all;

void msg_set_program(const char *name)
{
	program = name;
}

void msg_to_syslog(void)
{
	openlog(program, LOG_PID, LOG_DAEMON);
	atomic_store(&use_syslog, true);
}

int msg_debug_enable(const char *area)
{
	if (strcmp(area, "all") == 0) {
		areas_all = true;
		return 0;
	}
	if (areas_n == AREAS_MAX || strlen(area) > AREA_NAME_MAX || !*area)
		return -EINVAL;
	strcpy(areas[areas_n++], area);
	return 0;
}

bool msg_debug_enabled(const char *area)
{
	if (areas_all)
		return true;
	for (unsigned i = 0; i < areas_n; i++)
		if (strcmp(areas[i], area) == 0)
			return true;
	return false;
}

static void out(enum msg_level level, const char *prefix, const char *fmt,
		va_list ap)
{
	static const int priority[] = { LOG_ERR, LOG_WARNING, LOG_INFO,
					LOG_DEBUG };
	char line[LINE_BYTES_MAX];
	int saved = errno;

	(void)vsnprintf(line, sizeof(line), fmt, ap);
	if (atomic_load(&use_syslog))
		syslog(priority[level], "%s%s", prefix, line);
	else
		/* One call, so that lines of several threads stay whole. */
		(void)fprintf(stderr, "%s: %s%s\n", program, prefix, line);
	errno = saved;
}

void msg(enum msg_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	out(level, level == MSG_WARNING ? "warning: " : "", fmt, ap);
	va_end(ap);
}

void msg_debug_out(const char *area, const char *fmt, ...)
{
	char prefix[AREA_NAME_MAX + 8];
	va_list ap;

	(void)snprintf(prefix, sizeof(prefix), "[%s] ", area);
	va_start(ap, fmt);
	out(MSG_DEBUG, prefix, fmt, ap);
	va_end(ap);
}

const char *msg_strerror(int err)
{
	static _Thread_local char buf[128];

	return strerror_r(err < 0 ? -err : err, buf, sizeof(buf));
}

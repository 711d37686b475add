/* SPDX-License-Identifier: GPL-2.0-or-later */
/* daemon.h: the process behind a mount. */
#pragma once

#include "cachedir.h"

/* Mounts config->source on config->mountpoint and serves it until it is
 * unmounted or a signal asks for the end; then leaves nothing behind.
 *
 * Failures before the mount is usable go to standard error, and their exit code
 * is returned. Once it is usable: with @report_fd >= 0 a zero byte is written
 * there, the descriptor and the standard streams are closed and messages go to
 * syslog; with -1 the process stays in the foreground.
 *
 * To be called once, before any thread exists, in a process of its own. */
enum exitcode daemon_run(struct config *config, const struct cachedir *cache,
			 int report_fd);

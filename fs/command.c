/* SPDX-License-Identifier: GPL-2.0-or-later */
/* command.c: what the subcommands share. */
#include "command.h"

#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <sys/signalfd.h>

#include "../cache/msg.h"
#include "mountinfo.h"

enum exitcode command_usage(const char *fmt, ...)
{
	CLEANUP_FREE char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	msg_error("%s; see nfsrootfs help", text ? text : fmt);
	return EXITCODE_USAGE;
}

enum exitcode command_options(struct config *c, const char *text)
{
	CLEANUP_FREE char *why = NULL;
	int r = config_set_options(c, text, &why);

	if (r == 0)
		return EXITCODE_OK;
	(void)command_usage("%s", why ? why : msg_strerror(r));
	return r == -ENOENT ? EXITCODE_UNKNOWN_OPTION : EXITCODE_USAGE;
}

enum exitcode command_source(struct config *c, const char *source)
{
	CLEANUP_FREE char *why = NULL;
	int r = config_set_source(c, source, &why);

	return r < 0 ? command_usage("%s", why ? why : msg_strerror(r)) :
		       EXITCODE_OK;
}

enum exitcode command_export(struct config *c, const char *arg)
{
	int r;

	if (strstr(arg, ":/"))
		return command_source(c, arg);
	r = command_mountpoint(arg, &c->mountpoint);
	if (r == 0)
		return EXITCODE_OK;
	msg_error("%s: %s", arg, msg_strerror(r));
	return EXITCODE_NO_MOUNTPOINT;
}

enum exitcode command_need_root(const char *what)
{
	if (geteuid() == 0)
		return EXITCODE_OK;
	msg_error("%s: only root may do this; try sudo nfsrootfs %s ...", what,
		  what);
	return EXITCODE_NOT_ROOT;
}

/* realpath(3) looks at the last component, too, but as a symlink only: the root
 * of a mount is never asked. Where that fails (a mount point that has been
 * removed since) its directory is enough. */
int command_mountpoint(const char *path, char **ret)
{
	CLEANUP_FREE char *up = NULL, *name = NULL, *real_up = NULL;
	char *real = realpath(path, NULL);
	int err = errno;

	if (real) {
		*ret = real;
		return 0;
	}
	up = strdup(path);
	name = strdup(path);
	if (!up || !name)
		return -ENOMEM;
	real_up = realpath(dirname(up), NULL);
	if (!real_up)
		return -err;
	if (asprintf(&real, "%s/%s", strcmp(real_up, "/") == 0 ? "" : real_up,
		     basename(name)) < 0)
		return -ENOMEM;
	*ret = real;
	return 0;
}

enum exitcode command_mounts(struct mountinfo *ret)
{
	int r = mountinfo_read("/proc/self/mountinfo", ret);

	if (r == 0)
		return EXITCODE_OK;
	msg_error("/proc/self/mountinfo: %s", msg_strerror(r));
	return EXITCODE_SYSTEM;
}

/* The longest that is ours: a path in a tmp area stands for its mount. */
static const struct mountinfo_entry *find_around(const struct mountinfo *m,
						 const char *path)
{
	const struct mountinfo_entry *found = NULL;

	for (size_t i = 0; i < m->n; i++) {
		const struct mountinfo_entry *e = &m->entries[i];

		if (mountinfo_is_ours(e) && path_is_beneath(path, e->where) &&
		    (!found || strlen(e->where) >= strlen(found->where)))
			found = e;
	}
	return found;
}

const struct mountinfo_entry *command_find_mount(const struct mountinfo *m,
						 const char *path, bool within)
{
	const struct mountinfo_entry *e = NULL;
	CLEANUP_FREE char *where = NULL;
	int r = command_mountpoint(path, &where);

	if (r == 0)
		e = within ? find_around(m, where) : mountinfo_at(m, where);
	if (e && mountinfo_is_ours(e))
		return e;
	msg_error("%s is not mounted by nfsrootfs%s%s", path,
		  r < 0 ? ": " : "", r < 0 ? msg_strerror(r) : "");
	return NULL;
}

/* ---- signals ---- */

/* Those that the caller ignores (nohup, a background job) stay ignored. */
int command_take_signals(sigset_t *ret_old)
{
	static const int ending[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction was;
	sigset_t set;
	int fd;

	(void)sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_LEN(ending); i++)
		if (sigaction(ending[i], NULL, &was) == 0 &&
		    was.sa_handler != SIG_IGN)
			(void)sigaddset(&set, ending[i]);
	(void)sigprocmask(SIG_BLOCK, &set, ret_old);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0) {
		fd = -errno;
		(void)sigprocmask(SIG_SETMASK, ret_old, NULL);
	}
	return fd;
}

/* What was taken shall not end us when it is unblocked. */
void command_give_signals_back(int fd, const sigset_t *old)
{
	struct signalfd_siginfo info;

	while (read(fd, &info, sizeof(info)) > 0)
		;
	(void)close(fd);
	(void)sigprocmask(SIG_SETMASK, old, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mount.c: the mount command. What can be checked on this machine is checked in
 * the caller's own process, first what costs nothing; then it forks, and waits
 * until the child (daemon.c) reports a usable mount: one zero byte through a
 * pipe. A child that ends without it has said why on the same terminal, and its
 * exit status becomes ours. A signal to the waiting command is passed on and
 * the child's end waited for, so that an interrupted mount leaves nothing.
 */
#include "mount.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "../cache/msg.h"
#include "cachedir.h"
#include "command.h"
#include "daemon.h"
#include "mountinfo.h"

enum { FUSE_MAJOR = 10, FUSE_MINOR = 229 };

/* ---- checks ---- */

static enum exitcode check_not_mounted(const char *where)
{
	struct mountinfo m;
	const struct mountinfo_entry *e;
	enum exitcode x = EXITCODE_OK;
	int r = mountinfo_read("/proc/self/mountinfo", &m);

	if (r < 0) {
		msg_error("/proc/self/mountinfo: %s", msg_strerror(r));
		return EXITCODE_SYSTEM;
	}
	e = mountinfo_at(&m, where);
	if (e && mountinfo_is_ours(e)) {
		msg_error("%s is already mounted (%s); nfsrootfs umount %s "
			  "ends that",
			  where, e->source, where);
		x = EXITCODE_ALREADY_MOUNTED;
	}
	mountinfo_done(&m);
	return x;
}

static enum exitcode check_mountpoint(struct config *c, const char *dir)
{
	enum exitcode x;
	struct stat st;
	int r = command_mountpoint(dir, &c->mountpoint);

	if (r == 0) {
		x = check_not_mounted(c->mountpoint);
		if (x != EXITCODE_OK)
			return x;
		r = stat(c->mountpoint, &st) < 0 ? -errno : 0;
	}
	if (r == -ENOENT) {
		msg_error("mount point %s does not exist; make it with mkdir "
			  "-p %s",
			  dir, dir);
		return EXITCODE_NO_MOUNTPOINT;
	}
	if (r == -ENOTDIR || (r == 0 && !S_ISDIR(st.st_mode))) {
		msg_error("mount point %s is not a directory", dir);
		return EXITCODE_MOUNTPOINT_NOT_DIR;
	}
	if (r < 0) {
		msg_error("mount point %s: %s", dir, msg_strerror(r));
		return EXITCODE_FAILED;
	}
	if (strcmp(c->mountpoint, "/") == 0) {
		msg_error("mount point / is this machine's own root; mount "
			  "elsewhere and enter it with chrootctl");
		return EXITCODE_USAGE;
	}
	return EXITCODE_OK;
}

static enum exitcode check_fuse(void)
{
	CLEANUP_CLOSE int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	struct stat st;

	if (fd < 0 && (errno == ENOENT || errno == ENODEV || errno == ENXIO)) {
		msg_error("there is no /dev/fuse: the kernel module is not "
			  "loaded (modprobe fuse), or this container was not "
			  "given the device");
		return EXITCODE_NO_FUSE;
	}
	if (fd < 0) {
		msg_error("/dev/fuse cannot be opened: %s",
			  msg_strerror(errno));
		return EXITCODE_NO_FUSE;
	}
	if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode) ||
	    st.st_rdev != makedev(FUSE_MAJOR, FUSE_MINOR)) {
		msg_error("/dev/fuse is not the FUSE device (character device "
			  "%d, %d)",
			  FUSE_MAJOR, FUSE_MINOR);
		return EXITCODE_NO_FUSE;
	}
	return EXITCODE_OK;
}

/* ---- waiting for the daemon ---- */

/* What the child's end means for us. */
static enum exitcode reap(pid_t child, bool interrupted)
{
	int status;

	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return EXITCODE_SYSTEM;
	if (interrupted) {
		msg_error("interrupted; nothing is mounted");
		return EXITCODE_INTERRUPTED;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
		return (enum exitcode)WEXITSTATUS(status);
	if (WIFSIGNALED(status))
		msg_error("the daemon was ended by signal %d (%s)",
			  WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		msg_error("the daemon ended before the mount was usable");
	return EXITCODE_SYSTEM;
}

static enum exitcode wait_for(pid_t child, int report_fd, int signal_fd)
{
	struct pollfd p[] = { { .fd = report_fd, .events = POLLIN },
			      { .fd = signal_fd, .events = POLLIN } };
	struct signalfd_siginfo info;
	bool interrupted = false;
	char zero;

	while (poll(p, ARRAY_LEN(p), -1) < 0 || !p[0].revents) {
		if (!(p[1].revents & POLLIN))
			continue;
		if (read(signal_fd, &info, sizeof(info)) < 0)
			continue;
		interrupted = true;
		(void)kill(child, SIGTERM);
	}
	if (read(report_fd, &zero, 1) == 1 && !interrupted)
		return EXITCODE_OK;
	return reap(child, interrupted);
}

static void ending_signals(sigset_t *ret)
{
	(void)sigemptyset(ret);
	(void)sigaddset(ret, SIGINT);
	(void)sigaddset(ret, SIGTERM);
	(void)sigaddset(ret, SIGHUP);
}

static enum exitcode run_child(struct config *c, struct cachedir *cache,
			       int report_fd, const sigset_t *old)
{
	/* Out of the terminal's reach: Ctrl-C goes to the waiting command. */
	(void)setsid();
	(void)sigprocmask(SIG_SETMASK, old, NULL);
	return daemon_run(c, cache, report_fd);
}

static enum exitcode start_daemon(struct config *c, struct cachedir *cache,
				  bool *ret_is_child)
{
	CLEANUP_CLOSE int report_fd = -1, signal_fd = -1;
	sigset_t set, old;
	pid_t child;
	int fds[2];

	ending_signals(&set);
	if (pipe2(fds, O_CLOEXEC) < 0) {
		msg_error("pipe: %s", msg_strerror(errno));
		return EXITCODE_SYSTEM;
	}
	report_fd = fds[0];
	(void)sigprocmask(SIG_BLOCK, &set, &old);
	signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	child = signal_fd < 0 ? -1 : fork();
	if (child < 0) {
		msg_error("cannot start the daemon: %s", msg_strerror(errno));
		(void)close(fds[1]);
		return EXITCODE_SYSTEM;
	}
	if (child == 0) {
		*ret_is_child = true;
		cleanup_closep(&report_fd);
		cleanup_closep(&signal_fd);
		report_fd = signal_fd = -1;
		return run_child(c, cache, fds[1], &old);
	}
	(void)close(fds[1]);
	return wait_for(child, report_fd, signal_fd);
}

/* ---- public ---- */

enum exitcode mount_run(struct config *c, const char *dir,
			const struct mount_flags *flags)
{
	struct cachedir cache = CACHEDIR_INIT;
	CLEANUP_FREE char *why = NULL;
	bool is_child = false;
	enum exitcode x;
	int r;

	/* What the caller had open is none of the daemon's business, and would
	 * be kept open for as long as the mount lasts. */
	(void)close_range(3, ~0U, 0);
	x = command_need_root("mount");
	if (x == EXITCODE_OK)
		x = check_mountpoint(c, dir);
	if (x == EXITCODE_OK)
		x = check_fuse();
	if (x != EXITCODE_OK)
		return x;
	r = cachedir_open(c, &cache, &why);
	if (r < 0) {
		msg_error("%s", why ? why : msg_strerror(r));
		return cachedir_exitcode(r);
	}
	if (!flags->fake)
		x = c->foreground ? daemon_run(c, &cache, -1) :
				    start_daemon(c, &cache, &is_child);
	if (x != EXITCODE_OK && !is_child)
		cachedir_undo(&cache);
	if (x == EXITCODE_OK && flags->verbose && !is_child && !c->foreground)
		(void)printf("%s mounted on %s\n", c->source, c->mountpoint);
	cachedir_close(&cache);
	return x;
}

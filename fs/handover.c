/* SPDX-License-Identifier: GPL-2.0-or-later */
/* handover.c: owns the process that calls syncfs(2) on a mount, and the kernel's
 * count of the mount's requests.
 *
 * syncfs(2) alone is no barrier: the kernel starts to write back and, for FUSE,
 * waits neither for the daemon to have taken the WRITE requests nor for its
 * answers (kernels before 6.16 copy the pages and call that written; later ones
 * leave such filesystems out on purpose); and no request tells the daemon that
 * there was a sync. But the requests have been queued when it returns, and
 * fusectl counts them: once that number was 0, all of them are answered.
 *
 * syncfs(2) may wait for the daemon, where no signal ends it. Hence a process of
 * its own, which can be left behind.
 */
#include "handover.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "../cache/msg.h"
#include "../cache/sync.h"

/* With others at work in the mount there may be no moment without a request.
 * When for so long it did not become quieter than it was, what is under way is
 * theirs. */
enum { STALL_MS = 3000, END_MS = 1000 };

/* fusectl need not be mounted anywhere, and is not in most containers. */
static int open_waiting(unsigned connection)
{
	CLEANUP_CLOSE int fs = fsopen("fusectl", FSOPEN_CLOEXEC);
	CLEANUP_CLOSE int mnt = -1;
	char path[32];
	int fd;

	if (fs < 0 || fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	mnt = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	if (mnt < 0)
		return -errno;
	(void)snprintf(path, sizeof(path), "%u/waiting", connection);
	fd = openat(mnt, path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static void __attribute__((noreturn)) child_main(const char *where)
{
	sigset_t none;
	int fd;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	fd = open(where, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_exit(fd < 0 || syncfs(fd) < 0 ? 1 : 0);
}

int handover_start(struct handover *h, const struct mountinfo_entry *mount)
{
	pid_t child = fork();

	if (child < 0)
		return -errno;
	if (child == 0)
		child_main(mount->where);
	h->child = child;
	h->least = (unsigned long)-1;
	h->waiting_fd = open_waiting(mount->minor);
	if (h->waiting_fd < 0) {
		msg_debug("drain", "fusectl: %s", msg_strerror(h->waiting_fd));
		h->waiting_fd = -1;
	}
	return 0;
}

static bool child_ended(struct handover *h)
{
	int status;

	if (h->child == 0)
		return true;
	if (waitpid(h->child, &status, WNOHANG) == 0)
		return false;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		msg_debug("drain", "syncfs: status 0x%x", status);
	h->child = 0;
	h->least_ms = clock_ms();
	return true;
}

bool handover_done(struct handover *h)
{
	unsigned long waiting;
	char text[32];
	ssize_t n;

	if (!child_ended(h))
		return false;
	n = h->waiting_fd < 0 ? -1 :
				pread(h->waiting_fd, text, sizeof(text) - 1, 0);
	if (n <= 0) /* not known: no more can be done */
		return true;
	text[n] = '\0';
	waiting = strtoul(text, NULL, 10);
	if (waiting < h->least) {
		h->least = waiting;
		h->least_ms = clock_ms();
	}
	return waiting == 0 || clock_ms() - h->least_ms > STALL_MS;
}

void handover_end(struct handover *h)
{
	uint64_t deadline = clock_ms() + END_MS;

	cleanup_closep(&h->waiting_fd);
	h->waiting_fd = -1;
	if (h->child == 0)
		return;
	/* It has the mount open; who unmounts next wants it gone, if it can. */
	(void)kill(h->child, SIGKILL);
	while (!child_ended(h) && clock_ms() < deadline)
		(void)usleep(10000);
	h->child = 0;
}

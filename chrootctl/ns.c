/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ns.c: owns clone3(2), propagation and pivot_root(2).
 *
 * Why propagation is private and not slave: a session sees the mounts of its
 * root as they were when it began. As a slave it would lose its tmp areas
 * under a running build when somebody unmounts outside.
 *
 * Why pivot_root and not chroot: a process with the right to chroot can leave
 * a chroot; the machine's mounts would still be there to be seen in
 * /proc/self/mountinfo and to be held busy; and the kernel refuses user
 * namespaces, which build sandboxes use, to a process in a chroot.
 */
#include "ns.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* In init: die with the parent. getppid() is 0 from the start, as the parent
 * is in another PID namespace, so it cannot tell whether the parent was gone
 * before prctl() took effect; the parent's end of the pipe can. */
static bool tie_to_parent(int life_fd)
{
	struct pollfd p = { .fd = life_fd, .events = POLLIN };

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return false;
	return poll(&p, 1, 0) == 0;
}

int ns_spawn(int dir_fd, int (*init)(void *arg), void *arg,
	     struct ns_session *ret)
{
	struct clone_args args = { .flags = CLONE_NEWNS | CLONE_NEWPID,
				   .exit_signal = SIGCHLD };
	CLEANUP_CLOSE int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int life[2], r = 0;
	long pid;

	if (pipe2(life, O_CLOEXEC) < 0)
		return -errno;
	/* A new mount namespace carries the working directory over to its own
	 * copy of the mount: no second lookup of the path is needed. */
	pid = fchdir(dir_fd) < 0 ? -1
				 : syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0) {
		(void)close(life[1]);
		_exit(tie_to_parent(life[0]) ? init(arg) : EXIT_FAILURE);
	}
	if (pid < 0)
		r = -errno;
	(void)close(life[0]);
	/* The directory must not be kept busy by our standing in it. */
	if (here < 0 || fchdir(here) < 0)
		(void)!chdir("/");
	if (r < 0) {
		(void)close(life[1]);
		return r;
	}
	*ret = (struct ns_session){ .pid = (pid_t)pid, .life_fd = life[1] };
	return 0;
}

/* When chrootctl itself runs in a chroot, "/" is no mount point, and neither
 * propagation nor pivot_root work on it. Joining the namespace that we are in
 * already has the effect of going to its real root. */
static int leave_chroot(void)
{
	CLEANUP_CLOSE int ns = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);

	if (ns < 0 || setns(ns, CLONE_NEWNS) < 0)
		return -errno;
	return 0;
}

int ns_make_private(void)
{
	CLEANUP_CLOSE int root = -1;
	CLEANUP_CLOSE int here = -1;
	int r;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
		return 0;
	if (errno != EINVAL)
		return -errno;
	root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0 || here < 0)
		return -errno;
	r = leave_chroot();
	if (r < 0)
		return r;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -errno;
	/* Back, because the paths of the plan are those of the chroot. */
	if (fchdir(root) < 0 || chroot(".") < 0 || fchdir(here) < 0)
		return -errno;
	return 0;
}

int ns_take_tree(void)
{
	CLEANUP_CLOSE int tree =
		open_tree(AT_FDCWD, ".",
			  OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);

	if (tree < 0)
		return -errno;
	/* On itself: the one place that is certain to exist. */
	if (move_mount(tree, "", AT_FDCWD, ".", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return -errno;
	return steal_fd(&tree);
}

static int pivot(int root_fd)
{
	if (fchdir(root_fd) < 0)
		return -errno;
	/* Puts the old root on top of the new one; see pivot_root(2). */
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return -errno;
	if (umount2(".", MNT_DETACH) < 0)
		return -errno;
	return chdir("/") < 0 ? -errno : 0;
}

int ns_pivot(int root_fd)
{
	int r = pivot(root_fd);

	if (r != -EINVAL)
		return r;
	r = leave_chroot();
	if (r < 0)
		return r;
	r = pivot(root_fd);
	if (r != -EINVAL)
		return r;
	/* The machine runs from its initramfs, which cannot be pivoted away:
	 * cover it, as switch_root(8) does. */
	if (fchdir(root_fd) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 ||
	    chroot(".") < 0 || chdir("/") < 0)
		return -errno;
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* inroot.c: openat2(2) with RESOLVE_IN_ROOT, one step at a time where something
 * is made. No state.
 */
#include "inroot.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static int open_resolve(int fd, const char *path, int flags, uint64_t resolve)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
		.resolve = resolve | RESOLVE_NO_MAGICLINKS,
	};
	long r;

	/* EAGAIN: a rename or a mount somewhere on the machine raced with "..";
	 * openat2(2) asks to try again. */
	for (int i = 0; i < 64; i++) {
		r = syscall(SYS_openat2, fd, path, &how, sizeof(how));
		if (r >= 0 || errno != EAGAIN)
			break;
	}
	return r < 0 ? -errno : (int)r;
}

int inroot_open(int root_fd, const char *path, int flags)
{
	return open_resolve(root_fd, path, flags, RESOLVE_IN_ROOT);
}

int inroot_read_file(int root_fd, const char *path, size_t bytes_max,
		     char **ret)
{
	/* O_PATH first: to open a device or a FIFO may do something. */
	CLEANUP_CLOSE int at = inroot_open(root_fd, path, O_PATH), fd = -1;
	CLEANUP_FREE char *text = NULL;
	char proc[40];
	struct stat st;
	size_t n = 0;

	if (at < 0)
		return at;
	if (fstat(at, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	(void)snprintf(proc, sizeof(proc), "/proc/self/fd/%d", at);
	fd = open(proc, O_RDONLY | O_CLOEXEC);
	text = malloc(bytes_max + 1);
	if (fd < 0 || !text)
		return fd < 0 ? -errno : -ENOMEM;
	while (n <= bytes_max) {
		ssize_t got = read(fd, text + n, bytes_max + 1 - n);

		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		n += (size_t)got;
	}
	if (n > bytes_max)
		return -EFBIG;
	text[n] = '\0';
	*ret = STEAL_PTR(text);
	return 0;
}

/* @name in @up_fd, new. */
static int make_one(int up_fd, const char *name, const struct inroot_dir *d)
{
	CLEANUP_CLOSE int fd = -1;

	if (mkdirat(up_fd, name, 0700) < 0)
		return errno == EEXIST ? -ELOOP : -errno;
	fd = open_resolve(up_fd, name, O_RDONLY | O_DIRECTORY,
			  RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
	if (fd < 0)
		return fd;
	/* In this order: a change of owner clears mode bits. */
	if (fchown(fd, d->uid, d->gid) < 0 || fchmod(fd, d->mode) < 0)
		return -errno;
	return steal_fd(&fd);
}

int inroot_make_dir(int root_fd, const char *path, const struct inroot_dir *d)
{
	static const struct inroot_dir plain = { .mode = 0755 };
	CLEANUP_FREE char *up = NULL;
	CLEANUP_CLOSE int up_fd = -1;
	char *slash;
	int fd = inroot_open(root_fd, path, O_PATH | O_DIRECTORY);

	if (fd != -ENOENT)
		return fd;
	up = strdup(path);
	if (!up)
		return -ENOMEM;
	slash = strrchr(up, '/');
	if (!slash || !slash[1])
		return -EINVAL;
	*slash = '\0';
	up_fd = slash == up ? inroot_open(root_fd, "/", O_PATH | O_DIRECTORY) :
			      inroot_make_dir(root_fd, up, &plain);
	if (up_fd < 0)
		return up_fd;
	return make_one(up_fd, slash + 1, d);
}

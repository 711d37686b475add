/* SPDX-License-Identifier: GPL-2.0-or-later */
/* about.c: reads and writes "about". */
#include "about.h"

#include <fcntl.h>
#include <string.h>

#define ABOUT_MAGIC "nfsrootfs-cache "
enum { ABOUT_BYTES_MAX = 16384 };

void about_done(struct about *a)
{
	free(a->server);
	free(a->mountpoint);
}

/* The value of line @key in @text, malloc'ed, or NULL. */
static char *about_value(const char *text, const char *key)
{
	const char *p = strstr(text, key);

	if (!p)
		return NULL;
	p += strlen(key);
	return strndup(p, strcspn(p, "\n"));
}

int about_read(int dir_fd, struct about *ret)
{
	CLEANUP_CLOSE int fd =
		openat(dir_fd, "about", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	CLEANUP_FREE char *text = calloc(1, ABOUT_BYTES_MAX + 1);
	struct about a = { 0 };

	if (fd < 0)
		return -errno;
	if (!text)
		return -ENOMEM;
	if (read(fd, text, ABOUT_BYTES_MAX) < 0)
		return -errno;
	if (sscanf(text, ABOUT_MAGIC "%u\n", &a.version) != 1)
		return -EBADMSG;
	a.server = about_value(text, "\nserver ");
	a.mountpoint = about_value(text, "\nmountpoint ");
	if (a.version == ABOUT_VERSION && (!a.server || !a.mountpoint)) {
		about_done(&a);
		return -EBADMSG;
	}
	*ret = a;
	return 0;
}

int about_replace(int dir_fd, const char *name, const char *text)
{
	CLEANUP_CLOSE int fd =
		openat(dir_fd, "new",
		       O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
		       0600);
	size_t len = strlen(text);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, text, len);
	if (n >= 0 && (size_t)n < len)
		return -ENOSPC;
	if (n < 0 || fsync(fd) < 0 ||
	    renameat(dir_fd, "new", dir_fd, name) < 0 || fsync(dir_fd) < 0)
		return -errno;
	return 0;
}

int about_write(int dir_fd, const char *server, const char *mountpoint)
{
	CLEANUP_FREE char *text = NULL;

	if (asprintf(&text, ABOUT_MAGIC "%d\nserver %s\nmountpoint %s\n",
		     ABOUT_VERSION, server, mountpoint) < 0)
		return text = NULL, -ENOMEM;
	return about_replace(dir_fd, "about", text);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mount.c: owns the mount API of Linux 5.2 and later (fsopen, open_tree,
 * move_mount). No state.
 *
 * mount(2) takes paths, and a path in a root that somebody else wrote can
 * lead anywhere: to this machine's own /dev, if "dev" in the root is a link.
 * The calls used here take descriptors.
 */
#include "mount.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "msg.h"
#include "root.h"

enum { COPY_BYTES_MAX = 64 << 10 };

/* Opens the directory that @target is in, and finds its last part. */
static int open_parent(int root_fd, const char *target, const char **ret_last)
{
	const char *slash = strrchr(target, '/');
	char parent[PATH_MAX];
	int fd;

	if (!slash) {
		fd = fcntl(root_fd, F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			return -errno;
		*ret_last = target;
		return fd;
	}
	if ((size_t)(slash - target) >= sizeof(parent))
		return -ENAMETOOLONG;
	memcpy(parent, target, (size_t)(slash - target));
	parent[slash - target] = '\0';
	fd = root_open_inside(root_fd, parent, O_PATH | O_DIRECTORY,
			      RESOLVE_NO_SYMLINKS);
	if (fd >= 0)
		*ret_last = slash + 1;
	return fd;
}

static int attach(int mount_fd, int target_fd)
{
	if (move_mount(mount_fd, "", target_fd, "",
		       MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return -errno;
	return 0;
}

/* Hands "a=b,c" to the filesystem context @fs. */
static int configure(int fs, const char *options)
{
	CLEANUP_FREE char *copy = strdup(options);
	char *rest = NULL;

	if (!copy)
		return -ENOMEM;
	for (char *key = strtok_r(copy, ",", &rest); key;
	     key = strtok_r(NULL, ",", &rest)) {
		char *value = strchr(key, '=');
		unsigned cmd = value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;

		if (value)
			*value++ = '\0';
		if (fsconfig(fs, cmd, key, value, 0) < 0)
			return -errno;
	}
	return 0;
}

int mount_new(int root_fd, const char *type, const char *target,
	      const char *options, uint64_t attributes)
{
	CLEANUP_CLOSE int target_fd = root_open_inside(
		root_fd, target, O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS);
	CLEANUP_CLOSE int fs = -1;
	CLEANUP_CLOSE int mount_fd = -1;
	int r;

	if (target_fd < 0)
		return target_fd;
	fs = fsopen(type, FSOPEN_CLOEXEC);
	if (fs < 0)
		return -errno;
	/* What df(1) and mount(8) show in place of a device. */
	if (fsconfig(fs, FSCONFIG_SET_STRING, "source", type, 0) < 0)
		return -errno;
	r = options ? configure(fs, options) : 0;
	if (r < 0)
		return r;
	if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	mount_fd = fsmount(fs, FSMOUNT_CLOEXEC, (unsigned)attributes);
	if (mount_fd < 0)
		return -errno;
	return attach(mount_fd, target_fd);
}

static int clone_tree(const char *source, bool read_only)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
	CLEANUP_CLOSE int fd =
		open_tree(AT_FDCWD, source,
			  OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);

	if (fd < 0)
		return -errno;
	if (read_only && mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE,
				       &attr, sizeof(attr)) < 0)
		return -errno;
	return steal_fd(&fd);
}

int mount_bind(int root_fd, const char *source, const char *target,
	       bool read_only)
{
	CLEANUP_CLOSE int tree = clone_tree(source, read_only);
	CLEANUP_CLOSE int target_fd = -1;

	if (tree < 0)
		return tree;
	target_fd = root_open_inside(root_fd, target, O_PATH, 0);
	return target_fd < 0 ? target_fd : attach(tree, target_fd);
}

int mount_directory(int root_fd, const char *target, mode_t mode)
{
	const char *last;
	CLEANUP_CLOSE int parent = open_parent(root_fd, target, &last);

	if (parent < 0)
		return parent;
	return mkdirat(parent, last, mode) < 0 ? -errno : 0;
}

int mount_link(int root_fd, const char *text, const char *target)
{
	const char *last;
	CLEANUP_CLOSE int parent = open_parent(root_fd, target, &last);

	if (parent < 0)
		return parent;
	return symlinkat(text, parent, last) < 0 ? -errno : 0;
}

int mount_file(int root_fd, const char *target, const char *contents,
	       mode_t mode)
{
	const char *last;
	CLEANUP_CLOSE int parent = open_parent(root_fd, target, &last);
	CLEANUP_CLOSE int fd = -1;
	size_t len = strlen(contents);
	ssize_t n;

	if (parent < 0)
		return parent;
	fd = openat(parent, last, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
		    mode);
	if (fd < 0)
		return -errno;
	for (size_t done = 0; done < len; done += (size_t)n) {
		n = write(fd, contents + done, len - done);
		if (n < 0)
			return -errno;
	}
	return 0;
}

int mount_node(int root_fd, const char *source, const char *target,
	       bool read_only)
{
	CLEANUP_CLOSE int tree = clone_tree(source, read_only);
	CLEANUP_CLOSE int target_fd = -1;
	struct stat st;
	int r;

	if (tree < 0)
		return tree;
	/* A file in the place of /dev/null would grow without bound. */
	if (fstat(tree, &st) < 0)
		return -errno;
	if (!S_ISCHR(st.st_mode))
		return -ENODEV;
	r = mount_file(root_fd, target, "", 0666);
	if (r < 0)
		return r;
	target_fd =
		root_open_inside(root_fd, target, O_PATH, RESOLVE_NO_SYMLINKS);
	return target_fd < 0 ? target_fd : attach(tree, target_fd);
}

/* The whole of a small file of this machine, as a string to be freed. */
static int read_whole(const char *path, char **ret)
{
	CLEANUP_FCLOSE FILE *f = fopen(path, "re");
	CLEANUP_FREE char *text = malloc(COPY_BYTES_MAX + 1);
	size_t n;

	if (!f)
		return errno == ENOENT ? -ENODATA : -errno;
	if (!text)
		return -ENOMEM;
	n = fread(text, 1, COPY_BYTES_MAX + 1, f);
	if (ferror(f))
		return -EIO;
	if (n > COPY_BYTES_MAX)
		return -EFBIG;
	text[n] = '\0';
	*ret = STEAL_PTR(text);
	return 0;
}

/* The directory in which @path, whose last part does not exist, would be,
 * made below run/ as far as it is missing. @path is changed. Only the deepest
 * directory that exists can be looked up; what comes after it is new, and so
 * free of links, if it has no "..". */
static int make_ancestors(int root_fd, char *path)
{
	CLEANUP_CLOSE int run = root_open_inside(root_fd, "run", O_PATH, 0);
	CLEANUP_CLOSE int dir = -1;
	struct stat st, ours;
	char *cut, *rest, *part;

	for (cut = strrchr(path, '/'); cut;
	     cut = memrchr(path, '/', (size_t)(cut - path))) {
		char found = *cut;

		*cut = '\0';
		dir = root_open_inside(root_fd, *path ? path : "/",
				       O_PATH | O_DIRECTORY, 0);
		*cut = found;
		if (dir != -ENOENT)
			break;
	}
	if (run < 0 || dir < 0)
		return -ENOENT;
	if (fstat(dir, &st) < 0 || fstat(run, &ours) < 0)
		return -errno;
	/* Anywhere else, we would write to the server. */
	if (st.st_dev != ours.st_dev)
		return -ENOENT;
	for (part = strtok_r(cut, "/", &rest); *rest;
	     part = strtok_r(NULL, "/", &rest)) {
		int next;

		if (strcmp(part, "..") == 0 || strcmp(part, ".") == 0)
			return -ENOENT;
		if (mkdirat(dir, part, 0755) < 0)
			return -errno;
		next = openat(dir, part,
			      O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return -errno;
		(void)close(dir);
		dir = next;
	}
	return steal_fd(&dir);
}

/* @target is a link that leads to nothing: make what it leads to. */
static int fill_dangling(int root_fd, const char *target, const char *contents)
{
	const char *last;
	CLEANUP_CLOSE int parent = open_parent(root_fd, target, &last);
	CLEANUP_CLOSE int dir = -1;
	char text[PATH_MAX], path[2 * PATH_MAX], name[NAME_MAX + 1];
	const char *base;
	ssize_t n;

	if (parent < 0)
		return parent;
	n = readlinkat(parent, last, text, sizeof(text) - 1);
	if (n < 0)
		return errno == EINVAL ? -ENOENT : -errno;
	text[n] = '\0';
	if (text[0] == '/')
		(void)snprintf(path, sizeof(path), "%s", text);
	else
		(void)snprintf(path, sizeof(path), "%.*s%s",
			       (int)(last - target), target, text);
	base = strrchr(path, '/');
	if (!base || !base[1] || strlen(base + 1) > NAME_MAX)
		return -ENOENT;
	strcpy(name, base + 1);
	dir = make_ancestors(root_fd, path);
	return dir < 0 ? dir : mount_file(dir, name, contents, 0644);
}

int mount_copy(int root_fd, const char *source, const char *target,
	       const char *keep)
{
	CLEANUP_FREE char *contents = NULL;
	CLEANUP_CLOSE int target_fd = -1;
	CLEANUP_CLOSE int kept = -1;
	CLEANUP_CLOSE int tree = -1;
	struct stat st;
	int r = read_whole(source, &contents);

	if (r < 0)
		return r;
	target_fd = root_open_inside(root_fd, target, O_PATH, 0);
	if (target_fd == -ENOENT)
		return fill_dangling(root_fd, target, contents);
	if (target_fd < 0)
		return target_fd;
	if (fstat(target_fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	r = mount_file(root_fd, keep, contents, 0644);
	if (r < 0)
		return r;
	kept = root_open_inside(root_fd, keep, O_PATH, RESOLVE_NO_SYMLINKS);
	if (kept < 0)
		return kept;
	tree = open_tree(kept, "",
			 OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	return tree < 0 ? -errno : attach(tree, target_fd);
}

const char *mount_strerror(int err)
{
	switch (err) {
	case -ENOSPC:
		return "this machine's limit on the number of mounts is "
		       "reached (sysctl fs.mount-max)";
	case -ELOOP:
		return "part of the path is a symbolic link, where only a "
		       "directory is safe";
	case -ENODEV:
		return "this kernel has no such filesystem or device";
	case -ENOSYS:
		return "this kernel is too old; Linux 5.12 or later is needed";
	case -EPERM:
		return "this machine does not permit it; in a container, the "
		       "capability CAP_SYS_ADMIN is needed";
	case -EROFS:
		return "the root is mounted read-only and lacks it";
	case -ENOENT:
		return "does not exist";
	default:
		return msg_strerror(err);
	}
}

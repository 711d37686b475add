/* SPDX-License-Identifier: GPL-2.0-or-later */
/* area.c: owns the mounts of the tmp areas.
 *
 * Everything goes by file descriptor: the place is found without following a
 * symlink out of the root, the local directory without following any, and the
 * one is moved onto the other (open_tree(2), move_mount(2)), so that no path is
 * looked up twice. An area's mount has the suid, dev and exec of the root mount
 * and not those of the disk it lies on: a build in a chroot runs what it built,
 * even where /var is noexec.
 */
#include "area.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "../cache/msg.h"
#include "area_plan.h"
#include "inroot.h"
#include "mountinfo.h"

/* ---- the local side: a mount that is not attached yet ---- */

static int set_attributes(const struct config *c, int mount_fd)
{
	struct mount_attr attr = {
		.attr_clr = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
			    MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
		.attr_set = (c->nosuid ? MOUNT_ATTR_NOSUID : 0) |
			    (c->nodev ? MOUNT_ATTR_NODEV : 0) |
			    (c->noexec ? MOUNT_ATTR_NOEXEC : 0),
	};

	return mount_setattr(mount_fd, "", AT_EMPTY_PATH, &attr,
			     sizeof(attr)) < 0 ?
		       -errno :
		       0;
}

/* Opens the directory @path and makes it, like @like, when it is missing. */
static int open_local(const char *path, const struct stat *like)
{
	CLEANUP_CLOSE int fd = -1;
	bool made = mkdir(path, 0700) == 0;

	if (!made && errno != EEXIST)
		return -errno;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (made && (fchown(fd, like->st_uid, like->st_gid) < 0 ||
		     fchmod(fd, like->st_mode & 07777) < 0))
		return -errno;
	return steal_fd(&fd);
}

static int local_mount(const char *path, const struct stat *like)
{
	CLEANUP_CLOSE int fd = open_local(path, like);
	int r;

	if (fd < 0)
		return fd;
	r = open_tree(fd, "",
		      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	return r < 0 ? -errno : r;
}

static int set_number(int fs, const char *key, const char *fmt, unsigned value)
{
	char text[16];

	(void)snprintf(text, sizeof(text), fmt, value);
	return fsconfig(fs, FSCONFIG_SET_STRING, key, text, 0);
}

static int tmpfs_mount(const struct stat *like)
{
	CLEANUP_CLOSE int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);
	int r;

	if (fs < 0 ||
	    fsconfig(fs, FSCONFIG_SET_STRING, "source", "nfsrootfs", 0) < 0 ||
	    set_number(fs, "mode", "%o", like->st_mode & 07777) < 0 ||
	    set_number(fs, "uid", "%u", like->st_uid) < 0 ||
	    set_number(fs, "gid", "%u", like->st_gid) < 0 ||
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	r = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	return r < 0 ? -errno : r;
}

/* ---- the root's side ---- */

struct maker {
	const struct config *config;
	const struct cachedir *cache;
	area_pin_fn *pin;
	void *pin_arg;
	int root_fd;
	dev_t root_dev;
};

/* The place of an area, and its path as the kernel shows it. */
static int open_place(const struct maker *m, const char *path, char **ret_where)
{
	const char *root = m->config->mountpoint;
	char proc[40], where[PATH_MAX];
	struct inroot_dir d;
	CLEANUP_CLOSE int fd = -1;
	ssize_t n;

	area_plan_dir(path, m->root_fd, &d);
	fd = inroot_make_dir(m->root_fd, path, &d);
	if (fd < 0)
		return fd;
	(void)snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	n = readlink(proc, where, sizeof(where) - 1);
	if (n < 0)
		return -errno;
	where[n] = '\0';
	/* "/" itself, by a symlink, or renamed away at this moment. */
	if (!path_is_beneath(where, root) || strcmp(where, root) == 0)
		return -EXDEV;
	*ret_where = strdup(where);
	return *ret_where ? steal_fd(&fd) : -ENOMEM;
}

static int attach(const struct maker *m, int mount_fd, int place_fd,
		  struct area *a)
{
	struct statx stx;
	struct stat st;
	int r;

	/* An area inside another one lies on a local disk: no need. */
	if (fstat(place_fd, &st) < 0)
		return -errno;
	if (st.st_dev == m->root_dev) {
		r = m->pin(m->pin_arg,
			   a->where + (strcmp(m->config->mountpoint, "/") == 0 ?
					       0 :
					       strlen(m->config->mountpoint)));
		if (r < 0)
			return r;
	}
	r = set_attributes(m->config, mount_fd);
	if (r < 0)
		return r;
	if (move_mount(mount_fd, "", place_fd, "",
		       MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return -errno;
	if (statx(mount_fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &stx) < 0)
		return -errno;
	a->mount_id = (int)stx.stx_mnt_id;
	return 0;
}

static void area_done(struct area *a)
{
	free(a->path);
	free(a->where);
	free(a->dir);
	*a = (struct area){ 0 };
}

static int make_area(const struct maker *m, const struct config_area *c,
		     struct area *ret)
{
	struct area a = { .path = strdup(c->path) };
	CLEANUP_CLOSE int place_fd = -1, mount_fd = -1;
	struct stat st;
	int r = a.path ? 0 : -ENOMEM;

	if (r == 0)
		r = place_fd = open_place(m, c->path, &a.where);
	if (r >= 0 && c->kind == AREA_DIR) {
		a.dir = c->dir ? strdup(c->dir) :
				 cachedir_area_path(m->cache, c->path);
		r = a.dir ? 0 : -ENOMEM;
	}
	if (r >= 0)
		r = fstat(place_fd, &st) < 0 ? -errno : 0;
	if (r == 0)
		r = mount_fd = c->kind == AREA_TMPFS ? tmpfs_mount(&st) :
						       local_mount(a.dir, &st);
	if (r >= 0)
		r = attach(m, mount_fd, place_fd, &a);
	if (r < 0)
		area_done(&a);
	else
		*ret = a;
	return r;
}

/* ---- public ---- */

static int make_all(const struct maker *m, struct areas *ret)
{
	const struct config *c = m->config;

	for (unsigned i = 0; i < c->areas_n; i++) {
		const char *path = c->areas[i].path;
		int r = make_area(m, &c->areas[i], &ret->list[ret->n]);

		if (r >= 0) {
			msg_debug("area", "%s is local", path);
			ret->n++;
		} else if (r == -EROFS) {
			msg_warning("tmp area %s left out: the root is "
				    "read-only and has no such directory; "
				    "make it on the server",
				    path);
		} else if (!c->areas_given && r != -ENOTCONN &&
			   r != -ECONNABORTED) {
			msg_warning("tmp area %s left out: %s; name others "
				    "with -o tmp=PATH, or none with -o notmp",
				    path, msg_strerror(r));
		} else {
			msg_error("tmp area %s: %s", path, msg_strerror(r));
			return r;
		}
	}
	return 0;
}

int areas_mount(struct config *c, const struct cachedir *cache,
		area_pin_fn *pin, void *arg, struct areas *ret)
{
	CLEANUP_CLOSE int root_fd = open(
		c->mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct maker m = { c, cache, pin, arg, root_fd, 0 };
	struct stat st;
	int r;

	if (root_fd < 0 || fstat(root_fd, &st) < 0)
		return -errno;
	m.root_dev = st.st_dev;
	r = area_plan(c, root_fd);
	if (r == 0)
		r = make_all(&m, ret);
	return r;
}

void areas_umount(struct areas *a)
{
	struct mountinfo mounts = { 0 };

	if (a->n > 0)
		(void)mountinfo_read("/proc/self/mountinfo", &mounts);
	while (a->n > 0) {
		struct area *one = &a->list[--a->n];
		const struct mountinfo_entry *e =
			mountinfo_at(&mounts, one->where);

		/* The user may have unmounted it, and mounted another. */
		if (e && e->id == one->mount_id &&
		    umount2(one->where, UMOUNT_NOFOLLOW) < 0 &&
		    umount2(one->where, UMOUNT_NOFOLLOW | MNT_DETACH) < 0)
			msg_warning("tmp area %s: cannot be unmounted: %s",
				    one->where, msg_strerror(errno));
		area_done(one);
	}
	mountinfo_done(&mounts);
}

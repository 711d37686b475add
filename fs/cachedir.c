/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cachedir.c: owns the layout of the cache directory and every reason to refuse
 * one. Checks run before anything is written, and go by file descriptor, so
 * that what was checked is what is used: DIR may be one that others can write to as
 * long as it is sticky (/var/tmp), EXPORT may not.
 */
#include "cachedir.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <dirent.h>

#include "../cache/msg.h"
#include "about.h"
#include "escape.h"

#define DEFAULT_DIR "/var/cache/nfsrootfs"

static int why(char **ret_why, int err, const char *fmt, ...) PRINTF_LIKE(3, 4);

static int why(char **ret_why, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(ret_why, fmt, ap) < 0)
		*ret_why = NULL;
	va_end(ap);
	return err;
}

/* -EPERM (an immutable directory) would say "not safe", see cachedir.h. */
static int unwritable(char **ret_why, int err, const char *path)
{
	return why(ret_why, err == -EPERM ? -EACCES : err,
		   "cache directory %s cannot be written to: %s; make room or "
		   "name another with -o cachedir=DIR",
		   path, msg_strerror(err));
}

char *cachedir_server(const struct config *c)
{
	char *s;
	int r = c->port ? asprintf(&s, "%s:%u:%s", c->host, c->port, c->path) :
			  asprintf(&s, "%s:%s", c->host, c->path);

	return r < 0 ? NULL : s;
}

/* ---- DIR ---- */

/* LMDB maps its file into memory and locks by shared memory: neither holds on a
 * filesystem that another machine or a user's process answers for. Worse, the
 * cache could lie below the very mount that it serves. */
static const char *remote_kind(uint32_t f_type)
{
	static const struct {
		uint32_t f_type;
		const char *name;
	} kinds[] = {
		{ NFS_SUPER_MAGIC, "NFS" }, { SMB_SUPER_MAGIC, "SMB" },
		{ CIFS_SUPER_MAGIC, "CIFS" }, { SMB2_SUPER_MAGIC, "SMB" },
		{ FUSE_SUPER_MAGIC, "FUSE" }, { V9FS_MAGIC, "9P" },
		{ AFS_SUPER_MAGIC, "AFS" }, { AFS_FS_MAGIC, "AFS" },
		{ CEPH_SUPER_MAGIC, "Ceph" }, { CODA_SUPER_MAGIC, "Coda" },
		{ NCP_SUPER_MAGIC, "NCP" }, { 0x0bd00bd0, "Lustre" },
		{ 0x47504653, "GPFS" }, { 0x20030528, "OrangeFS" },
		{ 0x786f4256, "vboxsf" }, { 0xbacbacbc, "vmhgfs" },
	};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (kinds[i].f_type == f_type)
			return kinds[i].name;
	return NULL;
}

static int check_fs(int fd, const char *path, char **ret_why)
{
	struct statfs s;
	const char *kind;

	if (fstatfs(fd, &s) < 0)
		return unwritable(ret_why, -errno, path);
	kind = remote_kind((uint32_t)s.f_type);
	if (kind)
		return why(ret_why, -EREMOTE,
			   "cache directory %s is on a network or FUSE "
			   "filesystem (%s); name a directory on a local disk "
			   "with -o cachedir=DIR",
			   path, kind);
	return 0;
}

/* Its last component may be missing: that is made. */
static int make_base(const char *path, char **ret_why)
{
	CLEANUP_FREE char *up = strdup(path);
	CLEANUP_CLOSE int fd = -1;
	char *slash;
	int r;

	if (!up)
		return -ENOMEM;
	while ((slash = strrchr(up, '/')) && slash != up && !slash[1])
		*slash = '\0';
	if (slash)
		slash[slash == up] = '\0';
	fd = open(up, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return why(ret_why, -errno,
			   "cache directory %s: %s: %s; make it first", path,
			   up, msg_strerror(errno));
	r = check_fs(fd, path, ret_why);
	if (r == 0 && mkdir(path, 0700) < 0 && errno != EEXIST)
		r = unwritable(ret_why, -errno, path);
	return r;
}

/* *@ret_path: DIR with symlinks resolved. */
static int open_base(const struct config *c, bool create, char **ret_path,
		     char **ret_why)
{
	const char *path = c->cachedir ? c->cachedir : DEFAULT_DIR;
	CLEANUP_CLOSE int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	CLEANUP_FREE char *real = NULL;
	struct stat st;
	int r;

	if (fd < 0 && errno == ENOENT && create) {
		if (!c->cachedir && mkdir("/var/cache", 0755) < 0 &&
		    errno != EEXIST)
			return unwritable(ret_why, -errno, path);
		r = make_base(path, ret_why);
		if (r < 0)
			return r;
		fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	if (fd < 0)
		return why(ret_why, -errno, "cache directory %s: %s", path,
			   msg_strerror(errno));
	r = check_fs(fd, path, ret_why);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return unwritable(ret_why, -errno, path);
	if (st.st_uid != 0 || ((st.st_mode & 022) && !(st.st_mode & S_ISVTX)))
		return why(ret_why, -EPERM,
			   "cache directory %s: not root's, or others may "
			   "write to it, so that they could replace what is cached; "
			   "chown root %s; chmod go-w %s",
			   path, path, path);
	real = realpath(path, NULL);
	if (!real)
		return unwritable(ret_why, -errno, path);
	*ret_path = STEAL_PTR(real);
	return steal_fd(&fd);
}

/* ---- DIR/EXPORT ---- */

static int lock(const char *path, int fd, char **ret_why)
{
	CLEANUP_CLOSE int lock_fd = openat(
		fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (lock_fd < 0)
		return unwritable(ret_why, -errno, path);
	if (flock(lock_fd, LOCK_EX | LOCK_NB) < 0)
		return why(ret_why, errno == EWOULDBLOCK ? -EBUSY : -errno,
			   "cache directory %s is in use: the export is "
			   "mounted already; nfsrootfs status shows where",
			   path);
	return steal_fd(&lock_fd);
}

/* Opens, checks and locks DIR/@name. */
static int open_export(int base_fd, const char *base, const char *name,
		       bool create, struct cachedir *ret, char **ret_why)
{
	CLEANUP_CLOSE int fd = -1;
	CLEANUP_FREE char *path = NULL;
	bool made = false;
	struct stat st;
	int r;

	if (asprintf(&path, "%s/%s", strcmp(base, "/") == 0 ? "" : base,
		     name) < 0)
		return path = NULL, -ENOMEM;
	if (create)
		made = mkdirat(base_fd, name, 0700) == 0;
	if (create && !made && errno != EEXIST)
		return unwritable(ret_why, -errno, path);
	fd = openat(base_fd, name,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno != ENOENT)
		return why(ret_why, -EPERM,
			   "cache directory %s is not a directory (%s); "
			   "remove it",
			   path, msg_strerror(errno));
	if (fd < 0)
		return why(ret_why, -ENOENT, "there is no %s", path);
	r = check_fs(fd, path, ret_why);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return unwritable(ret_why, -errno, path);
	if (st.st_uid != 0 || (st.st_mode & 077))
		return why(ret_why, -EPERM,
			   "cache directory %s must be root's alone; "
			   "chown root %s; chmod 700 %s",
			   path, path, path);
	r = lock(path, fd, ret_why);
	if (r < 0)
		return r;
	*ret = (struct cachedir){ .path = STEAL_PTR(path),
				  .fd = steal_fd(&fd),
				  .lock_fd = r,
				  .made = made };
	return 0;
}

void cachedir_close(struct cachedir *d)
{
	free(d->path);
	cleanup_closep(&d->fd);
	cleanup_closep(&d->lock_fd);
	*d = (struct cachedir)CACHEDIR_INIT;
}

/* The directories in it. */
static const char *const parts[] = { "meta", "blob", "log", "tmp" };

void cachedir_undo(const struct cachedir *d)
{
	if (!d->made)
		return;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		if (unlinkat(d->fd, parts[i], AT_REMOVEDIR) < 0)
			return;
	(void)unlinkat(d->fd, "about", 0);
	(void)unlinkat(d->fd, "id", 0);
	(void)unlinkat(d->fd, "lock", 0);
	(void)rmdir(d->path);
}

static int check_about(const struct config *c, const struct cachedir *d,
		       char **ret_why)
{
	CLEANUP_FREE char *server = cachedir_server(c);
	struct about a = { 0 };
	bool current;
	int r = about_read(d->fd, &a);

	if (!server)
		r = -ENOMEM;
	else if (r == -EBADMSG)
		r = why(ret_why, -EUCLEAN,
			"cache directory %s is damaged: %s/about is not "
			"readable; nothing in it is needed by the server: "
			"move it away, or rm -r it",
			d->path, d->path);
	else if (r == 0 && a.version != ABOUT_VERSION)
		r = why(ret_why, -EMEDIUMTYPE,
			"cache directory %s has format version %u, this "
			"program writes %d: mount with the program that made "
			"it, or move it away, or rm -r it",
			d->path, a.version, ABOUT_VERSION);
	else if (r == 0 && strcmp(a.server, server) != 0)
		r = why(ret_why, -EXDEV,
			"cache directory %s belongs to %s; name another with "
			"-o cachedir=DIR",
			d->path, a.server);
	else if (r < 0 && r != -ENOENT)
		r = unwritable(ret_why, r, d->path);
	current = r == 0 && strcmp(a.mountpoint, c->mountpoint) == 0;
	about_done(&a);
	if ((r < 0 && r != -ENOENT) || current)
		return r;
	r = about_write(d->fd, server, c->mountpoint);
	return r < 0 ? unwritable(ret_why, r, d->path) : 0;
}

/* ---- public ---- */

int cachedir_open(const struct config *c, struct cachedir *ret, char **ret_why)
{
	CLEANUP_FREE char *base = NULL, *server = cachedir_server(c);
	CLEANUP_CLOSE int base_fd = -1;
	struct cachedir d = CACHEDIR_INIT;
	char name[ESCAPE_BYTES];
	int r;

	if (!server)
		return -ENOMEM;
	base_fd = open_base(c, true, &base, ret_why);
	if (base_fd < 0)
		return base_fd;
	escape_name(server, name);
	r = open_export(base_fd, base, name, true, &d, ret_why);
	if (r < 0)
		return r;
	r = check_about(c, &d, ret_why);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(parts); i++)
		if (mkdirat(d.fd, parts[i], 0700) < 0 &&
		    errno != EEXIST)
			r = unwritable(ret_why, -errno, d.path);
	if (r < 0)
		cachedir_close(&d);
	else
		*ret = d;
	return r;
}

/* Calls @fn with the name of each directory in DIR, until it returns other than
 * 0, which is returned then. */
static int each_name(int base_fd, int (*fn)(void *arg, const char *name),
		     void *arg)
{
	int dup_fd = openat(base_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = dup_fd < 0 ? NULL : fdopendir(dup_fd);
	struct dirent *e;
	struct stat st;
	int r = 0;

	if (!dir)
		return -errno;
	while (r == 0 && (e = readdir(dir)))
		if (e->d_name[0] != '.' &&
		    fstatat(base_fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) ==
			    0 &&
		    S_ISDIR(st.st_mode))
			r = fn(arg, e->d_name);
	(void)closedir(dir);
	return r;
}

/* A search for the export last mounted on a directory; or a walk. */
struct search {
	int base_fd;
	const char *base, *mountpoint;
	char name[NAME_MAX + 1];
	cachedir_each_fn *fn;
	void *arg;
};

static int is_of_mountpoint(void *arg, const char *name)
{
	struct search *s = arg;
	CLEANUP_CLOSE int fd = openat(s->base_fd, name,
				      O_PATH | O_DIRECTORY | O_NOFOLLOW |
					      O_CLOEXEC);
	struct about a = { 0 };
	int r = 0;

	if (fd < 0 || about_read(fd, &a) < 0)
		return 0;
	if (a.mountpoint && strcmp(a.mountpoint, s->mountpoint) == 0) {
		(void)snprintf(s->name, sizeof(s->name), "%s", name);
		r = 1;
	}
	about_done(&a);
	return r;
}

static int show(void *arg, const char *name)
{
	const struct search *s = arg;
	CLEANUP_CLOSE int fd = openat(s->base_fd, name,
				      O_PATH | O_DIRECTORY | O_NOFOLLOW |
					      O_CLOEXEC);
	struct cachedir d = CACHEDIR_INIT;
	struct cachedir_entry e = { 0 };
	CLEANUP_FREE char *path = NULL, *ignored = NULL;
	struct about a = { 0 };
	int r;

	if (fd < 0 || about_read(fd, &a) < 0)
		return 0;
	if (asprintf(&path, "%s/%s", s->base, name) < 0)
		path = NULL;
	e.path = path;
	e.server = a.server;
	e.mountpoint = a.mountpoint;
	e.err = open_export(s->base_fd, s->base, name, false, &d, &ignored);
	/* Another format need not say whose it is. */
	r = !e.server || !e.mountpoint ? 0 : path ? s->fn(s->arg, &e) : -ENOMEM;
	cachedir_close(&d);
	about_done(&a);
	return r;
}

int cachedir_each(const struct config *c, cachedir_each_fn *fn, void *arg,
		  char **ret_why)
{
	CLEANUP_FREE char *base = NULL;
	CLEANUP_CLOSE int base_fd = open_base(c, false, &base, ret_why);
	struct search s = { .base_fd = base_fd, .base = base, .fn = fn,
			    .arg = arg };

	return base_fd < 0 ? base_fd : each_name(base_fd, show, &s);
}

int cachedir_find(const struct config *c, struct cachedir *ret, char **ret_why)
{
	CLEANUP_FREE char *base = NULL, *server = NULL;
	CLEANUP_CLOSE int base_fd = open_base(c, false, &base, ret_why);
	struct search s = { .base_fd = base_fd, .mountpoint = c->mountpoint };
	char name[NAME_MAX + 1];

	if (base_fd < 0)
		return base_fd;
	if (c->host) {
		server = cachedir_server(c);
		if (!server)
			return -ENOMEM;
		escape_name(server, name);
	} else if (each_name(base_fd, is_of_mountpoint, &s) == 1) {
		strcpy(name, s.name);
	} else {
		return why(ret_why, -ENOENT,
			   "nothing in %s was last mounted on %s", base,
			   c->mountpoint);
	}
	return open_export(base_fd, base, name, false, ret, ret_why);
}

/* ---- id ---- */

static int read_id(int dir_fd, char ret[CACHEDIR_ID_BYTES])
{
	CLEANUP_CLOSE int fd =
		openat(dir_fd, "id", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	char id[CACHEDIR_ID_BYTES] = { 0 };

	if (fd < 0)
		return -errno;
	if (read(fd, id, CACHEDIR_ID_BYTES) != CACHEDIR_ID_BYTES ||
	    strspn(id, "0123456789abcdef") != CACHEDIR_ID_BYTES - 1)
		return -ENOENT; /* not ours: as good as none */
	id[CACHEDIR_ID_BYTES - 1] = '\0'; /* the line's end */
	memcpy(ret, id, sizeof(id));
	return 0;
}

int cachedir_id(const struct cachedir *d, char ret[CACHEDIR_ID_BYTES])
{
	char line[CACHEDIR_ID_BYTES + 1];
	uint64_t n[2];
	int r = read_id(d->fd, ret);

	if (r != -ENOENT)
		return r;
	if (getrandom(n, sizeof(n), 0) != sizeof(n))
		return -errno;
	(void)snprintf(line, sizeof(line), "%016llx%016llx\n",
		       (unsigned long long)n[0], (unsigned long long)n[1]);
	r = about_replace(d->fd, "id", line);
	return r < 0 ? r : read_id(d->fd, ret);
}

char *cachedir_meta_path(const struct cachedir *d)
{
	char *s;

	return asprintf(&s, "%s/meta", d->path) < 0 ? NULL : s;
}

char *cachedir_blob_path(const struct cachedir *d)
{
	char *s;

	return asprintf(&s, "%s/blob", d->path) < 0 ? NULL : s;
}

char *cachedir_log_path(const struct cachedir *d)
{
	char *s;

	return asprintf(&s, "%s/log", d->path) < 0 ? NULL : s;
}

char *cachedir_area_path(const struct cachedir *d, const char *area)
{
	char name[ESCAPE_BYTES], *s;

	escape_name(area, name);
	return asprintf(&s, "%s/tmp/%s", d->path, name) < 0 ? NULL : s;
}

char *cachedir_meta_why(const struct cachedir *d, int err)
{
	/* The cache can be made again from the server at any time; yet it is
	 * the user who removes it: whoever mixed two versions, or has a disk
	 * that loses data, should know. */
	static const char *const hint =
		"nothing is lost with it: nfsrootfs discard --cache, or rm -r";
	char *s = NULL;
	int r;

	if (err == -EMEDIUMTYPE)
		r = asprintf(&s, "metadata cache %s/meta has another format "
			     "version; %s %s/meta", d->path, hint, d->path);
	else if (err == -EUCLEAN)
		r = asprintf(&s, "metadata cache %s/meta is damaged; %s "
			     "%s/meta", d->path, hint, d->path);
	else if (err == -EXDEV)
		r = asprintf(&s, "metadata cache %s/meta belongs to another "
			     "server; %s %s/meta", d->path, hint, d->path);
	else if (err == -EBUSY)
		r = asprintf(&s, "metadata cache %s/meta is in use by another "
			     "process", d->path);
	else
		r = asprintf(&s, "metadata cache %s/meta: %s", d->path,
			     msg_strerror(err));
	return r < 0 ? NULL : s;
}

enum exitcode cachedir_exitcode(int err)
{
	switch (err) {
	case 0:
		return EXITCODE_OK;
	case -EREMOTE:
		return EXITCODE_CACHE_REMOTE;
	case -EMEDIUMTYPE:
		return EXITCODE_CACHE_VERSION;
	case -EUCLEAN:
		return EXITCODE_CACHE_DAMAGED;
	case -EBUSY:
		return EXITCODE_CACHE_BUSY;
	case -EXDEV:
		return EXITCODE_CACHE_OTHER;
	case -EPERM:
		return EXITCODE_CACHE_UNSAFE;
	case -ENOMEM:
		return EXITCODE_SYSTEM;
	default:
		return EXITCODE_CACHE_WRITE;
	}
}

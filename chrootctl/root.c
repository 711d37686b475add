/* SPDX-License-Identifier: GPL-2.0-or-later */
/* root.c: owns the checks of a root directory and what is read from it.
 *
 * The checks stand in a table, in the order in which a user would want to
 * hear of what is wrong: there is no point in naming the architecture of a
 * directory that is no root. Each looks at one thing and gives one status.
 */
#include "root.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/openat2.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "msg.h"
#include "status.h"

/* The group that owns terminals on every distribution that has one. */
enum { TTY_GID_DEFAULT = 5 };

int root_open_inside(int root_fd, const char *path, int flags, uint64_t resolve)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)flags | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve,
	};
	long fd;

	/* EAGAIN: something was renamed or mounted elsewhere on the machine
	 * while the kernel looked at a ".."; it asks to be asked again. */
	do {
		fd = syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
	} while (fd < 0 && errno == EAGAIN);
	return fd < 0 ? -errno : (int)fd;
}

/* A regular file inside, for reading; a FIFO cannot hold us up. -errno. */
static FILE *open_text(int root_fd, const char *path)
{
	CLEANUP_CLOSE int fd =
		root_open_inside(root_fd, path, O_RDONLY | O_NONBLOCK, 0);
	struct stat st;
	FILE *f;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return NULL;
	f = fdopen(fd, "re");
	if (f)
		(void)steal_fd(&fd);
	return f;
}

static bool executable_inside(int root_fd, const char *path)
{
	CLEANUP_CLOSE int fd = root_open_inside(root_fd, path, O_PATH, 0);
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	       (st.st_mode & 0111);
}

static bool directory_inside(int root_fd, const char *path)
{
	CLEANUP_CLOSE int fd =
		root_open_inside(root_fd, path, O_PATH | O_DIRECTORY, 0);

	return fd >= 0;
}

/* ---- names ---- */

/* The name goes into a shell's prompt, where "$(...)" and "\" have meanings;
 * it comes from outside. What no host name has becomes "_". */
static void set_name(struct root *r, const char *text, size_t len)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789.-_:[]";
	size_t n = MIN(len, (size_t)ROOT_NAME_MAX);

	for (size_t i = 0; i < n; i++)
		r->name[i] = strchr(allowed, text[i]) ? text[i] : '_';
	r->name[n] = '\0';
}

/* The line of /proc/self/mountinfo of the mount that the directory is on,
 * when nfsrootfs made it, gives the server: "... - fuse.nfsrootfs HOST:/PATH".
 * Returns false, and sets nothing, when it is another kind of mount. */
static bool name_from_mount(struct root *r)
{
	static const char separator[] = " - fuse.nfsrootfs ";
	CLEANUP_FCLOSE FILE *f = fopen("/proc/self/mountinfo", "re");
	CLEANUP_FREE char *line = NULL;
	const char *source, *end;
	struct statx stx;
	size_t size = 0;

	if (!f || statx(r->fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &stx) < 0 ||
	    !(stx.stx_mask & STATX_MNT_ID))
		return false;
	while (getline(&line, &size, f) > 0) {
		if (strtoull(line, NULL, 10) != stx.stx_mnt_id)
			continue;
		source = strstr(line, separator);
		if (!source)
			return false;
		source += sizeof(separator) - 1;
		end = strstr(source, ":/");
		r->is_nfsrootfs = true;
		set_name(r, source,
			 end ? (size_t)(end - source) : strcspn(source, " \n"));
		return true;
	}
	return false;
}

/* ---- the checks ---- */

struct check {
	const char *name;
	bool needs_directory;
	int (*look)(struct root *r, const char *path, char *reason);
};

#define REASON(...) ((void)snprintf(reason, ROOT_REASON_MAX, __VA_ARGS__))

static int look_superuser(struct root *r, const char *path, char *reason)
{
	if (geteuid() == 0)
		return 0;
	REASON("only the superuser can enter a root: run it with sudo or as "
	       "root");
	return STATUS_NOT_SUPERUSER;
}

static int look_directory(struct root *r, const char *path, char *reason)
{
	const char *base;

	r->fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (r->fd < 0 && errno == ENOENT) {
		REASON("%s: does not exist", path);
		return STATUS_NO_DIRECTORY;
	}
	if (r->fd < 0 && errno == ENOTDIR) {
		REASON("%s: is not a directory", path);
		return STATUS_NOT_DIRECTORY;
	}
	if (r->fd >= 0 && !realpath(path, r->path)) {
		(void)close(r->fd);
		r->fd = -1;
	}
	if (r->fd < 0) {
		REASON("%s: %s%s", path, msg_strerror(errno),
		       errno == ENOTCONN ? "; the daemon behind this mount has "
					   "died: unmount and mount it again"
					 : "");
		return STATUS_FAILED;
	}
	base = strrchr(r->path, '/') + 1;
	if (!name_from_mount(r))
		set_name(r, *base ? base : "/", *base ? strlen(base) : 1);
	return 0;
}

static int look_root(struct root *r, const char *path, char *reason)
{
	static const char *const wanted[] = { "bin", "etc", "usr" };
	char missing[32] = "";

	for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
		if (directory_inside(r->fd, wanted[i]))
			continue;
		strcat(missing, *missing ? ", " : "");
		strcat(missing, wanted[i]);
	}
	if (!*missing)
		return 0;
	REASON("%s: is not the root of a system: it has no directory %s", path,
	       missing);
	return STATUS_NOT_A_ROOT;
}

static int look_shell(struct root *r, const char *path, char *reason)
{
	if (executable_inside(r->fd, "bin/sh"))
		return 0;
	REASON("%s: has no shell: /bin/sh in it is missing, leads out of it or "
	       "cannot be executed",
	       path);
	return STATUS_NO_SHELL;
}

static int look_arch(struct root *r, const char *path, char *reason)
{
	unsigned char bytes[ARCH_HEADER_BYTES];
	char theirs[64], ours[64];
	struct arch own, other;
	CLEANUP_CLOSE int fd = -1;
	ssize_t n;

	/* Without a regular file the check of the shell has spoken. */
	if (!executable_inside(r->fd, "bin/sh"))
		return 0;
	fd = root_open_inside(r->fd, "bin/sh", O_RDONLY | O_NONBLOCK, 0);
	n = fd < 0 ? -1 : read(fd, bytes, sizeof(bytes));
	if (n < 0) {
		REASON("%s: /bin/sh in it cannot be read: %s", path,
		       msg_strerror(fd < 0 ? fd : errno));
		return STATUS_FAILED;
	}
	if (arch_parse(bytes, (size_t)n, &other) < 0) {
		REASON("%s: /bin/sh in it is not an ELF program", path);
		return STATUS_WRONG_ARCH;
	}
	if (arch_self(&own) < 0) {
		REASON("the architecture of this machine is not known: is "
		       "/proc mounted?");
		return STATUS_FAILED;
	}
	r->fit = arch_fit(&own, &other);
	if (r->fit == ARCH_FOREIGN && arch_emulated(bytes, (size_t)n))
		r->fit = ARCH_EMULATED;
	if (r->fit != ARCH_FOREIGN)
		return 0;
	REASON("%s: its programs are for %s; this machine runs %s. To enter "
	       "it all the same, install an emulator registered with "
	       "binfmt_misc and flag F (qemu-user-static)",
	       path, arch_describe(&other, theirs, sizeof(theirs)),
	       arch_describe(&own, ours, sizeof(ours)));
	return STATUS_WRONG_ARCH;
}

/* What we mount on must be directories of the root's own: a symbolic link in
 * the place of /proc means a damaged or a hostile root, not another layout. */
static int look_layout(struct root *r, const char *path, char *reason)
{
	static const char *const points[] = { "proc", "sys", "dev", "run" };

	for (size_t i = 0; i < ARRAY_LEN(points); i++) {
		CLEANUP_CLOSE int fd = root_open_inside(r->fd, points[i],
							O_PATH | O_NOFOLLOW, 0);
		struct stat st;

		/* A missing one is made on entering. */
		if (fd == -ENOENT)
			continue;
		if (fd < 0 || fstat(fd, &st) < 0) {
			REASON("%s: /%s in it: %s", path, points[i],
			       msg_strerror(fd < 0 ? fd : errno));
			return STATUS_FAILED;
		}
		if (S_ISDIR(st.st_mode))
			continue;
		REASON("%s: /%s in it is %s, not a directory; nothing can be "
		       "mounted there safely",
		       path, points[i],
		       S_ISLNK(st.st_mode) ? "a symbolic link" : "a file");
		return STATUS_BAD_LAYOUT;
	}
	return 0;
}

/* Never fails: a root without /etc/passwd can still be entered. */
static int look_login(struct root *r, const char *path, char *reason)
{
	CLEANUP_FCLOSE FILE *passwd = open_text(r->fd, "etc/passwd");
	CLEANUP_FCLOSE FILE *group = open_text(r->fd, "etc/group");
	const struct passwd *pw = NULL;
	const struct group *gr = NULL;

	while (passwd && (pw = fgetpwent(passwd)) && pw->pw_uid != 0)
		;
	if (!pw)
		REASON("no entry for uid 0 in its /etc/passwd; taken as root, "
		       "/root, /bin/sh");
	else if (pw->pw_shell[0] != '/' || strlen(pw->pw_shell) >= 256 ||
		 !executable_inside(r->fd, pw->pw_shell))
		REASON("the shell of %.60s, \"%.200s\", cannot be executed; "
		       "/bin/sh is taken",
		       pw->pw_name, pw->pw_shell);
	else
		(void)snprintf(r->shell, sizeof(r->shell), "%s", pw->pw_shell);
	if (pw) {
		(void)snprintf(r->user, sizeof(r->user), "%s", pw->pw_name);
		(void)snprintf(r->home, sizeof(r->home), "%s", pw->pw_dir);
	}
	while (group && (gr = fgetgrent(group)) && strcmp(gr->gr_name, "tty"))
		;
	if (gr)
		r->tty_gid = gr->gr_gid;
	r->has_env_update = executable_inside(r->fd, "usr/sbin/env-update");
	return 0;
}

/* Never fails: a build may do without names. */
static int look_resolv(struct root *r, const char *path, char *reason)
{
	CLEANUP_CLOSE int fd = root_open_inside(r->fd, "etc/resolv.conf",
						O_PATH | O_NOFOLLOW, 0);

	r->resolv = fd >= 0 ? RESOLV_PRESENT : RESOLV_ABSENT;
	if (fd < 0)
		REASON("it has no /etc/resolv.conf to mount this machine's "
		       "over, so host names will not resolve inside; an empty "
		       "file there is enough");
	return 0;
}

static const struct check checks[] = {
	{ "superuser", false, look_superuser },
	{ "directory", false, look_directory },
	{ "root", true, look_root },
	{ "shell", true, look_shell },
	{ "architecture", true, look_arch },
	{ "mount points", true, look_layout },
	{ "login", true, look_login },
	{ "resolv.conf", true, look_resolv },
};

int root_check(struct root *r, const char *path, bool all,
	       root_report_fn *report, void *arg)
{
	int first = 0;

	*r = (struct root){ .fd = -1,
			    .user = "root",
			    .home = "/root",
			    .shell = "/bin/sh",
			    .tty_gid = TTY_GID_DEFAULT };
	for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
		struct root_verdict v = { .check = checks[i].name };

		if (checks[i].needs_directory && r->fd < 0)
			continue;
		v.status = checks[i].look(r, path, v.reason);
		report(arg, &v);
		if (v.status != 0 && first == 0)
			first = v.status;
		if (v.status != 0 && !all)
			break;
	}
	return first;
}

void root_close(struct root *r)
{
	if (r->fd >= 0)
		(void)close(r->fd);
	r->fd = -1;
}

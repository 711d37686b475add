/* SPDX-License-Identifier: GPL-2.0-or-later */
/* attach.c: owns the directories below /run/chrootctl of this machine, one a
 * session that mounts its own root, and the calls of nfsrootfs.
 *
 * nfsrootfs is looked for, in this order: where $NFSROOTFS says; in the build
 * tree that this program is part of; beside this program; in PATH.
 */
#include "attach.h"

#include <string.h>
#include <sys/stat.h>

#include "msg.h"
#include "run.h"
#include "status.h"

static const char sessions_dir[] = "/run/chrootctl";

/* What `nfsrootfs umount` ends with when it has unmounted, but changes are left
 * that the next mount will send; nfsrootfs(8). */
enum { NFSROOTFS_PENDING = 59 };

bool attach_is_server(const char *text)
{
	const char *colon = strstr(text, ":/");
	const char *slash = strchr(text, '/');

	return colon && colon > text && slash == colon + 1;
}

static void find_nfsrootfs(char ret[PATH_MAX])
{
	static const char *const places[] = { "../fs/nfsrootfs", "nfsrootfs" };
	const char *chosen = getenv("NFSROOTFS");
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	(void)snprintf(ret, PATH_MAX, "%s",
		       chosen && *chosen ? chosen : "nfsrootfs");
	if (n < 0 || (chosen && *chosen))
		return;
	self[n] = '\0';
	slash = strrchr(self, '/');
	for (size_t i = 0; slash && i < ARRAY_LEN(places); i++) {
		char path[PATH_MAX];

		if (snprintf(path, sizeof(path), "%.*s/%s", (int)(slash - self),
			     self, places[i]) >= (int)sizeof(path))
			continue;
		if (access(path, X_OK) < 0)
			continue;
		strcpy(ret, path);
		return;
	}
}

/* Runs nfsrootfs with @args, which are not changed. Returns its status. */
static int nfsrootfs(const char *const args[])
{
	char file[PATH_MAX], name[] = "nfsrootfs";
	char *argv[8] = { name };
	struct run_command c = { .file = file, .argv = argv };
	size_t n = 1;
	pid_t pid;
	int r;

	find_nfsrootfs(file);
	/* execve() takes char *const [] for history's sake only. */
	for (; args[n - 1] && n < ARRAY_LEN(argv) - 1; n++)
		memcpy(&argv[n], &args[n - 1], sizeof(argv[n]));
	r = run_spawn(&c, &pid);
	if (r < 0) {
		msg_error("cannot start a process: %s", msg_strerror(r));
		return STATUS_FAILED;
	}
	return run_wait(pid);
}

static int make_directory(const char *server, char ret_dir[PATH_MAX])
{
	char *name;

	/* 0700: the root is none of the users' business until it is entered. */
	if (mkdir(sessions_dir, 0700) < 0 && errno != EEXIST) {
		msg_error("cannot make the directory %s: %s", sessions_dir,
			  msg_strerror(errno));
		return STATUS_FAILED;
	}
	(void)snprintf(ret_dir, PATH_MAX, "%s/%.64s.XXXXXX", sessions_dir,
		       server);
	name = ret_dir + sizeof(sessions_dir);
	name[strcspn(name, "/")] = '_';
	for (char *p = strchr(name, '/'); p; p = strchr(p, '/'))
		*p = '_';
	if (!mkdtemp(ret_dir)) {
		msg_error("cannot make a directory in %s: %s", sessions_dir,
			  msg_strerror(errno));
		return STATUS_FAILED;
	}
	return 0;
}

int attach(const char *server, const char *options, char ret_dir[PATH_MAX])
{
	const char *args[] = { "mount", server, ret_dir, options ? "-o" : NULL,
			       options, NULL };
	int status = make_directory(server, ret_dir);

	if (status != 0)
		return status;
	status = nfsrootfs(args);
	if (status == 0)
		return 0;
	if (rmdir(ret_dir) < 0)
		msg_warning("cannot remove %s: %s", ret_dir,
			    msg_strerror(errno));
	if (run_interrupted())
		return STATUS_SIGNAL + run_interrupted();
	msg_error("cannot mount %s: nfsrootfs ended with status %d", server,
		  status);
	return STATUS_NOT_MOUNTED;
}

void attach_sync(const char *path)
{
	const char *args[] = { "sync", path, NULL };
	int status = nfsrootfs(args);

	if (status != 0)
		msg_warning("the server does not have all that was changed in "
			    "%s: nfsrootfs sync ended with status %d",
			    path, status);
}

int attach_undo(const char *server, const char *dir, bool now)
{
	const char *args[] = { "umount", dir, now ? "--now" : NULL, NULL };
	int status = nfsrootfs(args);

	/* 59: it has said itself what is left, and where. */
	if (status != 0 && status != NFSROOTFS_PENDING) {
		msg_error("%s is still mounted on %s: nfsrootfs ended with "
			  "status %d; unmount it with: nfsrootfs umount %s",
			  server, dir, status, dir);
		return STATUS_FAILED;
	}
	if (rmdir(dir) < 0) {
		msg_error("cannot remove %s: %s", dir, msg_strerror(errno));
		return STATUS_FAILED;
	}
	return 0;
}

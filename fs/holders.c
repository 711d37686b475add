/* SPDX-License-Identifier: GPL-2.0-or-later */
/* holders.c: a walk over /proc. Only links and texts of /proc are read, so that
 * a mount whose server does not answer cannot stop it. A process that ends
 * meanwhile is passed over.
 */
#include "holders.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/types.h>

enum { DESCRIBED_MAX = 10, NAMESPACES_MAX = 64 };

struct search {
	const struct mountinfo_entry *mount;
	char own_ns[64];
	/* Mount namespaces that were looked at: most processes share one. */
	char seen[NAMESPACES_MAX][64];
	unsigned seen_n;
};

static bool link_text(int dir_fd, const char *name, char *buf, size_t size)
{
	ssize_t n = readlinkat(dir_fd, name, buf, size - 1);

	if (n < 0)
		return false;
	buf[n] = '\0';
	return true;
}

/* Each returns how the process holds the mount, or NULL; @what: the path. */

static const char *by_link(const struct search *s, int proc_fd,
			   char what[PATH_MAX])
{
	static const char *const links[] = { "cwd", "root", "exe" };
	static const char *const how[] = { "current directory", "root",
					   "runs" };

	for (size_t i = 0; i < ARRAY_LEN(links); i++)
		if (link_text(proc_fd, links[i], what, PATH_MAX) &&
		    path_is_beneath(what, s->mount->where))
			return how[i];
	return NULL;
}

static const char *by_open_file(const struct search *s, int proc_fd,
				char what[PATH_MAX])
{
	int fd = openat(proc_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const char *how = NULL;
	struct dirent *e;

	if (!dir)
		return NULL;
	while (!how && (e = readdir(dir)))
		if (link_text(dirfd(dir), e->d_name, what, PATH_MAX) &&
		    path_is_beneath(what, s->mount->where))
			how = "open";
	(void)closedir(dir);
	return how;
}

static const char *by_mapping(const struct search *s, int proc_fd,
			      char what[PATH_MAX])
{
	CLEANUP_FCLOSE FILE *f = NULL;
	CLEANUP_FREE char *line = NULL;
	int fd = openat(proc_fd, "maps", O_RDONLY | O_CLOEXEC);
	size_t size = 0;

	f = fd < 0 ? NULL : fdopen(fd, "r");
	while (f && getline(&line, &size, f) > 0) {
		char *path = strchr(line, '/');

		if (!path || !path_is_beneath(path, s->mount->where))
			continue;
		(void)snprintf(what, PATH_MAX, "%.*s",
			       (int)strcspn(path, "\n"), path);
		return "maps";
	}
	return NULL;
}

/* A copy that our umount(2) would reach by propagation is no obstacle. */
static bool is_kept(const struct mountinfo_entry *ours,
		    const struct mountinfo_entry *e)
{
	return e->major == ours->major && e->minor == ours->minor &&
	       !(ours->shared && (e->shared == ours->shared ||
				  e->master == ours->shared));
}

static const char *by_namespace(struct search *s, int proc_fd,
				char what[PATH_MAX])
{
	const char *how = NULL;
	struct mountinfo m;
	char path[64], ns[64];

	if (!link_text(proc_fd, "ns/mnt", ns, sizeof(ns)) ||
	    strcmp(ns, s->own_ns) == 0)
		return NULL;
	for (unsigned i = 0; i < s->seen_n; i++)
		if (strcmp(s->seen[i], ns) == 0)
			return NULL;
	if (s->seen_n < NAMESPACES_MAX)
		strcpy(s->seen[s->seen_n++], ns);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d/mountinfo",
		       proc_fd);
	if (mountinfo_read(path, &m) < 0)
		return NULL;
	for (size_t i = 0; i < m.n && !how; i++)
		if (is_kept(s->mount, &m.entries[i])) {
			(void)snprintf(what, PATH_MAX, "%s",
				       m.entries[i].where);
			how = "has it in its own mount namespace at";
		}
	mountinfo_done(&m);
	return how;
}

static void describe(int proc_fd, const char *pid, const char *how,
		     const char *what, FILE *out)
{
	char comm[32] = "?";
	int fd = openat(proc_fd, "comm", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, comm, sizeof(comm) - 1);

	if (n > 0)
		comm[n - (comm[n - 1] == '\n')] = '\0';
	cleanup_closep(&fd);
	(void)fprintf(out, "  process %s (%s): %s %s\n", pid, comm, how, what);
}

int holders_find(const struct mountinfo_entry *mount, pid_t except, FILE *out)
{
	struct search s = { .mount = mount };
	DIR *proc = opendir("/proc");
	struct dirent *e;
	int n = 0;

	if (!proc)
		return -errno;
	(void)link_text(dirfd(proc), "self/ns/mnt", s.own_ns, sizeof(s.own_ns));
	while ((e = readdir(proc))) {
		CLEANUP_CLOSE int fd = -1;
		char what[PATH_MAX];
		const char *how;
		pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);

		if (pid <= 0 || pid == except || pid == getpid())
			continue;
		fd = openat(dirfd(proc), e->d_name,
			    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			continue;
		how = by_link(&s, fd, what);
		if (!how)
			how = by_open_file(&s, fd, what);
		if (!how)
			how = by_mapping(&s, fd, what);
		if (!how)
			how = by_namespace(&s, fd, what);
		if (how && n++ < DESCRIBED_MAX)
			describe(fd, e->d_name, how, what, out);
	}
	(void)closedir(proc);
	return n;
}

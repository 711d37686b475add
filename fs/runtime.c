/* SPDX-License-Identifier: GPL-2.0-or-later */
/* runtime.c: owns the names of the files under /run/nfsrootfs. No state. */
#include "runtime.h"

#include <string.h>
#include <sys/stat.h>

#include "escape.h"

void runtime_path(const char *mountpoint, const char *suffix,
		  char ret[RUNTIME_PATH_BYTES])
{
	char name[ESCAPE_BYTES];

	escape_name(mountpoint, name);
	(void)snprintf(ret, RUNTIME_PATH_BYTES, RUNTIME_DIR "/%s.%s", name,
		       suffix);
}

int runtime_make_dir(void)
{
	if ((mkdir("/run", 0755) < 0 && errno != EEXIST) ||
	    (mkdir(RUNTIME_DIR, 0700) < 0 && errno != EEXIST))
		return -errno;
	return 0;
}

/* A newline in a path is written as the kernel does in mountinfo. */
static void write_line(FILE *f, const char *path)
{
	for (; *path; path++)
		if (*path == '\n' || *path == '\\')
			(void)fprintf(f, "\\%03o", (unsigned)*path);
		else
			(void)fputc(*path, f);
	(void)fputc('\n', f);
}

int runtime_write_areas(const char *mountpoint, const struct areas *areas)
{
	char path[RUNTIME_PATH_BYTES];
	CLEANUP_FCLOSE FILE *f = NULL;

	runtime_path(mountpoint, "areas", path);
	f = fopen(path, "we");
	if (!f)
		return -errno;
	for (unsigned i = 0; i < areas->n; i++)
		write_line(f, areas->list[i].where);
	return fflush(f) == 0 ? 0 : -errno;
}

static char *read_line(FILE *f)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t n = getline(&line, &size, f);
	char *to = line;

	if (n <= 0 || line[n - 1] != '\n') {
		free(line);
		return NULL;
	}
	line[n - 1] = '\0';
	for (const char *p = line; *p; p++) {
		if (strncmp(p, "\\012", 4) == 0 || strncmp(p, "\\134", 4) == 0) {
			*to++ = p[1] == '0' ? '\n' : '\\';
			p += 3;
		} else {
			*to++ = *p;
		}
	}
	*to = '\0';
	return line;
}

int runtime_read_areas(const char *mountpoint, char ***ret)
{
	char path[RUNTIME_PATH_BYTES];
	char **paths = calloc(LIMIT_TMP_AREAS + 1, sizeof(*paths));
	CLEANUP_FCLOSE FILE *f = NULL;

	if (!paths)
		return -ENOMEM;
	runtime_path(mountpoint, "areas", path);
	f = fopen(path, "re");
	for (unsigned i = 0; f && i < LIMIT_TMP_AREAS; i++) {
		paths[i] = read_line(f);
		if (!paths[i])
			break;
	}
	*ret = paths;
	return 0;
}

void runtime_free_areas(char **paths)
{
	for (unsigned i = 0; paths && paths[i]; i++)
		free(paths[i]);
	free(paths);
}

void runtime_remove(const char *mountpoint)
{
	char path[RUNTIME_PATH_BYTES];

	runtime_path(mountpoint, "sock", path);
	(void)unlink(path);
	runtime_path(mountpoint, "areas", path);
	(void)unlink(path);
}

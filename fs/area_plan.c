/* SPDX-License-Identifier: GPL-2.0-or-later */
/* area_plan.c: knows the places where builds happen. Portage's is read from the
 * root's own make.conf, which may be a file or a directory of files; all of it
 * is untrusted text and read through inroot.h.
 */
#include "area_plan.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#include "../cache/msg.h"
#include "mountinfo.h"

#define MAKE_CONF "/etc/portage/make.conf"
enum { FILE_BYTES_MAX = 1024 * 1024, CONF_FILES_MAX = 256 };

/* ---- text ---- */

/* What stands behind "NAME=": 'x', "x", or x up to a blank. */
static int shell_word(const char *p, char **ret)
{
	char quote = *p == '"' || *p == '\'' ? *p : '\0';
	size_t n;

	if (quote)
		p++;
	n = quote ? strcspn(p, (char[]){ quote, '\n', '\0' }) :
		    strcspn(p, " \t\n;#");
	if (quote && p[n] != quote)
		return -EINVAL;
	/* Not a shell: nothing is expanded. */
	if (quote != '\'' && memchr(p, '$', n))
		return -EINVAL;
	if (quote != '\'' && (memchr(p, '`', n) || memchr(p, '\\', n)))
		return -EINVAL;
	*ret = strndup(p, n);
	return *ret ? 0 : -ENOMEM;
}

int area_plan_shell_value(const char *text, const char *name, char **ret)
{
	CLEANUP_FREE char *value = NULL;
	size_t len = strlen(name);
	int r = -ENOENT;

	while (*text) {
		const char *p = text + strspn(text, " \t");

		if (strncmp(p, "export ", 7) == 0 ||
		    strncmp(p, "export\t", 7) == 0) {
			p += 7;
			p += strspn(p, " \t");
		}
		if (strncmp(p, name, len) == 0 && p[len] == '=') {
			free(STEAL_PTR(value));
			r = shell_word(p + len + 1, &value);
		}
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
	if (r == 0)
		*ret = STEAL_PTR(value);
	return r;
}

int area_plan_user(const char *text, const char *user, uid_t *ret_uid,
		   gid_t *ret_gid)
{
	size_t len = strlen(user);
	unsigned uid, gid;

	for (; *text; text += *text == '\n') {
		if (strncmp(text, user, len) == 0 && text[len] == ':' &&
		    sscanf(text + len, ":%*[^:\n]:%u:%u:", &uid, &gid) == 2) {
			*ret_uid = uid;
			*ret_gid = gid;
			return 0;
		}
		text += strcspn(text, "\n");
	}
	return -ENOENT;
}

/* ---- portage's place ---- */

/* Takes over *@value when the file sets the variable. */
static void read_conf(int root_fd, const char *path, char **value)
{
	CLEANUP_FREE char *text = NULL;
	char *found = NULL;
	int r = inroot_read_file(root_fd, path, FILE_BYTES_MAX, &text);

	if (r == 0)
		r = area_plan_shell_value(text, "PORTAGE_TMPDIR", &found);
	if (r == 0) {
		free(*value);
		*value = found;
	} else if (r != -ENOENT) {
		msg_warning("%s in the root: PORTAGE_TMPDIR cannot be read: "
			    "%s; name the place with -o tmp=",
			    path,
			    r == -EINVAL ? "it takes a shell to work it out" :
					   msg_strerror(r));
	}
}

static int conf_file(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return e->d_name[0] != '.' && e->d_name[n - 1] != '~';
}

/* PORTAGE_TMPDIR/portage, malloc'ed; NULL without memory. */
static char *portage_place(int root_fd)
{
	CLEANUP_CLOSE int fd =
		inroot_open(root_fd, MAKE_CONF, O_RDONLY | O_DIRECTORY);
	CLEANUP_FREE char *dir = NULL;
	struct dirent **list = NULL;
	char *place = NULL;
	int n = fd < 0 ? 0 : scandirat(fd, ".", &list, conf_file, alphasort);

	if (fd < 0)
		read_conf(root_fd, MAKE_CONF, &dir);
	for (int i = 0; i < n; i++) {
		CLEANUP_FREE char *path = NULL;

		if (i < CONF_FILES_MAX && asprintf(&path, MAKE_CONF "/%s",
						   list[i]->d_name) >= 0)
			read_conf(root_fd, path, &dir);
		free(list[i]);
	}
	free(list);
	return asprintf(&place, "%s/portage", dir ? dir : "/var/tmp") < 0 ?
		       NULL :
		       place;
}

/* ---- public ---- */

static int by_path(const void *a, const void *b)
{
	const struct config_area *x = a, *y = b;

	return strcmp(x->path, y->path);
}

/* A place below another area needs none of its own. */
static bool is_covered(const struct config *c, const char *path)
{
	for (unsigned i = 0; i < c->areas_n; i++)
		if (path_is_beneath(path, c->areas[i].path))
			return true;
	return false;
}

int area_plan(struct config *c, int root_fd)
{
	CLEANUP_FREE char *portage = NULL, *clean = NULL;
	int r = 0;

	if (!c->areas_given && !c->no_areas) {
		portage = portage_place(root_fd);
		if (!portage)
			return -ENOMEM;
		r = config_add_area(c, "/tmp", AREA_DIR, NULL);
		if (r < 0)
			return r;
		if (config_clean_path(portage, &clean) < 0)
			msg_warning("PORTAGE_TMPDIR of the root gives %s, "
				    "which is no place for a tmp area",
				    portage);
		else if (!is_covered(c, clean))
			r = config_add_area(c, clean, AREA_DIR, NULL);
	}
	qsort(c->areas, c->areas_n, sizeof(c->areas[0]), by_path);
	return r;
}

void area_plan_dir(const char *path, int root_fd, struct inroot_dir *ret)
{
	CLEANUP_FREE char *passwd = NULL;
	const char *name = strrchr(path, '/') + 1;

	*ret = (struct inroot_dir){ .mode = 0755 };
	if (strcmp(name, "tmp") == 0) {
		ret->mode = 01777;
	} else if (strcmp(name, "portage") == 0) {
		ret->mode = 0775;
		if (inroot_read_file(root_fd, "/etc/passwd", FILE_BYTES_MAX,
				     &passwd) == 0)
			(void)area_plan_user(passwd, "portage", &ret->uid,
					     &ret->gid);
	}
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mountinfo.c: parses /proc/PID/mountinfo, see proc_pid_mountinfo(5). */
#include "mountinfo.h"

#include <string.h>

/* The kernel writes space, tab, newline and backslash as \ooo. In place. */
static void unescape(char *s)
{
	char *to = s;

	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' &&
		    s[2] <= '7' && s[3] >= '0' && s[3] <= '7') {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 |
				       (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = '\0';
}

static char *word_copy(const char *word)
{
	char *s = word ? strdup(word) : NULL;

	if (s)
		unescape(s);
	return s;
}

static void entry_done(struct mountinfo_entry *e)
{
	free(e->root);
	free(e->where);
	free(e->fstype);
	free(e->source);
}

/* "36 35 98:0 /root /where rw,relatime shared:1 - ext4 /dev/sda rw" */
static int parse(char *line, struct mountinfo_entry *ret)
{
	struct mountinfo_entry e = { 0 };
	char *rest = strstr(line, " - "), *at = NULL, *tag;
	int used = 0;

	if (!rest || sscanf(line, "%d %d %u:%u %n", &e.id, &e.parent, &e.major,
			    &e.minor, &used) != 4)
		return -EBADMSG;
	*rest = '\0';
	e.root = word_copy(strtok_r(line + used, " ", &at));
	e.where = word_copy(strtok_r(NULL, " ", &at));
	while ((tag = strtok_r(NULL, " ", &at))) {
		(void)sscanf(tag, "shared:%u", &e.shared);
		(void)sscanf(tag, "master:%u", &e.master);
	}
	e.fstype = word_copy(strtok_r(rest + 3, " ", &at));
	e.source = word_copy(strtok_r(NULL, " ", &at));
	if (!e.root || !e.where || !e.fstype || !e.source) {
		entry_done(&e);
		return -EBADMSG;
	}
	*ret = e;
	return 0;
}

int mountinfo_read(const char *path, struct mountinfo *ret)
{
	CLEANUP_FCLOSE FILE *f = fopen(path, "re");
	CLEANUP_FREE char *line = NULL;
	struct mountinfo m = { 0 };
	size_t size = 0, room = 0;
	ssize_t len;
	int r = 0;

	if (!f)
		return -errno;
	while (r == 0 && (len = getline(&line, &size, f)) > 0) {
		if (line[len - 1] == '\n')
			line[len - 1] = '\0';
		if (m.n == room) {
			struct mountinfo_entry *more = reallocarray(
				m.entries, room + 64, sizeof(*more));

			if (!more) {
				r = -ENOMEM;
				break;
			}
			m.entries = more;
			room += 64;
		}
		r = parse(line, &m.entries[m.n]);
		if (r == 0)
			m.n++;
	}
	if (r == 0 && ferror(f))
		r = -EIO;
	if (r < 0)
		mountinfo_done(&m);
	else
		*ret = m;
	return r;
}

void mountinfo_done(struct mountinfo *m)
{
	for (size_t i = 0; i < m->n; i++)
		entry_done(&m->entries[i]);
	free(m->entries);
	*m = (struct mountinfo){ 0 };
}

const struct mountinfo_entry *mountinfo_at(const struct mountinfo *m,
					   const char *where)
{
	const struct mountinfo_entry *found = NULL;

	/* Of several at one place the one on top was mounted on another of
	 * them; with plain stacking that is the last. */
	for (size_t i = 0; i < m->n; i++)
		if (strcmp(m->entries[i].where, where) == 0)
			found = &m->entries[i];
	return found;
}

bool mountinfo_is_ours(const struct mountinfo_entry *e)
{
	return strcmp(e->fstype, MOUNTINFO_FSTYPE) == 0;
}

bool path_is_beneath(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	if (n == 1) /* "/" */
		return true;
	return strncmp(path, dir, n) == 0 && (path[n] == '/' || !path[n]);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* conflicts.c: the conflicts command: lists what the server refuses and what was
 * changed on both sides, and settles it.
 *
 * Which of two files to keep is carried out here, in the mounted tree, because
 * it may wait for the server, which the daemon's control thread must not. The
 * tree is not to be trusted: a path is followed without symlinks, and not into
 * what is mounted on top.
 */
#include "command.h"

#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <libgen.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>

#include "../cache/msg.h"
#include "drain_client.h"
#include "escape.h"

/* A line of the daemon's list (trouble.h), in pieces of it. */
struct conflict {
	const char *id;
	bool is_copy;
	char *path, *copy; /* from the mount point; "": not known */
};

/* ---- files ---- */

/* The directory that @path, from the root of the mount, is in. */
static int open_parent(const char *where, const char *path)
{
	struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
			   RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
	};
	CLEANUP_CLOSE int root =
		open(where, O_PATH | O_DIRECTORY | O_CLOEXEC);
	CLEANUP_FREE char *copy = strdup(path + strspn(path, "/"));
	const char *dir;
	long fd;

	if (root < 0)
		return -errno;
	if (!copy)
		return -ENOMEM;
	dir = dirname(copy);
	do {
		fd = syscall(SYS_openat2, root, dir, &how, sizeof(how));
	} while (fd < 0 && errno == EAGAIN);
	return fd < 0 ? -errno : (int)fd;
}

static const char *last_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Both are in one directory. */
static int keep_theirs(int dir, const struct conflict *c)
{
	return renameat(dir, last_name(c->copy), dir, last_name(c->path)) < 0 ?
		       -errno :
		       0;
}

static int keep_ours(int dir, const struct conflict *c)
{
	const char *name = last_name(c->copy);
	int r = unlinkat(dir, name, 0) < 0 ? -errno : 0;

	if (r == -EISDIR)
		r = unlinkat(dir, name, AT_REMOVEDIR) < 0 ? -errno : 0;
	return r == -ENOENT ? 0 : r; /* somebody has done it already */
}

static int settle_files(const char *where, const struct conflict *c,
			const char *keep)
{
	CLEANUP_CLOSE int dir = -1;

	if (!*c->path || !*c->copy)
		return -ENOENT;
	dir = open_parent(where, c->copy);
	if (dir < 0)
		return dir;
	return *keep == 'o' ? keep_ours(dir, c) : keep_theirs(dir, c);
}

/* ---- settling ---- */

static enum exitcode settle(const char *where, const struct conflict *c,
			    const char *keep)
{
	CLEANUP_FREE char *text = NULL;
	char request[64];
	int r;

	if (c->is_copy && strcmp(keep, "both") != 0) {
		r = settle_files(where, c, keep);
		if (r < 0) {
			msg_error("conflict %s: %s%s cannot be %s: %s; when "
				  "it is settled otherwise: --keep both",
				  c->id, where,
				  *c->copy ? c->copy : ": its copy",
				  *keep == 'o' ? "removed" : "renamed",
				  msg_strerror(r));
			return EXITCODE_FAILED;
		}
		keep = "both";
	} else if (!c->is_copy && strcmp(keep, "both") == 0) {
		msg_error("conflict %s: the server refuses the change, so "
			  "there is nothing else to keep: ours (try again) or "
			  "theirs (give it up)",
			  c->id);
		return EXITCODE_FAILED;
	}
	(void)snprintf(request, sizeof(request), "resolve %s %s", c->id, keep);
	r = drain_ask(where, request, "ok", &text);
	return r == 0	       ? EXITCODE_OK :
	       r == -ENOTCONN ? EXITCODE_DEAD :
				EXITCODE_FAILED;
}

/* Takes a line of the list apart; false at its end. */
static bool next_conflict(char **at, struct conflict *ret)
{
	char *line = strsep(at, "\n"), *fields[4];

	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		fields[i] = line ? strsep(&line, "\t") : NULL;
		if (!fields[i])
			return false;
	}
	*ret = (struct conflict){ .id = fields[0],
				  .is_copy = strcmp(fields[1], "copy") == 0,
				  .path = fields[2], .copy = fields[3] };
	unescape_text(ret->path);
	unescape_text(ret->copy);
	return true;
}

/* Marks those of @ids that @id is. */
static bool is_wanted(const char *id, int n, char **ids, bool *found)
{
	bool wanted = false;

	for (int i = 0; i < n; i++)
		if (strcmp(ids[i], id) == 0 || strcmp(ids[i], "all") == 0)
			wanted = found[i] = true;
	return wanted;
}

static enum exitcode settle_list(const char *where, const char *keep, int n,
				 char **ids)
{
	CLEANUP_FREE char *list = NULL;
	CLEANUP_FREE bool *found = calloc((size_t)n, sizeof(*found));
	enum exitcode worst = EXITCODE_OK;
	struct conflict c;
	char *at;
	int r;

	if (!found)
		return EXITCODE_SYSTEM;
	r = drain_ask(where, "conflicts list", "list", &list);
	if (r < 0)
		return r == -ENOTCONN ? EXITCODE_DEAD : EXITCODE_FAILED;
	at = list;
	while (next_conflict(&at, &c))
		if (is_wanted(c.id, n, ids, found)) {
			enum exitcode x = settle(where, &c, keep);

			worst = MAX(worst, x);
		}
	for (int i = 0; i < n; i++)
		if (!found[i] && strcmp(ids[i], "all") != 0) {
			msg_error("%s: there is no conflict %s", where, ids[i]);
			worst = worst == EXITCODE_OK ? EXITCODE_FAILED : worst;
		}
	return worst;
}

/* ---- the command ---- */

static enum exitcode list(const char *where, bool json)
{
	CLEANUP_FREE char *text = NULL;
	int r = drain_ask(where, json ? "conflicts json" : "conflicts text",
			  "list", &text);

	if (r < 0)
		return r == -ENOTCONN ? EXITCODE_DEAD : EXITCODE_FAILED;
	(void)fputs(text, stdout);
	return EXITCODE_OK;
}

static enum exitcode run(const char *path, const char *keep, bool json, int n,
			 char **ids)
{
	const struct mountinfo_entry *e;
	struct mountinfo m;
	enum exitcode x = command_need_root("conflicts");

	if (x == EXITCODE_OK)
		x = command_mounts(&m);
	if (x != EXITCODE_OK)
		return x;
	e = command_find_mount(&m, path, false);
	x = !e	   ? EXITCODE_NOT_MOUNTED :
	    !keep ? list(e->where, json) :
		    settle_list(e->where, keep, n, ids);
	mountinfo_done(&m);
	return x;
}

enum exitcode command_conflicts(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "keep", required_argument, NULL, 'k' },
		{ NULL, 0, NULL, 0 },
	};
	const char *keep = NULL;
	bool json = false;
	int c, n;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'j')
			json = true;
		else if (c == 'k')
			keep = optarg;
		else
			return command_usage("conflicts takes --json and "
					     "--keep ours|theirs|both");
	}
	if (keep && strcmp(keep, "ours") != 0 && strcmp(keep, "theirs") != 0 &&
	    strcmp(keep, "both") != 0)
		return command_usage("--keep %s: ours, theirs or both", keep);
	if (keep && json)
		return command_usage("--json is for the list, not for --keep");
	n = argc - optind - 1;
	if (n < 0)
		return command_usage("conflicts wants a mount point");
	if (keep && n == 0)
		return command_usage("which conflicts? Their numbers, or all");
	if (!keep && n > 0)
		return command_usage("what is to be kept? --keep ours, theirs "
				     "or both");
	return run(argv[optind], keep, json, n, argv + optind + 1);
}

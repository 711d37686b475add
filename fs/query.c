/* SPDX-License-Identifier: GPL-2.0-or-later */
/* query.c: the status command: asks the daemon of one mount, or of each one in
 * the mount table. A mount whose daemon died has nobody to ask and is shown as
 * dead.
 */
#include "command.h"

#include <getopt.h>
#include <string.h>

#include "../cache/msg.h"
#include "control.h"
#include "json.h"
#include "mountinfo.h"

static char *dead(const struct mountinfo_entry *e, bool json)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	struct json j = JSON_INIT(out);

	if (!out)
		return NULL;
	if (json) {
		json_object(&j, NULL);
		json_string(&j, "source", e->source);
		json_string(&j, "mountpoint", e->where);
		json_string(&j, "state", "dead");
		json_object_end(&j);
		(void)fputc('\n', out);
	} else {
		(void)fprintf(out,
			      "%s on %s\n  DEAD: its daemon has ended; "
			      "nfsrootfs umount %s cleans up\n",
			      e->source, e->where, e->where);
	}
	(void)fclose(out);
	return text;
}

/* Prints one answer. */
static enum exitcode show(const struct mountinfo_entry *e, bool json)
{
	int fd = control_connect(e->where);
	CLEANUP_FREE char *text = NULL;
	enum exitcode x = EXITCODE_OK;
	int r = fd < 0 ? fd :
			 control_ask(fd, json ? "status json" : "status text",
				     &text);

	cleanup_closep(&fd);
	if (r == -ETIMEDOUT) {
		msg_error("%s: the daemon does not answer", e->where);
		return EXITCODE_FAILED;
	}
	if (r < 0) {
		msg_debug("status", "%s: %s", e->where, msg_strerror(r));
		text = dead(e, json);
		x = EXITCODE_DEAD;
	}
	if (!text)
		return EXITCODE_SYSTEM;
	(void)fputs(text, stdout);
	return x;
}

static enum exitcode show_one(const struct mountinfo *m, const char *path,
			      bool json)
{
	const struct mountinfo_entry *e = command_find_mount(m, path, false);

	return e ? show(e, json) : EXITCODE_NOT_MOUNTED;
}

static enum exitcode show_all(const struct mountinfo *m, bool json)
{
	enum exitcode worst = EXITCODE_OK;
	bool first = true;

	if (json)
		(void)puts("[");
	for (size_t i = 0; i < m->n; i++) {
		const struct mountinfo_entry *e = &m->entries[i];
		enum exitcode x;

		if (!mountinfo_is_ours(e) || mountinfo_at(m, e->where) != e)
			continue;
		if (!first)
			(void)fputs(json ? ",\n" : "\n", stdout);
		first = false;
		x = show(e, json);
		worst = MAX(worst, x);
	}
	if (json)
		(void)puts("]");
	else if (first)
		(void)puts("nothing is mounted by nfsrootfs");
	return worst;
}

enum exitcode command_status(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "json", no_argument, NULL, 'j' },
		{ NULL, 0, NULL, 0 },
	};
	struct mountinfo m;
	enum exitcode x;
	bool json = false;
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c != 'j')
			return command_usage("status takes --json only");
		json = true;
	}
	if (argc - optind > 1)
		return command_usage("status wants one mount point, or none");
	x = command_need_root("status");
	if (x == EXITCODE_OK)
		x = command_mounts(&m);
	if (x != EXITCODE_OK)
		return x;
	x = optind < argc ? show_one(&m, argv[optind], json) :
			    show_all(&m, json);
	mountinfo_done(&m);
	return x;
}

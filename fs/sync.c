/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sync.c: the sync command: the barrier. What was done before it, in whatever
 * process, is on the server's stable storage when it ends with 0. sync(2) and
 * syncfs(2) cannot be that: the kernel does not tell a FUSE filesystem of them.
 */
#include "command.h"

#include <getopt.h>

#include "../cache/msg.h"
#include "drain_client.h"

/* What the end of the waiting means, said where it is not plain success. */
static enum exitcode judge(const char *where, int r, const struct drain_state *s)
{
	char n[DRAIN_COUNT_BYTES];

	if (r == -EINTR) {
		msg_info("interrupted; %s of %s still to be sent, which goes "
			 "on",
			 drain_changes(s->changes, n), where);
		return EXITCODE_INTERRUPTED;
	}
	if (r == -ENOTCONN)
		return EXITCODE_DEAD; /* it has been said */
	if (r < 0) {
		msg_debug("drain", "%s: %s", where, msg_strerror(r));
		return EXITCODE_FAILED;
	}
	if (s->copies > 0)
		msg_warning("%s: %llu file%s changed on the server, too; the "
			    "server's version lies beside: nfsrootfs conflicts "
			    "%s",
			    where, (unsigned long long)s->copies,
			    s->copies == 1 ? " was" : "s were", where);
	if (s->stuck == 0)
		return EXITCODE_OK;
	msg_error("%s: the server refuses %s (%s); all else is there. See: "
		  "nfsrootfs conflicts %s",
		  where, drain_changes(s->stuck, n),
		  s->error ? msg_strerror(s->error) : "see the log", where);
	return EXITCODE_CONFLICTS;
}

static enum exitcode sync_one(const struct mountinfo *m, const char *path,
			      struct json *j)
{
	const struct drain_options o = { 0 };
	const struct mountinfo_entry *e = command_find_mount(m, path, true);
	struct drain_state s;
	int r;

	if (!e)
		return EXITCODE_NOT_MOUNTED;
	r = drain_wait(e, &o, &s);
	if (j)
		drain_json(j, e->where, &s);
	return judge(e->where, r, &s);
}

static enum exitcode sync_all(const struct mountinfo *m, int n, char **paths,
			      bool json)
{
	struct json j = JSON_INIT(stdout);
	enum exitcode worst = EXITCODE_OK;

	if (json && n > 1)
		json_array(&j, NULL);
	for (int i = 0; i < n; i++) {
		enum exitcode x = sync_one(m, paths[i], json ? &j : NULL);

		worst = MAX(worst, x);
		if (x == EXITCODE_INTERRUPTED) {
			worst = x;
			break;
		}
	}
	if (json && n > 1)
		json_array_end(&j);
	if (json)
		(void)putchar('\n');
	return worst;
}

enum exitcode command_sync(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "debug", required_argument, NULL, 'D' },
		{ NULL, 0, NULL, 0 },
	};
	struct mountinfo m;
	bool json = false;
	enum exitcode x;
	int c;

	while ((c = getopt_long(argc, argv, "D:", longs, NULL)) != -1) {
		if (c == 'j')
			json = true;
		else if (c != 'D' || msg_debug_enable(optarg) < 0)
			return command_usage("sync takes --json and -D only");
	}
	if (optind == argc)
		return command_usage("sync wants a mount point, or a path in "
				     "one");
	x = command_need_root("sync");
	if (x == EXITCODE_OK)
		x = command_mounts(&m);
	if (x != EXITCODE_OK)
		return x;
	x = sync_all(&m, argc - optind, argv + optind, json);
	mountinfo_done(&m);
	return x;
}

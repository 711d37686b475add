/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tour_client.c: the commands warm and refresh: find what is meant in the mount,
 * ask its daemon for a tour there, look how far it is, show it. The daemon does
 * the work; whoever interrupts the command ends it.
 */
#include "command.h"

#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "../cache/meta.h"
#include "../cache/msg.h"
#include "../cache/sync.h"
#include "drain_client.h"
#include "inroot.h"
#include "json.h"
#include "mountinfo.h"

enum {
	TURN_MS_MIN = 2,
	TURN_MS_MAX = 200,
	SHOW_AFTER_MS = 500, /* what ends sooner needs no line */
};

struct sight { /* how far it was when last looked at */
	bool over, away;
	uint64_t dirs, entries, asked, files, bytes, failed;
	int error; /* -errno */
};

struct trip {
	const struct mountinfo_entry *mount;
	const char *verb;   /* "warm", "fetch", "refresh" */
	uint64_t file_bytes_max; /* "fetch" */
	const char *shown;  /* what is gone through, for people */
	int signal_fd;
	uint64_t id, start_ms;
	bool drawn, away_told;
	/* What the server's filesystem has, if all of it is gone through; 0: not
	 * known. */
	uint64_t entries_all, bytes_all;
	struct sight s;
};

/* ---- what is meant ---- */

/* @path, which may lie beneath the mount point or be seen from the root in it, as
 * one from that root. */
static const char *within(const struct mountinfo_entry *e, const char *path)
{
	size_t n = strlen(e->where);

	if (path_is_beneath(path, e->where))
		path += n;
	while (*path == '/')
		path++;
	return *path ? path : ".";
}

static enum exitcode find(const struct mountinfo_entry *e, const char *path,
			  uint64_t *ret_ino)
{
	CLEANUP_CLOSE int root =
		open(e->where, O_PATH | O_DIRECTORY | O_CLOEXEC);
	CLEANUP_CLOSE int fd = -1;
	struct stat st, at_root;

	if (root < 0 || fstat(root, &at_root) < 0) {
		msg_error("%s: %s", e->where, msg_strerror(-errno));
		return EXITCODE_FAILED;
	}
	fd = inroot_open(root, within(e, path), O_PATH);
	if (fd < 0 || fstat(fd, &st) < 0) {
		msg_error("%s: %s: %s", e->where, path,
			  msg_strerror(fd < 0 ? fd : -errno));
		return EXITCODE_FAILED;
	}
	if (st.st_dev != at_root.st_dev) {
		msg_error("%s: %s is on this machine, or mounted there from "
			  "elsewhere: nothing of it is asked for",
			  e->where, path);
		return EXITCODE_FAILED;
	}
	*ret_ino = st.st_ino;
	return EXITCODE_OK;
}

/* ---- the line on the terminal ---- */

static void look_at_all(struct trip *t, uint64_t ino)
{
	struct statvfs st;

	t->entries_all = t->bytes_all = 0;
	if (ino != META_ROOT || statvfs(t->mount->where, &st) < 0)
		return;
	t->entries_all = st.f_files - MIN(st.f_ffree, st.f_files);
	if (strcmp(t->verb, "fetch") == 0 && t->file_bytes_max == UINT64_MAX)
		t->bytes_all = (st.f_blocks - MIN(st.f_bfree, st.f_blocks)) *
			       st.f_frsize;
}

/* What took @ms for @done of @all; 0: nobody knows. */
static uint64_t seconds_left(uint64_t all, uint64_t done, uint64_t ms)
{
	double each = done > 0 ? (double)ms / (double)done : 0;

	return all > done ? (uint64_t)((double)(all - done) * each / 1000) : 0;
}

static void clear(struct trip *t)
{
	if (t->drawn)
		(void)fputs("\r\033[K", stderr);
	t->drawn = false;
}

static void show(struct trip *t)
{
	uint64_t ms = clock_ms() - t->start_ms, left;

	if (!isatty(STDERR_FILENO) || ms < SHOW_AFTER_MS)
		return;
	(void)fprintf(stderr,
		      "\r\033[K%s: %" PRIu64 " entries in %" PRIu64
		      " directories, %" PRIu64 "/s",
		      t->shown, t->s.entries, t->s.dirs,
		      t->s.entries * 1000 / ms);
	if (t->s.files)
		(void)fprintf(stderr,
			      "; %" PRIu64 " files, %" PRIu64 " MiB, %" PRIu64
			      " MiB/s",
			      t->s.files, t->s.bytes >> 20,
			      (t->s.bytes >> 10) * 1000 / ms >> 10);
	left = MAX(seconds_left(t->entries_all, t->s.entries, ms),
		   seconds_left(t->bytes_all, t->s.bytes, ms));
	if (left && !t->s.away)
		(void)fprintf(stderr, "; about %" PRIu64 ":%02" PRIu64 " left",
			      left / 60, left % 60);
	(void)fputs(t->s.away ? "; the server does not answer" : "", stderr);
	(void)fflush(stderr);
	t->drawn = true;
}

static void look_away(struct trip *t)
{
	if (!t->s.away || t->away_told)
		return;
	clear(t);
	msg_warning("%s: the server does not answer; it goes on when it does; "
		    "Ctrl-C ends it", t->mount->where);
	t->away_told = true;
}

/* ---- one path ---- */

static int start(struct trip *t, uint64_t ino)
{
	CLEANUP_FREE char *text = NULL;
	char request[64];
	int r;

	(void)snprintf(request, sizeof(request), "%s %" PRIu64, t->verb, ino);
	if (strcmp(t->verb, "fetch") == 0)
		(void)snprintf(request, sizeof(request),
			       "fetch %" PRIu64 " %" PRIu64, ino,
			       t->file_bytes_max);
	r = drain_ask(t->mount->where, request, "tour", &text);
	if (r == 0 && sscanf(text, "%" SCNu64, &t->id) != 1)
		r = -EBADMSG;
	return r;
}

static int look(struct trip *t)
{
	CLEANUP_FREE char *text = NULL;
	char request[40];
	int over, away, r;

	(void)snprintf(request, sizeof(request), "tour %" PRIu64, t->id);
	r = drain_ask(t->mount->where, request, "over", &text);
	if (r < 0)
		return r;
	if (sscanf(text,
		   "%d away %d dirs %" SCNu64 " entries %" SCNu64
		   " asked %" SCNu64 " files %" SCNu64 " bytes %" SCNu64
		   " failed %" SCNu64 " error %d",
		   &over, &away, &t->s.dirs, &t->s.entries, &t->s.asked,
		   &t->s.files, &t->s.bytes, &t->s.failed, &t->s.error) != 9)
		return -EBADMSG;
	t->s.over = over;
	t->s.away = away;
	t->s.error = -t->s.error;
	return 0;
}

static void leave(const struct trip *t)
{
	CLEANUP_FREE char *text = NULL;
	char request[40];

	(void)snprintf(request, sizeof(request), "leave %" PRIu64, t->id);
	(void)drain_ask(t->mount->where, request, "ok", &text);
}

static int follow(struct trip *t)
{
	struct pollfd p = { .fd = t->signal_fd, .events = POLLIN };
	int r, ms = TURN_MS_MIN;

	while ((r = look(t)) == 0 && !t->s.over) {
		look_away(t);
		show(t);
		if (poll(&p, 1, ms) > 0) {
			leave(t);
			r = -EINTR;
			break;
		}
		ms = MIN(ms * 2, (int)TURN_MS_MAX);
	}
	clear(t);
	return r;
}

/* ---- the end ---- */

static void add(struct sight *sum, const struct sight *s)
{
	sum->dirs += s->dirs;
	sum->entries += s->entries;
	sum->asked += s->asked;
	sum->files += s->files;
	sum->bytes += s->bytes;
	sum->failed += s->failed;
	sum->error = sum->error ? sum->error : s->error;
}

static void tell_json(const struct trip *t, const struct sight *s, bool over)
{
	struct json j = JSON_INIT(stdout);

	json_object(&j, NULL);
	json_string(&j, "mountpoint", t->mount->where);
	json_bool(&j, "over", over);
	json_uint(&j, "directories", s->dirs);
	json_uint(&j, "entries", s->entries);
	json_uint(&j, "asked", s->asked);
	json_uint(&j, "files_fetched", s->files);
	json_uint(&j, "bytes_fetched", s->bytes);
	json_uint(&j, "failed", s->failed);
	json_string(&j, "error", s->error ? msg_strerror(s->error) : NULL);
	json_uint(&j, "ms", clock_ms() - t->start_ms);
	json_object_end(&j);
	(void)putchar('\n');
}

static void tell(const struct trip *t, const struct sight *s, bool over)
{
	uint64_t ms = MAX(clock_ms() - t->start_ms, (uint64_t)1);
	bool refresh = strcmp(t->verb, "refresh") == 0;

	(void)printf("%s: %" PRIu64 " entries in %" PRIu64 " directories %s",
		     t->mount->where, s->entries, s->dirs,
		     refresh ? "to be asked for again" : "known");
	if (!refresh)
		(void)printf(", %" PRIu64 " asked for, %" PRIu64 " entries/s",
			     s->asked, s->entries * 1000 / ms);
	if (strcmp(t->verb, "fetch") == 0)
		(void)printf("; %" PRIu64 " files fetched, %" PRIu64
			     " KiB, %" PRIu64 " KiB/s",
			     s->files, s->bytes >> 10, s->bytes / ms);
	(void)printf(" (%" PRIu64 ".%" PRIu64 " s)%s\n", ms / 1000,
		     ms / 100 % 10, over ? "" : "; interrupted");
}

static enum exitcode judge(const struct trip *t, const struct sight *s, int r)
{
	if (r == -EINTR)
		return EXITCODE_INTERRUPTED;
	if (r == -ENOTCONN)
		return EXITCODE_DEAD; /* it has been said */
	if (r < 0) {
		msg_debug("warm", "%s: %s", t->mount->where, msg_strerror(r));
		return EXITCODE_FAILED;
	}
	if (s->failed == 0)
		return EXITCODE_OK;
	msg_error("%s: %" PRIu64 " of the questions to the server failed: %s",
		  t->mount->where, s->failed, msg_strerror(s->error));
	return EXITCODE_FAILED;
}

/* ---- the commands ---- */

static enum exitcode go(const char *verb, uint64_t file_bytes_max,
			const struct mountinfo_entry *e, int n, char **paths,
			bool json)
{
	static char *all[] = { (char *)(uintptr_t) "/" };
	struct trip t = { .mount = e, .verb = verb, .start_ms = clock_ms(),
			  .file_bytes_max = file_bytes_max };
	struct sight sum = { 0 };
	enum exitcode x = EXITCODE_OK;
	sigset_t old;
	int r = 0;

	if (n == 0) {
		n = 1;
		paths = all;
	}
	for (int k = 0; k < n && r == 0; k++) {
		uint64_t ino;

		x = find(e, paths[k], &ino);
		if (x != EXITCODE_OK)
			return x;
		t.signal_fd = command_take_signals(&old);
		t.shown = paths[k];
		t.s = (struct sight){ 0 };
		look_at_all(&t, ino);
		r = t.signal_fd < 0 ? t.signal_fd : start(&t, ino);
		if (r == 0)
			r = follow(&t);
		if (t.signal_fd >= 0)
			command_give_signals_back(t.signal_fd, &old);
		add(&sum, &t.s);
	}
	if (r == 0 || r == -EINTR) {
		if (json)
			tell_json(&t, &sum, r == 0);
		else
			tell(&t, &sum, r == 0);
	}
	return judge(&t, &sum, r);
}

static enum exitcode command(const char *verb, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "meta", no_argument, NULL, 'm' },
		{ "data", no_argument, NULL, 'd' },
		{ "max-size", required_argument, NULL, 's' },
		{ "from", required_argument, NULL, 'f' },
		{ "debug", required_argument, NULL, 'D' },
		{ NULL, 0, NULL, 0 },
	};
	const struct mountinfo_entry *e;
	struct mountinfo m;
	bool warm = strcmp(verb, "warm") == 0, json = false, data = false;
	uint64_t max = UINT64_MAX;
	const char *from = NULL;
	enum exitcode x;
	int c;

	while ((c = getopt_long(argc, argv, "D:", longs, NULL)) != -1) {
		if (c == 'j')
			json = true;
		else if (c == 'f' && warm)
			from = optarg;
		else if (c == 'd' && warm)
			data = true;
		else if (c == 's' && warm && config_parse_size(optarg, &max))
			data = true;
		else if (c == 's' && warm)
			return command_usage("--max-size=%s: want a size, as "
					     "in 512K or 20M", optarg);
		else if ((c != 'm' || !warm) &&
			 (c != 'D' || msg_debug_enable(optarg) < 0))
			return command_usage("%s takes %s--json and -D only",
					     verb,
					     warm ? "--meta, --data, "
						    "--max-size, --from, " :
						    "");
	}
	if (optind == argc)
		return command_usage("%s wants a mount point", verb);
	if (from && argc - optind != 1)
		return command_usage("warm --from wants no paths: the record "
				     "has them");
	x = command_need_root(verb);
	if (x == EXITCODE_OK)
		x = command_mounts(&m);
	if (x != EXITCODE_OK)
		return x;
	e = command_find_mount(&m, argv[optind], false);
	x = e && from ? command_warm_from(e, from, json) :
	    e ? go(data ? "fetch" : verb, max, e, argc - optind - 1, argv + optind + 1, json) :
		EXITCODE_NOT_MOUNTED;
	mountinfo_done(&m);
	return x;
}

enum exitcode command_warm(int argc, char **argv)
{
	return command("warm", argc, argv);
}

enum exitcode command_refresh(int argc, char **argv)
{
	return command("refresh", argc, argv);
}

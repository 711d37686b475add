/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cache.c: the cache command: what this machine keeps of each export, whether the
 * contents among it are sound, and removing it. Of an export that is mounted, its
 * daemon is asked; of any other, the lock of its directory is held meanwhile. The
 * log is no cache: it is shown, and never removed.
 */
#include "command.h"

#include <fts.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>

#include "../cache/blob.h"
#include "../cache/msg.h"
#include "../cache/sync.h"
#include "../cache/wback.h"
#include "cachedir.h"
#include "drain_client.h"
#include "json.h"

enum { TURN_MS = 100 }; /* between two questions to a daemon that checks */

struct work;
typedef enum exitcode work_fn(struct work *w, const struct cachedir_entry *e);

/* What is to be done, to all exports or to the one that was named. */
struct work {
	const struct config *c;
	work_fn *fn;
	const char *server, *mountpoint; /* of the one; NULL: all */
	bool mounted_only, found;
	bool as_json, contents_only;
	struct json json;
	enum exitcode x;
};

static bool is_mounted(const struct cachedir_entry *e)
{
	return e->err == -EBUSY;
}

/* ---- what waits in the log ---- */

static uint64_t no_offset(void *arg, const char *name)
{
	(void)arg, (void)name;
	return 1; /* nobody lists a directory */
}

/* It is opened as a mount would. */
static int log_pending(const struct cachedir_entry *e, uint64_t *ret_changes,
		       uint64_t *ret_bytes)
{
	const struct wback_options o = { .bytes_max = LIMIT_LOG_BYTES_MIN,
					 .interval_ms = 1000,
					 .name_offset = no_offset };
	CLEANUP_FREE char *path = NULL, *why = NULL;
	struct wback_stats s;
	struct wback *wb;
	int r;

	if (asprintf(&path, "%s/log", e->path) < 0)
		return path = NULL, -ENOMEM;
	r = wback_open(path, e->server, &o, &wb, &why);
	if (r < 0)
		return r;
	wback_get_stats(wb, &s);
	wback_close(wb);
	*ret_changes = s.ops;
	*ret_bytes = s.data_bytes;
	return 0;
}

static int daemon_pending(const struct cachedir_entry *e, uint64_t *ret_changes,
			  uint64_t *ret_bytes)
{
	struct drain_state s;
	int r = drain_look(e->mountpoint, &s);

	if (r == 0) {
		*ret_changes = s.changes;
		*ret_bytes = s.bytes;
	}
	return r;
}

static int pending(const struct cachedir_entry *e, uint64_t *ret_changes,
		   uint64_t *ret_bytes)
{
	if (e->err == 0)
		return log_pending(e, ret_changes, ret_bytes);
	return is_mounted(e) ? daemon_pending(e, ret_changes, ret_bytes) :
			       e->err;
}

/* ---- list ---- */

/* Of the local disk. */
static uint64_t bytes_in(const char *dir, const char *part)
{
	CLEANUP_FREE char *path = NULL;
	char *paths[] = { NULL, NULL };
	uint64_t blocks = 0;
	FTSENT *e;
	FTS *fts;

	if (asprintf(&path, "%s/%s", dir, part) < 0)
		return path = NULL, 0;
	paths[0] = path;
	fts = fts_open(paths, FTS_PHYSICAL | FTS_XDEV, NULL);
	while (fts && (e = fts_read(fts)))
		if (e->fts_info != FTS_DP && e->fts_info != FTS_NS &&
		    e->fts_info != FTS_ERR && e->fts_info != FTS_DNR)
			blocks += (uint64_t)e->fts_statp->st_blocks;
	if (fts)
		(void)fts_close(fts);
	return blocks * 512;
}

static const struct {
	const char *part, *key, *title;
} parts[] = {
	{ "meta", "meta_bytes", "names" },
	{ "blob", "contents_bytes", "contents" },
	{ "tmp", "tmp_bytes", "tmp areas" },
	{ "log", "log_bytes", "log" },
};

static void list_json(struct json *j, const struct cachedir_entry *e)
{
	uint64_t changes, bytes;

	json_object(j, NULL);
	json_string(j, "source", e->server);
	json_string(j, "mountpoint", e->mountpoint);
	json_bool(j, "mounted", is_mounted(e));
	json_string(j, "directory", e->path);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		json_uint(j, parts[i].key, bytes_in(e->path, parts[i].part));
	if (pending(e, &changes, &bytes) == 0) {
		json_uint(j, "changes", changes);
		json_uint(j, "data_bytes", bytes);
	} else {
		json_string(j, "changes", NULL);
		json_string(j, "data_bytes", NULL);
	}
	json_object_end(j);
}

static void list_text(const struct cachedir_entry *e)
{
	uint64_t changes, bytes;
	int r = pending(e, &changes, &bytes);

	(void)printf("%s%s %s\n  directory    %s\n", e->server,
		     is_mounted(e) ? " on" : ", last on", e->mountpoint,
		     e->path);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		(void)printf("  %-12s %" PRIu64 " KiB\n", parts[i].title,
			     bytes_in(e->path, parts[i].part) / 1024);
	if (r < 0)
		(void)printf("  to be sent   not known: %s\n", msg_strerror(r));
	else if (changes > 0)
		(void)printf("  to be sent   %" PRIu64 " changes and %" PRIu64
			     " KiB: the server does not have them\n",
			     changes, bytes / 1024);
	else
		(void)puts("  to be sent   nothing: the server has everything");
}

static enum exitcode list(struct work *w, const struct cachedir_entry *e)
{
	if (w->as_json)
		list_json(&w->json, e);
	else
		list_text(e);
	return EXITCODE_OK;
}

/* ---- check ---- */

/* How far a check is, on a terminal. */
struct meter {
	uint64_t total, shown_ms;
	bool drawn;
};

static int meter_draw(void *arg, const struct blob_check *so_far)
{
	struct meter *m = arg;
	uint64_t now = clock_ms();

	if (m->total == 0 || now - m->shown_ms < TURN_MS || !isatty(2))
		return 0;
	m->shown_ms = now;
	m->drawn = true;
	(void)fprintf(stderr, "\r\033[K%3" PRIu64 " %%, %" PRIu64 " damaged",
		      MIN(so_far->bytes * 100 / m->total, (uint64_t)100),
		      so_far->damaged);
	return 0;
}

static void meter_clear(const struct meter *m)
{
	if (m->drawn)
		(void)fputs("\r\033[K", stderr);
}

/* -ENOENT: there is nothing. */
static int check_here(const struct cachedir_entry *e, struct blob_check *ret)
{
	const struct blob_options o = { .bytes_max = UINT64_MAX / 4 };
	CLEANUP_FREE char *path = NULL;
	struct meter m = { 0 };
	struct blob_stats s;
	struct blob *b;
	int r;

	if (asprintf(&path, "%s/blob", e->path) < 0)
		return path = NULL, -ENOMEM;
	r = blob_open(path, NULL, &o, &b);
	if (r < 0)
		return r;
	blob_get_stats(b, &s);
	m.total = s.bytes;
	r = blob_check(b, meter_draw, &m, ret);
	meter_clear(&m);
	blob_close(b);
	return r;
}

static int check_mounted(const struct cachedir_entry *e, struct blob_check *ret)
{
	struct meter m = { 0 };
	int running = 1, error = 0;

	for (;;) {
		CLEANUP_FREE char *text = NULL;
		int r = drain_ask(e->mountpoint,
				  m.shown_ms ? "contents state" :
					       "contents check",
				  m.shown_ms ? "checking" : "ok", &text);

		if (r < 0)
			return r;
		if (!m.shown_ms) {
			m.shown_ms = clock_ms();
			continue;
		}
		if (sscanf(text,
			   "%d chunks %" SCNu64 " bytes %" SCNu64
			   " damaged %" SCNu64 " of %" SCNu64 " error %d",
			   &running, &ret->chunks, &ret->bytes, &ret->damaged,
			   &m.total, &error) != 6)
			return -EBADMSG;
		(void)meter_draw(&m, ret);
		if (!running)
			break;
		(void)poll(NULL, 0, TURN_MS);
	}
	meter_clear(&m);
	return -error;
}

static void check_report(struct work *w, const struct cachedir_entry *e,
			 const struct blob_check *k)
{
	if (w->as_json) {
		json_object(&w->json, NULL);
		json_string(&w->json, "source", e->server);
		json_string(&w->json, "directory", e->path);
		json_uint(&w->json, "chunks", k->chunks);
		json_uint(&w->json, "bytes", k->bytes);
		json_uint(&w->json, "damaged", k->damaged);
		json_object_end(&w->json);
		return;
	}
	(void)printf("%s: %" PRIu64 " chunks of contents, %" PRIu64
		     " KiB, are sound",
		     e->server, k->chunks, k->bytes / 1024);
	if (k->damaged)
		(void)printf("; %" PRIu64 " were DAMAGED and are dropped: they "
			     "are fetched again when they are used",
			     k->damaged);
	(void)putchar('\n');
}

static enum exitcode check(struct work *w, const struct cachedir_entry *e)
{
	struct blob_check k = { 0 };
	int r = is_mounted(e)  ? check_mounted(e, &k) :
		e->err == 0    ? check_here(e, &k) :
				 e->err;

	if (r < 0 && r != -ENOENT) {
		if (r != -EPROTO && r != -ENOTCONN) /* told */
			msg_error("%s: %s", e->path, msg_strerror(r));
		return r == -ECANCELED ? EXITCODE_INTERRUPTED :
					 cachedir_exitcode(r);
	}
	check_report(w, e, &k);
	return k.damaged ? EXITCODE_CACHE_DAMAGED : EXITCODE_OK;
}

/* ---- remove ---- */

static enum exitcode remove_mounted(const struct work *w,
				    const struct cachedir_entry *e)
{
	CLEANUP_FREE char *text = NULL;

	if (!w->contents_only) {
		msg_error("%s is mounted on %s; unmount it first, or remove the "
			  "contents only: --contents",
			  e->server, e->mountpoint);
		return EXITCODE_BUSY;
	}
	if (drain_ask(e->mountpoint, "contents clear", "ok", &text) < 0)
		return EXITCODE_FAILED;
	(void)printf("contents removed from %s/blob\n", e->path);
	return EXITCODE_OK;
}

static enum exitcode remove_it(struct work *w, const struct cachedir_entry *e)
{
	static const char *const all[] = { "meta", "blob", NULL };
	uint64_t changes, bytes;
	enum exitcode x;

	if (is_mounted(e))
		return remove_mounted(w, e);
	if (e->err < 0) {
		msg_error("%s: %s", e->path, msg_strerror(e->err));
		return cachedir_exitcode(e->err);
	}
	x = command_remove_parts(e->path, w->contents_only ? all + 1 : all);
	if (pending(e, &changes, &bytes) == 0 && changes > 0)
		(void)printf("%s/log is kept: %" PRIu64 " changes and %" PRIu64
			     " KiB in it wait for the next mount\n",
			     e->path, changes, bytes / 1024);
	return x;
}

/* ---- which ---- */

static int look(void *arg, const struct cachedir_entry *e)
{
	struct work *w = arg;
	bool all = !w->server && !w->mountpoint;
	enum exitcode x;

	if (w->server && strcmp(e->server, w->server) != 0)
		return 0;
	if (w->mountpoint && strcmp(e->mountpoint, w->mountpoint) != 0)
		return 0;
	if (w->mounted_only && !is_mounted(e))
		return 0;
	w->found = true;
	x = w->fn(w, e);
	if (x != EXITCODE_OK)
		w->x = x;
	return all ? 0 : 1;
}

/* Several exports may have been mounted on one directory, one after another:
 * the one that is now is meant. */
static enum exitcode go_through(struct work *w)
{
	CLEANUP_FREE char *why = NULL;
	int r = 0;

	w->mounted_only = w->mountpoint != NULL;
	if (w->mounted_only)
		r = cachedir_each(w->c, look, w, &why);
	w->mounted_only = false;
	if (r == 0 && !w->found)
		r = cachedir_each(w->c, look, w, &why);
	/* Nothing has ever been mounted. */
	if (r == -ENOENT && !w->server && !w->mountpoint)
		r = 0;
	if (r < 0) {
		msg_error("%s", why ? why : msg_strerror(r));
		return cachedir_exitcode(r);
	}
	if (!w->found && (w->server || w->mountpoint)) {
		msg_error("nothing is kept of %s; nfsrootfs cache list shows of "
			  "what something is",
			  w->server ? w->server : w->mountpoint);
		return EXITCODE_FAILED;
	}
	return w->x;
}

static enum exitcode run(struct work *w, struct config *c, const char *arg)
{
	CLEANUP_FREE char *server = NULL;
	bool is_list = w->fn == list;
	enum exitcode x = EXITCODE_OK;

	if (arg)
		x = command_export(c, arg);
	if (x != EXITCODE_OK)
		return x;
	if (arg && c->host) {
		server = cachedir_server(c);
		if (!server)
			return EXITCODE_SYSTEM;
	}
	w->server = server;
	w->mountpoint = arg && !c->host ? c->mountpoint : NULL;
	if (w->as_json && is_list)
		json_array(&w->json, NULL);
	x = go_through(w);
	if (w->as_json && is_list)
		json_array_end(&w->json);
	if (w->as_json && (is_list || w->found))
		(void)putchar('\n');
	return x;
}

/* ---- the command line ---- */

static const struct {
	const char *name;
	work_fn *fn;
	bool wants_one;
} verbs[] = {
	{ "list", list, false },
	{ "check", check, true },
	{ "remove", remove_it, true },
};

static enum exitcode parse(struct work *w, struct config *c, int argc,
			   char **argv)
{
	static const struct option longs[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "contents", no_argument, NULL, 'c' },
		{ NULL, 0, NULL, 0 },
	};
	enum exitcode x = EXITCODE_OK;
	bool wants_one = false;
	int o;

	for (size_t i = 0; argc > 1 && i < ARRAY_LEN(verbs); i++)
		if (strcmp(argv[1], verbs[i].name) == 0) {
			w->fn = verbs[i].fn;
			wants_one = verbs[i].wants_one;
		}
	if (!w->fn)
		return command_usage("cache wants list, check or remove");
	argc--, argv++;
	while (x == EXITCODE_OK &&
	       (o = getopt_long(argc, argv, "o:", longs, NULL)) != -1) {
		if (o == 'o')
			x = command_options(c, optarg);
		else if (o == 'j' && w->fn != remove_it)
			w->as_json = true;
		else if (o == 'c' && w->fn == remove_it)
			w->contents_only = true;
		else
			x = command_usage("cache %s takes %s only", argv[0],
					  w->fn == remove_it ?
						  "-o and --contents" :
						  "-o and --json");
	}
	if (x == EXITCODE_OK && argc - optind > 1)
		x = command_usage("cache %s wants one HOST:/PATH or mount "
				  "point", argv[0]);
	if (x == EXITCODE_OK && wants_one && argc - optind != 1)
		x = command_usage("cache %s wants a HOST:/PATH or mount point",
				  argv[0]);
	if (x == EXITCODE_OK)
		x = command_need_root("cache");
	return x == EXITCODE_OK ? run(w, c, argv[optind]) : x;
}

enum exitcode command_cache(int argc, char **argv)
{
	struct config c;
	struct work w = { .c = &c, .json = JSON_INIT(stdout) };
	enum exitcode x;

	config_init(&c);
	x = parse(&w, &c, argc, argv);
	config_done(&c);
	return x;
}

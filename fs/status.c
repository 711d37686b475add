/* SPDX-License-Identifier: GPL-2.0-or-later */
/* status.c: shows the counters of a running mount, as text for people and as
 * JSON for programs. The keys of the JSON are an interface (nfsrootfs.8): they
 * may become more, never others. No state.
 */
#include "status.h"

#include <inttypes.h>
#include <string.h>

#include "drain.h"
#include "json.h"
#include "tour_answer.h"

struct view {
	const struct status_source *s;
	struct remote_info remote;
	struct meta_stats meta;
	struct wback_stats log; /* all 0 without one; the next, too */
	struct blob_stats blob;
	uint64_t calls, requests, rss_bytes;
	bool away;
	char options[256];
};

static uint64_t rss_bytes(void)
{
	CLEANUP_FCLOSE FILE *f = fopen("/proc/self/statm", "re");
	unsigned long long pages = 0;

	if (!f || fscanf(f, "%*u %llu", &pages) != 1)
		return 0;
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void describe_options(const struct config *c, char *buf, size_t size)
{
	char ac[16];

	if (c->ac_ms == CONFIG_AC_FOREVER)
		strcpy(ac, "forever");
	else
		(void)snprintf(ac, sizeof(ac), "%u", c->ac_ms / 1000);
	(void)snprintf(buf, size,
		       "%s,%s,timeo=%u,retrans=%u,ac=%s,nconnect=%u,rsize=%u,"
		       "wsize=%u%s%s%s",
		       c->read_only ? "ro" : "rw", c->soft ? "soft" : "hard",
		       c->timeo_ms / 100, c->retrans, ac, c->nconnect,
		       c->read_bytes_max, c->write_bytes_max,
		       c->nosuid ? ",nosuid" : "", c->nodev ? ",nodev" : "",
		       c->noexec ? ",noexec" : "");
}

static void look(const struct status_source *s, struct view *ret)
{
	*ret = (struct view){ .s = s };
	remote_get_info(s->remote, &ret->remote);
	meta_get_stats(s->meta, &ret->meta);
	if (s->blob)
		blob_get_stats(s->blob, &ret->blob);
	if (s->wback)
		wback_get_stats(s->wback, &ret->log);
	ret->log.full |= s->wback && vfs_log_is_full(s->vfs);
	ret->away = remote_retry_is_away(s->remote);
	ret->rss_bytes = rss_bytes();
	describe_options(s->config, ret->options, sizeof(ret->options));
	for (int i = 0; i < REMOTE_OPS; i++)
		ret->calls += ret->remote.calls[i];
	for (int i = 0; i < REQ_KINDS; i++)
		ret->requests += stats_get(&s->stats->fuse[i]);
}

/* The counters that are shown by their own name. */
static const struct counter {
	const char *name;
	size_t offset;
} counters[] = {
	{ "name_hits", offsetof(struct stats, name_hits) },
	{ "name_misses", offsetof(struct stats, name_misses) },
	{ "attr_hits", offsetof(struct stats, attr_hits) },
	{ "attr_misses", offsetof(struct stats, attr_misses) },
	{ "listings", offsetof(struct stats, listings) },
	{ "listing_pages", offsetof(struct stats, listing_pages) },
	{ "listings_in_background",
	  offsetof(struct stats, listings_in_background) },
	{ "revalidations", offsetof(struct stats, revalidations) },
	{ "changed_behind", offsetof(struct stats, changed_behind) },
	{ "ahead_asked", offsetof(struct stats, ahead_asked) },
	{ "ahead_used", offsetof(struct stats, ahead_used) },
	{ "ahead_wasted", offsetof(struct stats, ahead_wasted) },
	{ "bytes_read", offsetof(struct stats, bytes_read) },
	{ "bytes_written", offsetof(struct stats, bytes_written) },
	{ "data_hits", offsetof(struct stats, data_hits) },
	{ "data_misses", offsetof(struct stats, data_misses) },
	{ "data_ahead", offsetof(struct stats, data_ahead) },
	{ "data_ahead_used", offsetof(struct stats, data_ahead_used) },
	{ "data_ahead_wasted", offsetof(struct stats, data_ahead_wasted) },
	{ "bad_replies", offsetof(struct stats, bad_replies) },
	{ "nodes", offsetof(struct stats, nodes) },
	{ "held", offsetof(struct stats, held) },
};

static uint64_t counter_get(const struct stats *s, const struct counter *c)
{
	const char *base = (const char *)s;

	return stats_get((const uint64_t *)(const void *)(base + c->offset));
}

/* ---- JSON ---- */

static void json_server(struct json *j, const struct view *v)
{
	json_object(j, "server");
	json_string(j, "address", v->remote.address);
	json_bool(j, "away", v->away);
	json_object_end(j);

	json_object(j, "connections");
	json_uint(j, "total", v->remote.connections);
	json_uint(j, "connected", v->remote.connected);
	json_uint(j, "reconnects", v->remote.reconnects);
	json_object_end(j);

	json_object(j, "rpc");
	json_uint(j, "total", v->calls);
	json_object(j, "by_procedure");
	for (int i = 0; i < REMOTE_OPS; i++)
		if (v->remote.calls[i])
			json_uint(j, remote_op_name(i), v->remote.calls[i]);
	json_object_end(j);
	json_uint(j, "replies", v->remote.replies);
	json_uint(j, "retries", v->remote.retries);
	json_uint(j, "bytes_out", v->remote.bytes_out);
	json_uint(j, "bytes_in", v->remote.bytes_in);
	json_object_end(j);
}

static void json_local(struct json *j, const struct view *v)
{
	json_object(j, "fuse");
	json_uint(j, "total", v->requests);
	json_object(j, "by_kind");
	for (int i = 0; i < REQ_KINDS; i++) {
		uint64_t n = stats_get(&v->s->stats->fuse[i]);

		if (n)
			json_uint(j, stats_fuse_names[i], n);
	}
	json_object_end(j);
	json_object_end(j);

	json_object(j, "cache");
	json_string(j, "directory", v->s->cache->path);
	json_uint(j, "inodes", v->meta.inodes);
	json_uint(j, "names", v->meta.names);
	json_uint(j, "commits", v->meta.commits);
	json_uint(j, "bytes_on_disk", v->meta.bytes_on_disk);
	for (size_t i = 0; i < ARRAY_LEN(counters); i++)
		json_uint(j, counters[i].name,
			  counter_get(v->s->stats, &counters[i]));
	json_object_end(j);
}

static void json_contents(struct json *j, const struct view *v)
{
	const struct blob_stats *b = &v->blob;

	json_object(j, "contents");
	json_bool(j, "kept", v->s->blob && b->bytes_max > 0);
	json_uint(j, "bytes_on_disk", b->bytes);
	json_uint(j, "bytes_max", b->bytes_max);
	json_uint(j, "queued", b->queued);
	json_uint(j, "hits", b->hits);
	json_uint(j, "hit_bytes", b->hit_bytes);
	json_uint(j, "misses", b->misses);
	json_uint(j, "written", b->written);
	json_uint(j, "written_bytes", b->written_bytes);
	json_uint(j, "stored_bytes", b->stored_bytes);
	json_uint(j, "refused", b->refused);
	json_uint(j, "evicted_bytes", b->evicted_bytes);
	json_uint(j, "damaged", b->damaged);
	json_object_end(j);
}

static void json_log(struct json *j, const struct wback_stats *l)
{
	json_object(j, "log");
	json_uint(j, "changes", l->ops);
	json_uint(j, "inodes", l->inodes);
	json_uint(j, "data_bytes", l->data_bytes);
	json_uint(j, "bytes_on_disk", l->log_bytes);
	json_uint(j, "oldest_ms", l->oldest_ms);
	json_uint(j, "stuck", l->stuck);
	json_uint(j, "copies", l->copies);
	json_uint(j, "cancelled", l->cancelled);
	json_uint(j, "replayed", l->replayed);
	json_bool(j, "disk_full", l->full);
	json_object_end(j);
}

static void write_json(const struct view *v, FILE *out)
{
	const struct status_source *s = v->s;
	struct json json = JSON_INIT(out), *j = &json;
	char since[32];
	struct tm tm;

	(void)strftime(since, sizeof(since), "%Y-%m-%dT%H:%M:%SZ",
		       gmtime_r(&s->since, &tm));
	json_object(j, NULL);
	json_string(j, "source", s->config->source);
	json_string(j, "mountpoint", s->config->mountpoint);
	json_string(j, "state", v->away ? "away" : "ok");
	json_uint(j, "pid", (uint64_t)getpid());
	json_string(j, "since", since);
	json_uint(j, "uptime_s", (uint64_t)(time(NULL) - s->since));
	json_string(j, "options", v->options);
	json_server(j, v);
	json_local(j, v);
	json_contents(j, v);
	json_log(j, &v->log);
	json_array(j, "areas");
	for (unsigned i = 0; i < s->areas->n; i++) {
		const struct area *a = &s->areas->list[i];

		json_object(j, NULL);
		json_string(j, "path", a->path);
		json_string(j, "where", a->where);
		json_string(j, "kind", a->dir ? "dir" : "tmpfs");
		json_string(j, "dir", a->dir);
		json_object_end(j);
	}
	json_array_end(j);
	json_uint(j, "rss_bytes", v->rss_bytes);
	json_object_end(j);
	(void)fputc('\n', out);
}

/* ---- text ---- */

static unsigned percent(uint64_t hits, uint64_t misses)
{
	return hits + misses ? (unsigned)(hits * 100 / (hits + misses)) : 0;
}

static void text_uptime(time_t since, FILE *out)
{
	unsigned long s = (unsigned long)(time(NULL) - since);
	char at[32];
	struct tm tm;

	(void)strftime(at, sizeof(at), "%Y-%m-%d %H:%M:%S",
		       localtime_r(&since, &tm));
	(void)fprintf(out, "  since        %s (", at);
	if (s >= 86400)
		(void)fprintf(out, "%lu d ", s / 86400);
	(void)fprintf(out, "%lu:%02lu:%02lu)\n", s / 3600 % 24, s / 60 % 60,
		      s % 60);
}

static void text_counts(const struct view *v, FILE *out)
{
	(void)fprintf(out, "  RPCs         %" PRIu64 " sent", v->calls);
	for (int i = 0; i < REMOTE_OPS; i++)
		if (v->remote.calls[i])
			(void)fprintf(out, ", %s %" PRIu64, remote_op_name(i),
				      v->remote.calls[i]);
	(void)fprintf(out, "; %" PRIu64 " sent again\n", v->remote.retries);

	(void)fprintf(out, "  FUSE         %" PRIu64 " requests", v->requests);
	for (int i = 0; i < REQ_KINDS; i++) {
		uint64_t n = stats_get(&v->s->stats->fuse[i]);

		if (n)
			(void)fprintf(out, ", %s %" PRIu64, stats_fuse_names[i],
				      n);
	}
	(void)fputc('\n', out);
}

static void text_contents(const struct view *v, FILE *out)
{
	const struct stats *s = v->s->stats;
	uint64_t dh = stats_get(&s->data_hits), dm = stats_get(&s->data_misses);

	(void)fprintf(out,
		      "  contents     %" PRIu64 " reads without the server, %"
		      PRIu64 " with it (%u %%); asked for ahead: %" PRIu64
		      ", used %" PRIu64 "\n",
		      dh, dm, percent(dh, dm), stats_get(&s->data_ahead),
		      stats_get(&s->data_ahead_used));
	(void)fprintf(out,
		      "               %" PRIu64 " of %" PRIu64
		      " MiB on disk%s\n",
		      v->blob.bytes >> 20, v->blob.bytes_max >> 20,
		      v->blob.damaged ? "; some was DAMAGED, and is fetched "
					"again" : "");
}

static void text_cache(const struct view *v, FILE *out)
{
	const struct stats *s = v->s->stats;
	uint64_t nh = stats_get(&s->name_hits), nm = stats_get(&s->name_misses);
	uint64_t ah = stats_get(&s->attr_hits), am = stats_get(&s->attr_misses);

	(void)fprintf(out,
		      "  cache        names: %" PRIu64 " hits, %" PRIu64
		      " misses (%u %%); attributes: %" PRIu64 " hits, %" PRIu64
		      " misses (%u %%)\n",
		      nh, nm, percent(nh, nm), ah, am, percent(ah, am));
	(void)fprintf(out,
		      "               %" PRIu64 " files, %" PRIu64
		      " names, %" PRIu64 " KiB in %s\n",
		      v->meta.inodes, v->meta.names,
		      v->meta.bytes_on_disk / 1024, v->s->cache->path);
	(void)fprintf(out,
		      "  ahead        %" PRIu64 " asked for before they were "
		      "needed, %" PRIu64 " then used, %" PRIu64 " not\n",
		      stats_get(&s->ahead_asked), stats_get(&s->ahead_used),
		      stats_get(&s->ahead_wasted));
	(void)fprintf(out,
		      "  data         %" PRIu64 " KiB read, %" PRIu64
		      " KiB written\n",
		      stats_get(&s->bytes_read) / 1024,
		      stats_get(&s->bytes_written) / 1024);
	text_contents(v, out);
	if (stats_get(&s->bad_replies))
		(void)fprintf(out,
			      "  bad replies  %" PRIu64
			      " names or handles of the server refused\n",
			      stats_get(&s->bad_replies));
}

static void text_log(const struct wback_stats *l, FILE *out)
{
	(void)fprintf(out, "  log          ");
	if (l->ops)
		(void)fprintf(out,
			      "%" PRIu64 " changes of %" PRIu64 " files and %"
			      PRIu64 " KiB to be sent, the oldest %" PRIu64
			      " s old",
			      l->ops, l->inodes, l->data_bytes / 1024,
			      l->oldest_ms / 1000);
	else
		(void)fputs("the server has everything", out);
	(void)fprintf(out,
		      "; %" PRIu64 " cancelled in all; %" PRIu64
		      " KiB on disk\n",
		      l->cancelled, l->log_bytes / 1024);
	if (l->stuck)
		(void)fprintf(out,
			      "               %" PRIu64
			      " REFUSED by the server: see nfsrootfs "
			      "conflicts\n",
			      l->stuck);
	if (l->copies)
		(void)fprintf(out,
			      "               %" PRIu64
			      " files were changed on the server, too: see "
			      "nfsrootfs conflicts\n",
			      l->copies);
	if (l->full)
		(void)fputs("               the local disk is FULL: "
			    "write-through until there is room\n",
			    out);
}

static void write_text(const struct view *v, FILE *out)
{
	const struct status_source *s = v->s;

	(void)fprintf(out, "%s on %s\n", s->config->source,
		      s->config->mountpoint);
	text_uptime(s->since, out);
	(void)fprintf(out, "  options      %s\n", v->options);
	(void)fprintf(out,
		      "  server       %s, %u of %u connections up, %" PRIu64
		      " reconnects%s\n",
		      v->remote.address, v->remote.connected,
		      v->remote.connections, v->remote.reconnects,
		      v->away ? "; AWAY: what is not known waits for it" : "");
	text_counts(v, out);
	text_cache(v, out);
	if (s->wback)
		text_log(&v->log, out);
	for (unsigned i = 0; i < s->areas->n; i++)
		(void)fprintf(out, "  tmp area     %s in %s\n",
			      s->areas->list[i].path,
			      s->areas->list[i].dir ? s->areas->list[i].dir :
						      "memory (tmpfs)");
	(void)fprintf(out, "  daemon       process %d, %" PRIu64 " KiB\n",
		      (int)getpid(), v->rss_bytes / 1024);
}

/* ---- public ---- */

int status_answer(void *arg, const char *request, FILE *out)
{
	const struct status_source *s = arg;
	struct view v;

	if (strncmp(request, "contents ", 9) == 0)
		return contents_answer(s->contents, request, out);
	if (strcmp(request, "status text") != 0 &&
	    strcmp(request, "status json") != 0) {
		int r = drain_answer(arg, request, out);

		return r == -EINVAL ? tour_answer(arg, request, out) : r;
	}
	look(arg, &v);
	if (strcmp(request, "status json") == 0)
		write_json(&v, out);
	else
		write_text(&v, out);
	return 0;
}

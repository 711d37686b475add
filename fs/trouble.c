/* SPDX-License-Identifier: GPL-2.0-or-later */
/* trouble.c: lists what is stuck and what lies beside, and settles it. No state.
 *
 * The log tells of its troubles under its own lock, and paths are looked for
 * under the cache's, which comes before it. So they are written down first.
 */
#include "trouble.h"

#include <inttypes.h>
#include <string.h>

#include "../cache/msg.h"
#include "escape.h"
#include "json.h"

struct trouble {
	struct wback_trouble t; /* but for its names */
	char *name, *of;
	char *path, *copy; /* NULL: not known */
};

struct troubles {
	struct trouble *list;
	size_t n;
	uint64_t total;
};

/* ---- gathering ---- */

static void note(void *arg, const struct wback_trouble *t)
{
	struct troubles *all = arg;
	struct trouble *one;

	if (all->total++ >= TROUBLES_MAX || !all->list)
		return;
	one = &all->list[all->n++];
	one->t = *t;
	one->name = t->name ? strdup(t->name) : NULL;
	one->of = t->of ? strdup(t->of) : NULL;
}

static char *path_of(struct vfs *v, uint64_t dir, const char *name)
{
	char *path = NULL;

	return dir && vfs_path_of(v, dir, name, &path) == 0 ? path : NULL;
}

static void find_paths(struct vfs *v, struct trouble *one)
{
	const struct wback_trouble *t = &one->t;

	if (t->kind == TROUBLE_COPY) {
		one->path = path_of(v, t->dir, one->of);
		one->copy = path_of(v, t->dir, one->name);
	} else if (one->name) {
		one->path = path_of(v, t->dir, one->name);
	} else {
		one->path = path_of(v, t->ino, NULL);
	}
}

static int gather(const struct status_source *s, struct troubles *ret)
{
	*ret = (struct troubles){ 0 };
	if (!s->wback)
		return 0;
	ret->list = calloc(TROUBLES_MAX, sizeof(*ret->list));
	if (!ret->list)
		return -ENOMEM;
	wback_troubles(s->wback, note, ret);
	for (size_t i = 0; i < ret->n; i++)
		find_paths(s->vfs, &ret->list[i]);
	return 0;
}

static void troubles_done(struct troubles *all)
{
	for (size_t i = 0; i < all->n; i++) {
		free(all->list[i].name);
		free(all->list[i].of);
		free(all->list[i].path);
		free(all->list[i].copy);
	}
	free(all->list);
}

/* ---- showing ---- */

static const char *kind_name(const struct trouble *one)
{
	return one->t.kind == TROUBLE_COPY ? "copy" : "stuck";
}

static const char *what_name(const struct trouble *one)
{
	static const char *const names[] = {
		[JOB_MAKE] = "create",	 [JOB_LINK] = "link",
		[JOB_REMOVE] = "remove", [JOB_RENAME] = "rename",
		[JOB_STORE] = "contents",
	};

	return one->t.kind == TROUBLE_COPY ? "contents" : names[one->t.job];
}

static int error_of(const struct trouble *one)
{
	return one->t.kind == TROUBLE_COPY ? 0 : one->t.error;
}

static void show_json(const struct status_source *s,
		      const struct troubles *all, FILE *out)
{
	struct json json = JSON_INIT(out), *j = &json;

	json_object(j, NULL);
	json_string(j, "mountpoint", s->config->mountpoint);
	json_uint(j, "total", all->total);
	json_array(j, "conflicts");
	for (size_t i = 0; i < all->n; i++) {
		const struct trouble *one = &all->list[i];
		int err = error_of(one);
		char when[32];
		struct tm tm;

		(void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ",
			       gmtime_r(&one->t.when, &tm));
		json_object(j, NULL);
		json_uint(j, "id", one->t.id);
		json_string(j, "kind", kind_name(one));
		json_string(j, "what", what_name(one));
		json_string(j, "path", one->path);
		json_string(j, "copy", one->copy);
		json_string(j, "error", err ? msg_strerror(err) : NULL);
		json_string(j, "when", when);
		json_object_end(j);
	}
	json_array_end(j);
	json_object_end(j);
	(void)fputc('\n', out);
}

/* A place for people: a name of which no more is known is better than none. */
static void show_place(const char *path, const char *name, FILE *out)
{
	if (path)
		escape_text(path, out);
	else if (name) {
		(void)fputs(".../", out);
		escape_text(name, out);
	} else
		(void)fputs("(a file without a name)", out);
}

static void show_text(const struct troubles *all, FILE *out)
{
	if (all->total == 0)
		(void)fputs("no conflicts\n", out);
	for (size_t i = 0; i < all->n; i++) {
		const struct trouble *one = &all->list[i];
		bool is_copy = one->t.kind == TROUBLE_COPY;
		char when[32];
		struct tm tm;

		(void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S",
			       localtime_r(&one->t.when, &tm));
		(void)fprintf(out, "%" PRIu64 "  %s  %-5s  %-8s  ", one->t.id,
			      when, kind_name(one), what_name(one));
		show_place(one->path, is_copy ? one->of : one->name, out);
		if (is_copy) {
			(void)fputs("; the server's version: ", out);
			show_place(one->copy, one->name, out);
		} else {
			(void)fprintf(out, ": %s", msg_strerror(error_of(one)));
		}
		(void)fputc('\n', out);
	}
	if (all->total > all->n)
		(void)fprintf(out, "and %" PRIu64 " more\n",
			      all->total - all->n);
}

static void show_list(const struct troubles *all, FILE *out)
{
	for (size_t i = 0; i < all->n; i++) {
		const struct trouble *one = &all->list[i];

		(void)fprintf(out, "%" PRIu64 "\t%s\t", one->t.id,
			      kind_name(one));
		escape_text(one->path ? one->path : "", out);
		(void)fputc('\t', out);
		escape_text(one->copy ? one->copy : "", out);
		(void)fputs("\t\n", out);
	}
}

int trouble_list(const struct status_source *s, const char *format, FILE *out)
{
	struct troubles all;
	int r;

	if (strcmp(format, "text") != 0 && strcmp(format, "json") != 0 &&
	    strcmp(format, "list") != 0)
		return -EINVAL;
	r = gather(s, &all);
	(void)fprintf(out, r < 0 ? "error %s\n" : "list\n", msg_strerror(r));
	if (r < 0)
		return 0;
	if (*format == 't')
		show_text(&all, out);
	else if (*format == 'j')
		show_json(s, &all, out);
	else
		show_list(&all, out);
	troubles_done(&all);
	return 0;
}

/* ---- settling ---- */

struct kind_search {
	uint64_t id;
	bool found;
	enum wback_trouble_kind kind;
};

static void kind_fn(void *arg, const struct wback_trouble *t)
{
	struct kind_search *k = arg;

	if (t->id != k->id)
		return;
	k->found = true;
	k->kind = t->kind;
}

static int settle(const struct status_source *s, uint64_t id, const char *keep)
{
	struct kind_search k = { .id = id };
	int r;

	if (s->wback)
		wback_troubles(s->wback, kind_fn, &k);
	if (!k.found)
		return -ENOENT;
	/* Of what is stuck there are no two versions to keep; the files of a
	 * copy are not touched here. */
	if ((k.kind == TROUBLE_COPY) != (strcmp(keep, "both") == 0))
		return -EOPNOTSUPP;
	if (strcmp(keep, "ours") != 0)
		return vfs_drop_change(s->vfs, id);
	r = wback_retry(s->wback, id);
	if (r == 0)
		(void)flush_force(s->flush);
	return r;
}

int trouble_resolve(const struct status_source *s, uint64_t id,
		    const char *keep, FILE *out)
{
	int r;

	if (strcmp(keep, "ours") != 0 && strcmp(keep, "theirs") != 0 &&
	    strcmp(keep, "both") != 0)
		return -EINVAL;
	r = settle(s, id, keep);
	if (r == 0)
		(void)fputs("ok\n", out);
	else if (r == -ENOENT) /* settled together with another */
		(void)fputs("ok gone\n", out);
	else if (r == -EOPNOTSUPP)
		(void)fputs("error not possible for a conflict of this kind\n",
			    out);
	else
		(void)fprintf(out, "error %s\n", msg_strerror(r));
	return 0;
}

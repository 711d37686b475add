/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vfs_unlisted.c: the names of a directory for which the cache has no room, asked
 * for each time it is read, and put into the order of their offsets in memory.
 * Slow, but as complete as a listing.
 */
#include "view.h"

#include <dirent.h>

struct entry {
	uint64_t offset;
	char *name;
	struct meta_name n;
};

struct unlisted {
	uint64_t dir;
	uint64_t sent; /* vfs_sent() before the first page */
	struct entry *v;
	size_t n;
};

void vfs_unlisted_free(struct unlisted *u)
{
	if (!u)
		return;
	for (size_t k = 0; k < u->n; k++)
		free(u->v[k].name);
	free(u->v);
	free(u);
}

static int add(struct vfs *v, struct unlisted *u, const struct remote_dirent *e)
{
	struct meta_inode i;
	struct entry *to;

	if (!vfs_name_is_sane(e->name)) {
		stats_add(&v->stats->bad_replies, 1);
		return 0;
	}
	if ((u->n & (u->n - 1)) == 0) { /* it grows at every power of two */
		to = reallocarray(u->v, u->n ? 2 * u->n : 1, sizeof(*to));
		if (!to)
			return -ENOMEM;
		u->v = to;
	}
	to = &u->v[u->n];
	*to = (struct entry){ .offset = meta_offset(v->meta, e->name),
			      .name = strdup(e->name),
			      .n.type = DT_UNKNOWN };
	if (!to->name)
		return -ENOMEM;
	u->n++;
	if (e->has_attr)
		to->n.type = IFTODT(e->attr.mode);
	if (e->fh.len && meta_find(v->meta, &e->fh, NULL, &i) == 0)
		to->n.ino = i.ino;
	return 0;
}

/* 0: there is more; 1: that was the last page. */
static int read_page(struct vfs *v, const struct caller *c, struct unlisted *u,
		     struct remote_call *call)
{
	uint64_t cookie = call->cookie;
	int r = vfs_run(v, c, u->dir, call);

	stats_add(&v->stats->listing_pages, 1);
	meta_begin(v->meta);
	for (size_t k = 0; k < call->entries_n && r == 0; k++)
		if (strcmp(call->entries[k].name, HOLD_NAME) != 0)
			r = add(v, u, &call->entries[k]);
	meta_end(v->meta);
	if (r < 0 || call->eof)
		return r < 0 ? r : 1;
	if (call->entries_n == 0)
		return -EREMOTEIO;
	/* A server that does not move on would keep us for ever. */
	return call->entries[call->entries_n - 1].cookie == cookie ?
		       -EREMOTEIO :
		       0;
}

static int read_pages(struct vfs *v, const struct caller *c, struct unlisted *u)
{
	uint64_t cookie = 0;
	uint8_t verf[8] = { 0 };
	int r = 0;

	while (r == 0) {
		struct remote_call *call =
			remote_call_new(REMOTE_READDIRPLUS, NULL, NULL);

		if (!call)
			return -ENOMEM;
		call->cookie = cookie;
		memcpy(call->verf, verf, sizeof(verf));
		call->count = v->config->listing_bytes;
		r = read_page(v, c, u, call);
		if (r == 0)
			cookie = call->entries[call->entries_n - 1].cookie;
		memcpy(verf, call->verf, sizeof(verf));
		remote_call_unref(call);
	}
	return r < 0 ? r : 0;
}

static int compare(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return strcmp(x->name, y->name);
}

int vfs_unlisted_read(struct vfs *v, const struct caller *c, uint64_t dir,
		      struct unlisted **ret)
{
	enum { TRIES_MAX = 10 };
	int r = -EBADE;

	/* A cookie gone bad: from the start. */
	for (unsigned tries = 0; r == -EBADE && tries < TRIES_MAX; tries++) {
		struct unlisted *u = calloc(1, sizeof(*u));

		if (!u)
			return -ENOMEM;
		u->dir = dir;
		u->sent = vfs_sent(v);
		r = read_pages(v, c, u);
		if (r < 0) {
			vfs_unlisted_free(u);
			continue;
		}
		if (u->n > 0)
			qsort(u->v, u->n, sizeof(*u->v), compare);
		*ret = u;
	}
	return r;
}

bool vfs_unlisted_is_stale(struct vfs *v, const struct unlisted *u)
{
	return vfs_is_newer(v, u->dir, u->sent);
}

int vfs_unlisted_names(const struct unlisted *u, uint64_t after,
		       meta_name_fn *fn, void *arg)
{
	int r = 0;

	for (size_t k = 0; k < u->n && r == 0; k++)
		if (u->v[k].offset > after &&
		    (k == 0 || compare(&u->v[k - 1], &u->v[k]) != 0))
			r = fn(arg, u->v[k].offset, u->v[k].name, &u->v[k].n);
	return r;
}

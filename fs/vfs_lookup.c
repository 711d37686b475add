/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vfs_lookup.c: names to inodes, attributes, and what may be believed of them.
 *
 * Trust. An inode's attributes are believed for the trust window (`ac`) after
 * the server confirmed them in this mount. The names of a directory are
 * believed as long as the directory's own attributes are, when they carry its
 * present epoch: an epoch is one version (mtime and ctime) of the directory, and
 * a directory found changed gets a new one. So one GETATTR confirms a directory
 * with all its names, present and absent.
 *
 * While the server is away, what is known is believed.
 */
#include "ahead.h"
#include "fetch.h"
#include "flight.h"
#include "view.h"

#include <dirent.h>

static const double FOREVER_S = 30.0 * 86400;
/* The kernel is not told of names that came to be: it would have to be told each
 * that it found absent. So it asks again for those. */
static const double ABSENT_S = 30;

/* ---- trust ---- */

bool vfs_trusts(struct vfs *v, uint64_t checked, uint64_t since)
{
	uint32_t ac = vfs_ac_ms(v);

	if (checked == 0)
		return false;
	if (checked >= since && since)
		return true;
	if (ac == CONFIG_AC_FOREVER)
		return checked >= v->trust_from;
	return checked >= v->session &&
	       meta_now(v->meta) - checked < (uint64_t)ac * 1000;
}

/* How long the kernel may believe what was confirmed at @checked, seconds. */
static double trust_left(struct vfs *v, uint64_t checked)
{
	uint64_t age_us = meta_now(v->meta) - checked;
	uint64_t ac_us = (uint64_t)vfs_ac_ms(v) * 1000;

	if (vfs_ac_ms(v) == CONFIG_AC_FOREVER)
		return checked >= v->trust_from ? FOREVER_S : 0;
	if (checked < v->session || age_us >= ac_us)
		return 0;
	return (double)(ac_us - age_us) / 1e6;
}

void vfs_answer(struct vfs *v, const struct meta_inode *i, uint64_t dir_checked,
		struct vfs_entry *ret)
{
	ret->ino = i->ino;
	ret->attr = i->attr;
	/* A removed file has only us to tell its attributes. */
	ret->attr_valid_s = i->flags & META_REMOVED ? FOREVER_S :
						      trust_left(v, i->checked);
	ret->name_valid_s = trust_left(v, dir_checked);
}

void vfs_answer_ref(struct vfs *v, const struct meta_inode *i,
		    uint64_t dir_checked, struct vfs_entry *ret)
{
	vfs_answer(v, i, dir_checked, ret);
	nodes_ref(v->nodes, i->ino);
}

/* ---- questions to the server ---- */

/* The handle of @i is no longer valid. Its name may lead to the same file by
 * another handle. 0: *@i has a new one. */
static int find_again(struct vfs *v, const struct caller *c,
		      struct meta_inode *i);

int vfs_revalidate(struct vfs *v, const struct caller *c, struct meta_inode *i,
		   uint64_t since)
{
	int r;

	if (i->handle.len == 0)
		return -ESTALE;
	r = flight_wait(v, c, ASK_ATTR, i, 0, since, true);
	if (r == -ESTALE)
		return find_again(v, c, i);
	if (r == -EIO && remote_retry_is_away(v->remote))
		return 0; /* what is known keeps being served */
	if (r < 0)
		return r;
	meta_begin(v->meta);
	r = view_get(v, i->ino, i);
	meta_end(v->meta);
	return r == -ENOENT ? -ESTALE : r;
}

/* The same, where the attributes are what is wanted: listing the directory may
 * be the better way to get them. */
static int ask_object(struct vfs *v, const struct caller *c,
		      struct meta_inode *i, uint64_t since)
{
	struct meta_inode d;
	int r;

	ahead_used(v, i, USE_ATTR);
	if (!ahead_lists(v, i, &d))
		return vfs_revalidate(v, c, i, since);
	r = flight_wait(v, c, ASK_LIST, &d, i->ino, since, false);
	if (r == -EINTR)
		return r;
	meta_begin(v->meta);
	r = view_get(v, i->ino, i);
	meta_end(v->meta);
	if (r == 0 && vfs_trusts(v, i->checked, since))
		return 0;
	return r < 0 ? r : vfs_revalidate(v, c, i, since);
}

int vfs_inode(struct vfs *v, const struct caller *c, uint64_t ino,
	      uint64_t since, struct meta_inode *ret)
{
	int r;

	meta_begin(v->meta);
	r = view_get(v, ino, ret);
	meta_end(v->meta);
	if (r < 0)
		return r == -ENOENT ? -ESTALE : r;
	if (ret->flags & META_REMOVED || ret->handle.len == 0 ||
	    vfs_trusts(v, ret->checked, since) ||
	    (ret->checked && remote_retry_is_away(v->remote))) {
		stats_add(&v->stats->attr_hits, 1);
		ahead_used(v, ret, USE_ATTR);
		return 0;
	}
	stats_add(&v->stats->attr_misses, 1);
	return ask_object(v, c, ret, since);
}

int vfs_lookup_call(struct vfs *v, const struct caller *c,
		    const struct meta_inode *d, struct remote_call *call)
{
	struct remote_call *ask;
	int r = vfs_run(v, c, d->ino, call);

	if (r < 0 || call->has_attr)
		return r;
	ask = remote_call_new(REMOTE_GETATTR, &call->fh_out, NULL);
	if (!ask)
		return -ENOMEM;
	r = remote_run(v->remote, ask, c->intr, 0);
	if (r == 0)
		call->attr = ask->attr;
	remote_call_unref(ask);
	return r == -ESTALE ? -ENOENT : r;
}

/* Ask for one name. 0 with *@ret the inode, or with ret->ino 0: absent. */
static int ask_name(struct vfs *v, const struct caller *c,
		    const struct meta_inode *d, const char *name,
		    struct meta_inode *ret)
{
	struct moment when = vfs_moment(v);
	struct remote_call *call =
		remote_call_new(REMOTE_LOOKUP, &d->handle, name);
	struct meta_name n = { 0 };
	bool keep;
	int r, asked;

	if (!call)
		return -ENOMEM;
	asked = vfs_lookup_call(v, c, d, call);
	if (asked != 0 && asked != -ENOENT) {
		remote_call_unref(call);
		return asked;
	}
	meta_begin(v->meta);
	keep = !vfs_is_newer(v, d->ino, when.sent);
	r = 0;
	ret->ino = 0;
	if (asked == 0) {
		r = vfs_adopt(v, d->ino, &call->fh_out, &call->attr, &when,
			      false, ret);
		n.ino = ret->ino;
		n.type = IFTODT(ret->attr.mode);
	} else {
		n.absent = true;
	}
	if (r == 0 && keep)
		r = vfs_name_learn(v, d->ino, name, &n);
	if (r == 0 && ret->ino) /* with what is pending of it */
		r = view_get(v, ret->ino, ret);
	meta_end(v->meta);
	remote_call_unref(call);
	return r;
}

struct name_search {
	uint64_t ino;
	char name[NAME_BYTES_MAX + 1];
};

static int name_search_fn(void *arg, uint64_t offset, const char *name,
			  const struct meta_name *n)
{
	struct name_search *s = arg;

	(void)offset;
	if (n->ino != s->ino || n->absent)
		return 0;
	strcpy(s->name, name);
	return 1;
}

int vfs_name_in_parent(struct vfs *v, const struct meta_inode *i,
		       char ret[NAME_BYTES_MAX + 1])
{
	struct name_search s = { .ino = i->ino };
	int r = meta_names(v->meta, i->parent, 0, name_search_fn, &s);

	if (r != 1)
		return r < 0 ? r : -ENOENT;
	strcpy(ret, s.name);
	return 0;
}

static int find_again(struct vfs *v, const struct caller *c,
		      struct meta_inode *i)
{
	char name[NAME_BYTES_MAX + 1];
	struct meta_inode d, found;
	int r;

	if (i->ino == META_ROOT || i->flags & META_REMOVED)
		return -ESTALE;
	meta_begin(v->meta);
	r = meta_get(v->meta, i->parent, &d);
	if (r == 0)
		r = vfs_name_in_parent(v, i, name);
	meta_end(v->meta);
	if (r < 0)
		return -ESTALE;
	r = ask_name(v, c, &d, name, &found);
	if (r < 0)
		return r;
	if (found.ino == i->ino) { /* the same file by another handle */
		*i = found;
		return 0;
	}
	return -ESTALE;
}

int vfs_run(struct vfs *v, const struct caller *c, uint64_t ino,
	    struct remote_call *call)
{
	struct meta_inode i;
	int r;

	meta_begin(v->meta);
	r = meta_get(v->meta, ino, &i);
	meta_end(v->meta);
	if (r < 0)
		return r == -ENOENT ? -ESTALE : r;
	call->fh = i.handle;
	r = remote_run(v->remote, call, c->intr, 0);
	if (r != -ESTALE || find_again(v, c, &i) < 0)
		return r;
	remote_call_reset(call);
	call->fh = i.handle;
	return remote_run(v->remote, call, c->intr, 0);
}

/* ---- lookup ---- */

static bool pinned(struct vfs *v, uint64_t dir, const char *name,
		   uint64_t *ret_ino)
{
	bool found = false;

	mutex_lock(&v->lock);
	for (unsigned k = 0; k < v->pins_n && !found; k++)
		if (v->pins[k].dir == dir &&
		    strcmp(v->pins[k].name, name) == 0) {
			*ret_ino = v->pins[k].ino;
			found = true;
		}
	mutex_unlock(&v->lock);
	return found;
}

enum found { FOUND, ABSENT, ASK_DIR, ASK_OBJECT, ASK_NAME, LIST };

/* What the cache can say of a name, and if not enough, what must be asked. */
static int look(struct vfs *v, uint64_t dir, const char *name, uint64_t since,
		struct meta_inode *d, struct meta_inode *i)
{
	bool away = remote_retry_is_away(v->remote);
	struct meta_name n = { 0 };
	uint64_t pin_ino, ino;
	int r, known;

	r = view_get(v, dir, d);
	if (r < 0)
		return r == -ENOENT ? -ESTALE : r;
	if (!S_ISDIR(d->attr.mode))
		return -ENOTDIR;
	if (pinned(v, dir, name, &pin_ino) &&
	    view_get(v, pin_ino, i) == 0) {
		d->checked = i->checked = meta_now(v->meta);
		return FOUND;
	}
	/* What we changed ourselves and the server does not know yet. */
	r = view_name(v, dir, name, &ino);
	if (r < 0)
		return ABSENT;
	if (r > 0) {
		if (view_get(v, ino, i) < 0)
			return -ESTALE;
		return i->handle.len == 0 ||
				       vfs_trusts(v, i->checked, since) ||
				       (away && i->checked) ?
			       FOUND :
			       ASK_OBJECT;
	}
	if (d->handle.len == 0)
		return ABSENT;
	known = meta_name_get(v->meta, dir, name, &n);
	if (!vfs_trusts(v, d->checked, since) && !(away && d->checked))
		return ASK_DIR;
	/* A complete directory that is being listed again has later ones, too:
	 * they were told, or changed by us, since. */
	if (known == 0 && n.epoch != d->epoch && !away &&
	    !(d->flags & META_COMPLETE && n.epoch > d->epoch))
		known = -ENOENT;
	if (known < 0)
		return d->flags & META_COMPLETE ? ABSENT :
		       meta_has_room(v->meta)	? LIST :
						  ASK_NAME;
	if (n.absent)
		return ABSENT;
	if (n.ino == 0 || view_get(v, n.ino, i) < 0 || i->handle.len == 0)
		return ASK_NAME;
	if (!vfs_trusts(v, i->checked, since) && !(away && i->checked))
		return ASK_OBJECT;
	return FOUND;
}

int vfs_walk(struct vfs *v, const struct caller *c, uint64_t dir,
	     const char *name, struct meta_inode *d, struct meta_inode *i)
{
	uint64_t since = meta_now(v->meta);
	bool asked = false;
	int r;

	if (strlen(name) > MIN(v->pathconf.name_max, (uint32_t)NAME_BYTES_MAX))
		return -ENAMETOOLONG;
	if (strcmp(name, HOLD_NAME) == 0)
		return -ENOENT;
	/* Each round asks one question whose answer the next round finds. A
	 * directory that others change all the time could go on for ever. */
	for (unsigned round = 0; round < 8; round++) {
		meta_begin(v->meta);
		r = look(v, dir, name, since, d, i);
		meta_end(v->meta);
		if (r == FOUND || r == ABSENT) {
			stats_add(asked ? &v->stats->name_misses :
					  &v->stats->name_hits, 1);
			ahead_used(v, d, USE_NAMES);
		}
		if (r == FOUND)
			ahead_used(v, i, USE_ATTR);
		asked = true;
		switch (r) {
		case FOUND:
			return 0;
		case ABSENT:
			return -ENOENT;
		case ASK_DIR:
			r = vfs_revalidate(v, c, d, since);
			break;
		case ASK_OBJECT:
			r = ask_object(v, c, i, since);
			if (r != -ESTALE)
				break;
			/* The name leads to another file now. */
			r = ask_name(v, c, d, name, i);
			break;
		case LIST:
			r = vfs_list(v, c, d, since, false);
			if (r != -EAGAIN && r != -ENOSPC)
				break;
			/* fall through */
		case ASK_NAME:
			r = ask_name(v, c, d, name, i);
			if (r == 0)
				return i->ino ? 0 : -ENOENT;
			break;
		default:
			break;
		}
		if (r < 0)
			return r;
	}
	r = ask_name(v, c, d, name, i);
	return r < 0 ? r : i->ino ? 0 : -ENOENT;
}

int vfs_lookup(struct vfs *v, const struct caller *c, uint64_t dir,
	       const char *name, struct vfs_entry *ret)
{
	struct meta_inode d = { 0 }, i;
	int r = vfs_walk(v, c, dir, name, &d, &i);

	if (r == -ENOENT) {
		memset(ret, 0, sizeof(*ret));
		meta_begin(v->meta);
		ret->name_valid_s = MIN(trust_left(v, d.checked), ABSENT_S);
		meta_end(v->meta);
		return 0;
	}
	if (r < 0)
		return r;
	vfs_stale_wait(v, i.ino);
	meta_begin(v->meta);
	vfs_answer_ref(v, &i, d.checked, ret);
	meta_end(v->meta);
	return 0;
}

void vfs_forget(struct vfs *v, uint64_t ino, uint64_t n)
{
	struct meta_inode i;
	bool removed;

	if (!nodes_unref(v->nodes, ino, n))
		return;
	fetch_forget(v->fetch, ino);
	meta_begin(v->meta);
	removed = meta_get(v->meta, ino, &i) == 0 && i.flags & META_REMOVED;
	if (removed)
		(void)meta_forget(v->meta, ino);
	if (v->wback)
		wback_forget(v->wback, ino);
	meta_end(v->meta);
	if (removed)
		hold_release(v, &i);
}

int vfs_getattr(struct vfs *v, const struct caller *c, uint64_t ino,
		struct vfs_entry *ret)
{
	struct meta_inode i;
	int r = vfs_inode(v, c, ino, meta_now(v->meta), &i);

	if (r < 0)
		return r;
	vfs_stale_wait(v, ino);
	meta_begin(v->meta);
	vfs_answer(v, &i, 0, ret);
	meta_end(v->meta);
	return 0;
}

/* The target, if the cache has it. What is kept under another version of the
 * inode does not count. */
static int known_target(struct vfs *v, uint64_t ino, struct meta_inode *i,
			char **ret)
{
	int r;

	meta_begin(v->meta);
	r = meta_get(v->meta, ino, i);
	if (r == 0)
		r = meta_target_get(v->meta, i, ret);
	meta_end(v->meta);
	return r;
}

int vfs_readlink(struct vfs *v, const struct caller *c, uint64_t ino, char **ret)
{
	struct remote_call *call;
	struct meta_inode i = { 0 };
	int r;

	if (v->wback && wback_readlink(v->wback, ino, ret) == 0)
		return 0;
	if (known_target(v, ino, &i, ret) == 0)
		return 0;
	if (i.handle.len) {
		ahead_missed_link(v, &i);
		r = flight_wait(v, c, ASK_LINK, &i, 0, 0, true);
		if (r == -EINTR)
			return r;
		if (known_target(v, ino, &i, ret) == 0)
			return 0;
	}
	/* Its handle has changed, or it cannot be kept. */
	call = remote_call_new(REMOTE_READLINK, NULL, NULL);
	if (!call)
		return -ENOMEM;
	r = vfs_run(v, c, ino, call);
	if (r == 0) {
		*ret = call->data;
		call->data = NULL;
	}
	remote_call_unref(call);
	return r;
}

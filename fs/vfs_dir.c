/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vfs_dir.c: listings of whole directories, and the names that we change while
 * one is under way.
 *
 * A directory is listed once, as a whole, by READDIRPLUS, and is then complete:
 * it answers for every name, present or absent. One listing of a directory is
 * under way at a time (flight.c).
 *
 * A listing writes its names under a new epoch, which becomes the directory's
 * when it lands; then the names of all other epochs go. The epoch of one that
 * fails is used up: what it has written must not be taken for the next one's.
 * Names that we change ourselves while it flies are noted in it (.ours): they are
 * written under its epoch by vfs_name_set() and vfs_name_unset(), and what the
 * listing says of them is ignored, since it may be older.
 *
 * One of a directory that is complete already is for the attributes of what is
 * in it, and renews: as long as the pages tell the version that is known, the
 * epoch is the directory's own, names stay where they are, and none goes. When
 * they tell another, it goes on as any other.
 *
 * Without room in the cache for the names there is no listing (-ENOSPC): each
 * name is asked for by itself, and vfs_unlisted.c reads the directory.
 */
#include "flight.h"
#include "view.h"

#include <dirent.h>

enum { EPOCH_STRIDE = 16, TRIES_MAX = 10 };

/* ---- names that we change ourselves; in a bracket ---- */

static bool is_ours(const struct flight *f, const char *name)
{
	for (size_t k = 0; k < f->ours_n; k++)
		if (strcmp(f->ours[k], name) == 0)
			return true;
	return false;
}

/* Note @name in the directory's flight, if there is one. Returns the epoch that
 * the name is to be stored under. */
static uint32_t note_ours(struct vfs *v, const struct meta_inode *dir,
			  const char *name)
{
	uint32_t epoch = dir->epoch;
	struct flight *f;

	mutex_lock(&v->lock);
	f = flight_listing(v, dir->ino);
	if (f) {
		epoch = f->epoch;
		if (!is_ours(f, name)) {
			char **grown = realloc(f->ours, (f->ours_n + 1) *
							sizeof(*grown));
			if (!grown)
				abort();
			f->ours = grown;
			f->ours[f->ours_n] = strdup(name);
			if (!f->ours[f->ours_n])
				abort();
			f->ours_n++;
		}
	}
	mutex_unlock(&v->lock);
	return epoch;
}

static int kept_or_not(int r)
{
	return r == -ENOSPC ? 0 : r; /* then nothing is believed, meta.h */
}

/* What the server just said of one name, under the directory's epoch as it is
 * now, not when the question was sent; or it would go when a listing under way
 * lands, and be taken for absent when one has landed since. */
int vfs_name_learn(struct vfs *v, uint64_t dir, const char *name,
		   struct meta_name *n)
{
	struct meta_inode d;
	struct flight *f;
	int r = meta_get(v->meta, dir, &d);

	if (r < 0)
		return r == -ENOENT ? -ESTALE : r;
	mutex_lock(&v->lock);
	f = flight_listing(v, dir);
	n->epoch = f ? f->epoch : d.epoch;
	mutex_unlock(&v->lock);
	return kept_or_not(meta_name_put(v->meta, dir, name, n));
}

int vfs_name_set(struct vfs *v, const struct meta_inode *dir, const char *name,
		 const struct meta_inode *i)
{
	struct meta_name n = { .ino = i->ino,
			       .epoch = note_ours(v, dir, name),
			       .type = IFTODT(i->attr.mode) };

	return kept_or_not(meta_name_put(v->meta, dir->ino, name, &n));
}

int vfs_name_unset(struct vfs *v, const struct meta_inode *dir, const char *name)
{
	struct meta_name n = { .epoch = note_ours(v, dir, name),
			       .absent = true };

	/* A complete directory needs no negative entry. */
	if (dir->flags & META_COMPLETE && n.epoch == dir->epoch)
		return kept_or_not(meta_name_del(v->meta, dir->ino, name));
	return kept_or_not(meta_name_put(v->meta, dir->ino, name, &n));
}

/* ---- one page ---- */

bool vfs_name_is_sane(const char *name)
{
	return *name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
	       !strchr(name, '/');
}

/* Is that what is known of @name? Without an inode it is no news. */
static bool is_known(struct vfs *v, const struct flight *f, const char *name,
		     const struct meta_name *n)
{
	struct meta_name now;

	return f->renew && meta_name_get(v->meta, f->ino, name, &now) == 0 &&
	       now.epoch == n->epoch && !now.absent &&
	       (n->ino == 0 || (now.ino == n->ino && now.type == n->type));
}

/* In a bracket. */
static int take_entry(struct vfs *v, struct flight *f,
		      const struct remote_dirent *e)
{
	struct meta_name n = { .epoch = f->epoch, .type = DT_UNKNOWN };
	bool ours;
	int r;

	if (strcmp(e->name, HOLD_NAME) == 0)
		return 0;
	if (!vfs_name_is_sane(e->name)) {
		stats_add(&v->stats->bad_replies, 1);
		return 0;
	}
	mutex_lock(&v->lock);
	ours = is_ours(f, e->name);
	mutex_unlock(&v->lock);
	if (ours)
		return 0;
	if (e->has_attr)
		n.type = IFTODT(e->attr.mode);
	/* Without a handle (another filesystem begins there, or the server is
	 * sparing) the name alone is known; its inode is asked for when it is
	 * used. */
	if (e->has_attr && e->fh.len) {
		struct meta_inode i;

		r = vfs_adopt(v, f->ino, &e->fh, &e->attr, &f->when, false,
			      &i);
		if (r < 0)
			return r;
		n.ino = i.ino;
	}
	return is_known(v, f, e->name, &n) ?
		       0 :
		       meta_name_put(v->meta, f->ino, e->name, &n);
}

enum { ENTRIES_A_BRACKET = 64 };

static int take_entries(struct vfs *v, struct flight *f,
			const struct remote_call *call)
{
	int r = 0;

	for (size_t k = 0; k < call->entries_n && r == 0;) {
		size_t end = MIN(call->entries_n, k + ENTRIES_A_BRACKET);

		meta_begin(v->meta);
		for (; k < end && r == 0; k++)
			r = take_entry(v, f, &call->entries[k]);
		meta_end(v->meta);
	}
	return r;
}

/* Before the first page is asked for, also when starting over: a new epoch,
 * well above any that the directory may reach meanwhile; what we change from
 * now on is ours. */
static int set_out(struct vfs *v, struct flight *f)
{
	struct meta_inode d;
	int r;

	meta_begin(v->meta);
	r = meta_has_room(v->meta) ? meta_get(v->meta, f->ino, &d) : -ENOSPC;
	if (r == 0) {
		f->renew = d.flags & META_COMPLETE &&
			   !(d.flags & META_RELIST);
		f->based_on = d.epoch;
		mutex_lock(&v->lock);
		f->epoch = f->renew ? d.epoch :
				      MAX(f->epoch, d.epoch) + EPOCH_STRIDE;
		f->set_out = true;
		f->stamp = meta_now(v->meta);
		while (f->ours_n > 0)
			free(f->ours[--f->ours_n]);
		mutex_unlock(&v->lock);
	}
	meta_end(v->meta);
	f->cookie = 0;
	memset(f->verf, 0, sizeof(f->verf));
	return r == -ENOENT ? -ESTALE : r;
}

/* In a bracket: it is another version than the one that was to be renewed. What
 * we changed since was written under the old epoch. */
static int stop_renewing(struct vfs *v, struct flight *f, uint32_t epoch)
{
	struct meta_name n;
	int r = 0;

	f->renew = false;
	mutex_lock(&v->lock);
	f->epoch = MAX(f->epoch, epoch) + EPOCH_STRIDE;
	mutex_unlock(&v->lock);
	/* Nobody adds to it: who does is in a bracket, too. */
	for (size_t k = 0; k < f->ours_n && r == 0; k++) {
		if (meta_name_get(v->meta, f->ino, f->ours[k], &n) < 0)
			continue;
		n.epoch = f->epoch;
		r = meta_name_put(v->meta, f->ino, f->ours[k], &n);
	}
	return r;
}

/* The first page tells the directory's version, unless we changed it while the
 * page was on its way: then the replies to our changes have told it. */
static int take_first(struct vfs *v, struct flight *f,
		      const struct remote_call *call)
{
	struct meta_inode d;
	uint32_t was = f->based_on;
	int r;

	meta_begin(v->meta);
	r = meta_get(v->meta, f->ino, &d);
	if (r == 0 && call->has_dir_attr &&
	    !vfs_is_newer(v, f->ino, f->when.sent)) {
		vfs_merge(v, &d, &call->dir_attr, &f->when, false);
		f->based_on = d.epoch;
		r = meta_put(v->meta, &d);
	}
	if (r == 0 && f->renew &&
	    (d.epoch != was || !(d.flags & META_COMPLETE)))
		r = stop_renewing(v, f, d.epoch);
	meta_end(v->meta);
	return r == -ENOENT ? -ESTALE : r;
}

/* All pages are there: the directory is complete, unless it changed meanwhile
 * by somebody else. One that never holds still is taken as it is in the end,
 * and listed again when the trust in it ends. */
static int take_last(struct vfs *v, struct flight *f,
		     const struct remote_call *call)
{
	struct meta_inode d;
	bool spoilt;
	int r;

	meta_begin(v->meta);
	r = meta_get(v->meta, f->ino, &d);
	if (r < 0)
		goto out;
	/* A new epoch: somebody else's change was found meanwhile. Another
	 * mtime now than at the first page: one has just happened. */
	spoilt = d.epoch != f->based_on ||
		 (f->renew && !(d.flags & META_COMPLETE)) ||
		 (!vfs_is_newer(v, f->ino, f->when.sent) &&
		  call->has_dir_attr &&
		  !timespec_equal(&d.server_mtime, &call->dir_attr.mtime));
	if (spoilt && f->tries < TRIES_MAX) {
		r = -EAGAIN;
		goto out;
	}
	d.epoch = f->epoch;
	d.flags |= META_COMPLETE;
	d.flags &= ~(unsigned)META_RELIST;
	if (spoilt)
		d.flags |= META_RELIST;
	/* Doubted since the first page: this does not settle it. */
	if (call->has_dir_attr && d.checked != STAMP_DOUBTED)
		d.checked = MAX(d.checked, f->stamp);
	r = meta_put(v->meta, &d);
	if (r == 0 && !(f->renew && !spoilt))
		r = meta_names_purge(v->meta, f->ino, f->epoch);
out:
	meta_end(v->meta);
	return r == -ENOENT ? -ESTALE : r;
}

int listing_prepare(struct vfs *v, struct flight *f)
{
	int r = f->cookie == 0 ? set_out(v, f) : 0;

	if (r < 0)
		return r;
	f->call = remote_call_new(REMOTE_READDIRPLUS, &f->fh, NULL);
	if (!f->call)
		return -ENOMEM;
	f->call->cookie = f->cookie;
	memcpy(f->call->verf, f->verf, sizeof(f->verf));
	f->call->count = v->config->listing_bytes;
	return 0;
}

static int take_page(struct vfs *v, struct flight *f,
		     const struct remote_call *call)
{
	uint64_t cookie;
	int r = call->status;

	if (r == 0 && f->cookie == 0)
		r = take_first(v, f, call);
	if (r == 0)
		r = take_entries(v, f, call);
	if (r < 0)
		return r;
	if (call->eof)
		return take_last(v, f, call);
	/* A server that does not move on would keep us for ever. */
	if (call->entries_n == 0)
		return -EREMOTEIO;
	cookie = call->entries[call->entries_n - 1].cookie;
	if (cookie == f->cookie || cookie == 0)
		return -EREMOTEIO;
	f->cookie = cookie;
	memcpy(f->verf, call->verf, sizeof(f->verf));
	return -EINPROGRESS;
}

int listing_take(struct vfs *v, struct flight *f, const struct remote_call *call)
{
	int r = take_page(v, f, call);

	stats_add(&v->stats->listing_pages, 1);
	mutex_lock(&v->lock);
	f->pages++;
	mutex_unlock(&v->lock);
	/* A cookie gone bad, or the directory changed: from the start. */
	if ((r == -EAGAIN || r == -EBADE) && f->tries++ < TRIES_MAX) {
		f->cookie = 0;
		r = -EINPROGRESS;
	}
	return r;
}

void listing_failed(struct vfs *v, const struct flight *f)
{
	struct meta_inode d;

	meta_begin(v->meta);
	if (meta_get(v->meta, f->ino, &d) == 0 && d.epoch < f->epoch) {
		d.epoch = f->epoch + 1;
		d.flags &= ~(unsigned)META_COMPLETE;
		(void)meta_put(v->meta, &d);
	}
	meta_end(v->meta);
}

int vfs_list(struct vfs *v, const struct caller *c, const struct meta_inode *d,
	     uint64_t since, bool patient)
{
	return flight_wait(v, c, ASK_LIST, d, 0, since, patient);
}

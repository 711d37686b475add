/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vfs_dir.c: listings of whole directories.
 *
 * A directory is listed once, as a whole, by READDIRPLUS, and is then complete:
 * it answers for every name, present or absent. One listing of a directory is
 * under way at a time, a flight; whoever else needs it waits for it.
 *
 *   state       who moves it on                        left for
 *   FLYING      the thread that started it             LANDED, or QUEUED when it
 *                                                      took too many pages
 *   QUEUED      the worker                             LANDED
 *   LANDED      nobody; waiters read .status and go    freed with the last ref
 *
 * A flight writes its names under a new epoch, which becomes the directory's
 * when it lands; then the names of all other epochs go. Names that we change
 * ourselves while it flies are noted in it (.ours): they are written under both
 * epochs' rules by vfs_name_set() and vfs_name_unset(), and what the listing
 * says of them is ignored, since it may be older.
 *
 * Flights are guarded by vfs.lock, which is taken inside the meta bracket.
 */
#include "view.h"

#include <dirent.h>

struct flight {
	struct flight *next;     /* in vfs.flights */
	struct flight *next_job; /* in vfs.jobs */
	unsigned refs;
	bool landed, queued;
	int status;
	uint64_t dir;
	uint32_t epoch;
	char **ours; /* names changed by us meanwhile */
	size_t ours_n;

	/* Only the thread that moves it on: */
	struct handle fh;
	uint64_t cookie;
	uint8_t verf[8];
	unsigned pages, tries;
	uint64_t stamp;    /* when its first page was asked for */
	uint32_t based_on; /* the directory's epoch as of the first page */
};

enum { EPOCH_STRIDE = 16 };

/* ---- the life of a flight ---- */

static struct flight *find_flight(struct vfs *v, uint64_t dir) REQUIRES(v->lock)
{
	for (struct flight *f = v->flights; f; f = f->next)
		if (f->dir == dir)
			return f;
	return NULL;
}

static void free_flight(struct flight *f)
{
	for (size_t k = 0; k < f->ours_n; k++)
		free(f->ours[k]);
	free(f->ours);
	free(f);
}

static void unref_flight(struct flight *f)
{
	if (--f->refs == 0)
		free_flight(f);
}

static void land(struct vfs *v, struct flight *f, int status)
{
	mutex_lock(&v->lock);
	for (struct flight **p = &v->flights; *p; p = &(*p)->next)
		if (*p == f) {
			*p = f->next;
			break;
		}
	f->landed = true;
	f->status = status;
	cond_broadcast(&v->cond);
	unref_flight(f);
	mutex_unlock(&v->lock);
}

void vfs_flights_free(struct vfs *v)
{
	while (v->flights) {
		struct flight *f = v->flights;

		v->flights = f->next;
		free_flight(f);
	}
}

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
	f = find_flight(v, dir->ino);
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
	f = find_flight(v, dir);
	n->epoch = f ? f->epoch : d.epoch;
	mutex_unlock(&v->lock);
	return meta_name_put(v->meta, dir, name, n);
}

int vfs_name_set(struct vfs *v, const struct meta_inode *dir, const char *name,
		 const struct meta_inode *i)
{
	struct meta_name n = { .ino = i->ino,
			       .epoch = note_ours(v, dir, name),
			       .type = IFTODT(i->attr.mode) };

	return meta_name_put(v->meta, dir->ino, name, &n);
}

int vfs_name_unset(struct vfs *v, const struct meta_inode *dir, const char *name)
{
	struct meta_name n = { .epoch = note_ours(v, dir, name),
			       .absent = true };

	/* A complete directory needs no negative entry. */
	if (dir->flags & META_COMPLETE && n.epoch == dir->epoch)
		return meta_name_del(v->meta, dir->ino, name);
	return meta_name_put(v->meta, dir->ino, name, &n);
}

/* ---- one page ---- */

static bool name_is_sane(const char *name)
{
	return *name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
	       !strchr(name, '/');
}

/* In a bracket. */
static int take_entry(struct vfs *v, struct flight *f,
		      const struct remote_dirent *e, const struct moment *when)
{
	struct meta_name n = { .epoch = f->epoch, .type = DT_UNKNOWN };
	bool ours;
	int r;

	if (strcmp(e->name, HOLD_NAME) == 0)
		return 0;
	if (!name_is_sane(e->name)) {
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

		r = vfs_adopt(v, f->dir, &e->fh, &e->attr, when, false, &i);
		if (r < 0)
			return r;
		n.ino = i.ino;
	}
	return meta_name_put(v->meta, f->dir, e->name, &n);
}

enum { ENTRIES_A_BRACKET = 64 };

static int take_entries(struct vfs *v, struct flight *f,
			const struct remote_call *call,
			const struct moment *when)
{
	int r = 0;

	for (size_t k = 0; k < call->entries_n && r == 0;) {
		size_t end = MIN(call->entries_n, k + ENTRIES_A_BRACKET);

		meta_begin(v->meta);
		for (; k < end && r == 0; k++)
			r = take_entry(v, f, &call->entries[k], when);
		meta_end(v->meta);
	}
	return r;
}

enum { TRIES_MAX = 10 };

/* Before the first page is asked for, also when starting over: a new epoch,
 * well above any that the directory may reach meanwhile; what we change from
 * now on is ours. */
static int set_out(struct vfs *v, struct flight *f)
{
	struct meta_inode d;
	int r;

	meta_begin(v->meta);
	r = meta_get(v->meta, f->dir, &d);
	mutex_lock(&v->lock);
	f->epoch = MAX(f->epoch, d.epoch) + EPOCH_STRIDE;
	while (f->ours_n > 0)
		free(f->ours[--f->ours_n]);
	mutex_unlock(&v->lock);
	meta_end(v->meta);
	f->based_on = d.epoch;
	f->stamp = meta_now(v->meta);
	f->cookie = 0;
	memset(f->verf, 0, sizeof(f->verf));
	return r == -ENOENT ? -ESTALE : r;
}

/* The first page tells the directory's version, unless we changed it while the
 * page was on its way: then the replies to our changes have told it. */
static int take_first(struct vfs *v, struct flight *f,
		      const struct remote_call *call, const struct moment *when)
{
	struct meta_inode d;
	int r = 0;

	if (!call->has_dir_attr)
		return 0;
	meta_begin(v->meta);
	if (!vfs_is_newer(v, f->dir, when->sent)) {
		r = meta_get(v->meta, f->dir, &d);
		if (r == 0) {
			vfs_merge(v, &d, &call->dir_attr, when, false);
			f->based_on = d.epoch;
			r = meta_put(v->meta, &d);
		}
	}
	meta_end(v->meta);
	return r;
}

/* All pages are there: the directory is complete, unless it changed meanwhile
 * by somebody else. One that never holds still is taken as it is in the end,
 * and listed again when the trust in it ends. */
static int take_last(struct vfs *v, struct flight *f,
		     const struct remote_call *call, const struct moment *when)
{
	struct meta_inode d;
	bool spoilt;
	int r;

	meta_begin(v->meta);
	r = meta_get(v->meta, f->dir, &d);
	if (r < 0)
		goto out;
	/* A new epoch: somebody else's change was found meanwhile. Another
	 * mtime now than at the first page: one has just happened. */
	spoilt = d.epoch != f->based_on ||
		 (!vfs_is_newer(v, f->dir, when->sent) && call->has_dir_attr &&
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
	if (call->has_dir_attr)
		d.checked = MAX(d.checked, f->stamp);
	r = meta_put(v->meta, &d);
	if (r == 0)
		r = meta_names_purge(v->meta, f->dir, f->epoch);
out:
	meta_end(v->meta);
	return r;
}

/* Ask for one page and take it. 0: more to come; 1: that was the last. */
static int fly_page(struct vfs *v, const struct caller *c, struct flight *f)
{
	struct remote_call *call =
		remote_call_new(REMOTE_READDIRPLUS, &f->fh, NULL);
	struct moment when;
	bool last;
	int r;

	if (!call)
		return -ENOMEM;
	r = f->pages == 0 ? set_out(v, f) : 0;
	if (r < 0)
		goto out;
	when = vfs_moment(v);
	call->cookie = f->cookie;
	memcpy(call->verf, f->verf, sizeof(f->verf));
	call->count = v->config->listing_bytes;
	r = remote_run(v->remote, call, c->intr, 0);
	stats_add(&v->stats->listing_pages, 1);
	if (r < 0)
		goto out;
	last = call->eof;
	if (f->pages++ == 0)
		r = take_first(v, f, call, &when);
	if (r == 0)
		r = take_entries(v, f, call, &when);
	if (r == 0 && !last) {
		/* A server that does not move on would keep us for ever. */
		uint64_t cookie;

		if (call->entries_n == 0) {
			r = -EREMOTEIO;
			goto out;
		}
		cookie = call->entries[call->entries_n - 1].cookie;
		if (cookie == f->cookie)
			r = -EREMOTEIO;
		f->cookie = cookie;
		memcpy(f->verf, call->verf, sizeof(f->verf));
	}
	if (r == 0 && last) {
		r = take_last(v, f, call, &when);
		if (r == 0)
			r = 1;
	}
out:
	remote_call_unref(call);
	return r;
}

/* Fly to the end, or for @pages. -EINPROGRESS: not at the end yet. */
static int fly(struct vfs *v, const struct caller *c, struct flight *f,
	       unsigned pages)
{
	int r = 0;

	while (r == 0) {
		if (pages-- == 0)
			return -EINPROGRESS;
		r = fly_page(v, c, f);
		/* A cookie gone bad, or the directory changed: from the start. */
		if ((r == -EAGAIN || r == -EBADE) &&
		    f->tries++ < TRIES_MAX) {
			f->pages = 0;
			r = 0;
		}
	}
	return r == 1 ? 0 : r;
}

/* ---- joining and leading ---- */

/* The flight of @d, new or joined, with a reference. *@ret_lead: it is the
 * caller's to fly. */
static int board(struct vfs *v, const struct meta_inode *d, struct flight **ret,
		 bool *ret_lead)
{
	struct flight *f;

	mutex_lock(&v->lock);
	f = find_flight(v, d->ino);
	*ret_lead = !f;
	if (!f) {
		f = calloc(1, sizeof(*f));
		if (!f) {
			mutex_unlock(&v->lock);
			return -ENOMEM;
		}
		f->dir = d->ino;
		f->fh = d->handle;
		f->epoch = d->epoch;
		f->refs = 1; /* the list's */
		f->next = v->flights;
		v->flights = f;
		stats_add(&v->stats->listings, 1);
	}
	f->refs++;
	mutex_unlock(&v->lock);
	*ret = f;
	return 0;
}

static void hand_to_worker(struct vfs *v, struct flight *f)
{
	mutex_lock(&v->lock);
	f->queued = true;
	f->next_job = NULL;
	*v->jobs_end = f;
	v->jobs_end = &f->next_job;
	cond_broadcast(&v->cond);
	mutex_unlock(&v->lock);
	stats_add(&v->stats->listings_in_background, 1);
}

void vfs_flights_work(struct vfs *v)
{
	struct caller self = { .intr = &v->ending };
	struct flight *f;
	int r = -EINPROGRESS;
	bool closing;

	mutex_lock(&v->lock);
	f = v->jobs;
	v->jobs = f->next_job;
	if (!v->jobs)
		v->jobs_end = &v->jobs;
	closing = v->closing;
	mutex_unlock(&v->lock);
	while (r == -EINPROGRESS && !closing) {
		r = fly(v, &self, f, 1);
		mutex_lock(&v->lock);
		closing = v->closing;
		mutex_unlock(&v->lock);
	}
	land(v, f, r == -EINPROGRESS ? -EINTR : r);
}

enum { WAIT_POLL_MS = 100 };

/* Until the flight landed; or, not @patient, until it proves long. */
static int wait_landed(struct vfs *v, const struct caller *c, struct flight *f,
		       bool patient)
{
	int r = 0;

	mutex_lock(&v->lock);
	while (!f->landed && r == 0) {
		if (!patient && f->queued)
			r = -EAGAIN;
		else if (c->intr && remote_intr_is_fatal(c->intr))
			r = -EINTR;
		else
			(void)cond_wait_until(&v->cond, &v->lock,
					      clock_ms() + WAIT_POLL_MS);
	}
	if (f->landed)
		r = f->status;
	unref_flight(f);
	mutex_unlock(&v->lock);
	return r;
}

int vfs_list(struct vfs *v, const struct caller *c, struct meta_inode *d,
	     uint64_t since, bool patient)
{
	struct flight *f;
	bool lead;
	int r = board(v, d, &f, &lead);

	if (r < 0)
		return r;
	if (lead) {
		/* Somebody else's may have landed since the caller looked. */
		meta_begin(v->meta);
		r = meta_get(v->meta, d->ino, d);
		meta_end(v->meta);
		if (r < 0 || (d->flags & META_COMPLETE &&
			      vfs_trusts(v, d->checked, since))) {
			land(v, f, r);
		} else {
			r = fly(v, c, f, LIMIT_LISTING_PAGES);
			if (r == -EINPROGRESS)
				hand_to_worker(v, f);
			else
				land(v, f, r);
		}
	}
	r = wait_landed(v, c, f, patient);
	/* The leader's own interruption is not the joiners'. */
	if (r == -EINTR && !lead && !(c->intr && remote_intr_is_fatal(c->intr)))
		return vfs_list(v, c, d, since, patient);
	return r;
}

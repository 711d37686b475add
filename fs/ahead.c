/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ahead.c: what is about to be needed is asked for before, by flights that nobody
 * waits for; whoever needs it meanwhile joins them.
 *
 * Walking. When a directory is read, its child directories are likely to be read
 * next, in the order in which it showed them, each followed by its own children.
 * That order is the road. On it are directories that are not complete or not
 * trusted:
 *
 *   state   what it means                      moves on when
 *   OFF     not on the road
 *   WANT    to be asked for                    the window and the number of calls
 *                                              in flight allow: ASKED
 *   ASKED   its flight is under way            it lands: READY, and its children
 *                                              that are WANTed come behind it;
 *                                              it failed: OFF
 *   READY   known, and not used yet            it is used: OFF; not for as long
 *                                              as the trust in it lasts: OFF, a
 *                                              waste
 *
 * The window bounds ASKED and READY. It is small at first, grows by an eighth with
 * every use of what was asked ahead, and shrinks by one with every waste. Whoever
 * uses a directory on the road turns the road: what is behind it is needed next,
 * what was in front of it comes last.
 *
 * What is not complete is listed. What is complete is confirmed by a GETATTR, and
 * listed if that finds it changed.
 *
 * Files. NFS tells the attributes of many files of one directory best by listing
 * it. When those of some (2, and one more for each 16 KiB of the directory) were
 * used lately and the trust in one runs out, the directory is listed instead of
 * asking for one after another. When that happens in one directory after another
 * (wants_files), those on the road are listed, too. Then nobody asks us any more,
 * as the kernel is given the attributes with the names; so some directories are
 * samples: it is given the names alone, and if it does not ask for more, the
 * habit ends.
 *
 * Symlinks. When the targets of some are asked for one after another, those beside
 * them, and in the directories on the road, are asked for, too.
 *
 * Renewing. What was used within the last trust window, directory or file, is
 * asked for again when half of the trust is over, so that who uses it steadily
 * never waits for that; what is not used any more is forgotten after a window,
 * and an idle mount is silent. Not with ac=forever.
 *
 * Bounds: the table of ahead_int.h; at most CALLS_MAX flights, and few while
 * somebody waits for the server. Nothing is asked while the server is away.
 *
 * The lock is a leaf; the worker lets go of it to look into the cache and to ask,
 * and finds spots again by their inodes.
 */
#include "ahead_int.h"

enum {
	FILES_MIN = 2,
	FILES_MORE_BYTES = 16 * 1024,
	WANTS_FILES_MAX = 8,
	SAMPLE_EVERY = 16,
	PASSES = 8, /* looks at all spots in a trust window */
};

static bool is_on(const struct vfs *v)
{
	return vfs_ac_ms(v) > 0;
}

uint64_t ahead_in_use_ms(const struct vfs *v)
{
	uint32_t ac = vfs_ac_ms(v);

	return ac == CONFIG_AC_FOREVER ? (uint64_t)IN_USE_MS : ac;
}

/* Is half of the trust over? Not with ac=forever: it never is. */
static bool is_fading(struct vfs *v, uint64_t checked)
{
	uint32_t ac = vfs_ac_ms(v);

	return ac != CONFIG_AC_FOREVER &&
	       (!vfs_trusts(v, checked, 0) ||
		meta_now(v->meta) - checked >= (uint64_t)ac * 500);
}

/* ---- told by operations ---- */

/* A file's use is one of its directory, too. */
static void count_file(struct ahead *a, struct spot *s, uint64_t parent)
	REQUIRES(a->lock)
{
	struct spot *dir;

	dir = spot_get(a, s->is_file ? s->parent : parent);
	if (!dir)
		return;
	dir->used_ms = clock_ms();
	if (!s->is_file) {
		s->is_file = true;
		s->parent = parent;
		dir->files++;
	}
	if (dir->sample) { /* they are wanted */
		dir->sample = false;
		a->sample = 0;
		a->wants_files = WANTS_FILES_MAX;
	}
}

static void used_on_road(struct ahead *a, struct spot *s) REQUIRES(a->lock)
{
	if (s->road != WANT) {
		stats_add(&a->stats->ahead_used, 1);
		a->window = MIN(a->window + a->window / 8,
				(unsigned)WINDOW_MAX);
	}
	road_turn(a, s);
	road_leave(a, s);
}

/* Has the worker to look at it? */
static bool used(struct vfs *v, struct ahead *a, struct spot *s,
		 const struct meta_inode *i, enum use use) REQUIRES(a->lock)
{
	uint64_t now = clock_ms();
	bool stirs = false;

	if (!S_ISDIR(i->attr.mode))
		count_file(a, s, i->parent);
	s->used_ms = now;
	s->checked = i->checked;
	if (use != USE_ATTR && s->road != OFF) {
		used_on_road(a, s);
		stirs = true;
	}
	if (use == USE_READ && now - s->scanned_ms >= ahead_in_use_ms(v) / 2) {
		spot_task(a, s, SCAN);
		stirs = true;
	}
	if (s->task == NOTHING && is_fading(v, s->checked) &&
	    vfs_trusts(v, s->checked, 0)) {
		spot_task(a, s, RENEW);
		stirs = true;
	}
	return stirs || a->pass_ms == 0;
}

void ahead_used(struct vfs *v, const struct meta_inode *i, enum use use)
{
	struct ahead *a = v->ahead;
	struct spot *s;
	bool stirs;

	if (!is_on(v) || i->handle.len == 0 || i->flags & META_REMOVED)
		return;
	mutex_lock(&a->lock);
	s = spot_get(a, i->ino);
	stirs = s && used(v, a, s, i, use);
	mutex_unlock(&a->lock);
	if (stirs)
		vfs_stir(v);
}

/* ---- files ---- */

static bool lists_for_files(const struct ahead *a, const struct spot *s,
			    const struct meta_inode *dir)
{
	unsigned least = a->wants_files >= WANTS_FILES ? 1 : FILES_MIN;

	return dir->flags & META_COMPLETE &&
	       s->files >= least + dir->attr.size / FILES_MORE_BYTES;
}

/* From now on files' attributes are wanted: those that are ready are not. */
static void start_wanting_files(struct vfs *v, struct ahead *a)
	REQUIRES(a->lock)
{
	struct spot *s;

	TAILQ_FOREACH(s, &a->road, way)
		if (s->road == READY && !vfs_trusts(v, s->listed, 0))
			road_set(a, s, WANT);
}

bool ahead_lists(struct vfs *v, const struct meta_inode *file,
		 struct meta_inode *ret_dir)
{
	struct ahead *a = v->ahead;
	struct spot *s;
	bool yes;

	if (!is_on(v) || S_ISDIR(file->attr.mode))
		return false;
	meta_begin(v->meta);
	yes = meta_get(v->meta, file->parent, ret_dir) == 0;
	meta_end(v->meta);
	if (!yes || ret_dir->handle.len == 0)
		return false;
	mutex_lock(&a->lock);
	s = spot_find(a, file->parent);
	yes = s && lists_for_files(a, s, ret_dir);
	if (yes && clock_ms() - s->counted_ms >= ahead_in_use_ms(v)) {
		s->counted_ms = clock_ms();
		a->wants_files = MIN(a->wants_files + 1,
				     (unsigned)WANTS_FILES_MAX);
		if (a->wants_files == WANTS_FILES)
			start_wanting_files(v, a);
	}
	mutex_unlock(&a->lock);
	return yes;
}

bool ahead_withholds(struct vfs *v, uint64_t dir, uint64_t after)
{
	struct ahead *a = v->ahead;
	struct spot *s;
	bool yes = false;

	mutex_lock(&a->lock);
	s = spot_find(a, dir);
	if (s && after == 0) {
		s->sample = false;
		if (a->wants_files >= WANTS_FILES &&
		    ++a->reads >= SAMPLE_EVERY) {
			a->reads = 0;
			if (a->sample) /* the last one was not asked about */
				a->wants_files -= WANTS_FILES;
			a->sample = dir;
			s->sample = true;
		}
	}
	yes = s && s->sample;
	mutex_unlock(&a->lock);
	return yes;
}

/* ---- symlinks ---- */

bool ahead_wants_links(struct vfs *v, struct ahead *a)
{
	return a->wants_links >= WANTS_LINKS &&
	       clock_ms() - a->links_ms < ahead_in_use_ms(v);
}

void ahead_missed_link(struct vfs *v, const struct meta_inode *link)
{
	struct ahead *a = v->ahead;
	struct spot *dir;
	bool wants;

	if (!is_on(v))
		return;
	mutex_lock(&a->lock);
	if (clock_ms() - a->links_ms >= ahead_in_use_ms(v))
		a->wants_links = 0;
	a->wants_links++;
	a->links_ms = clock_ms();
	wants = ahead_wants_links(v, a);
	dir = wants ? spot_get(a, link->parent) : NULL;
	if (dir) /* those beside it, then */
		spot_task(a, dir, SCAN);
	mutex_unlock(&a->lock);
	if (wants)
		vfs_stir(v);
}

/* ---- told by flight.c ---- */

void ahead_landed(struct vfs *v, const struct landing *l)
{
	struct ahead *a = v->ahead;
	struct spot *s;

	mutex_lock(&a->lock);
	if (l->ahead)
		a->calls--;
	s = spot_find(a, l->ino);
	if (s && l->q == ASK_LIST)
		s->listing = false;
	if (s && l->status == 0 && l->stamp && l->q != ASK_LINK) {
		s->checked = MAX(s->checked, l->stamp);
		if (l->q == ASK_LIST)
			s->listed = MAX(s->listed, l->stamp);
	}
	if (s && l->ahead && s->road == ASKED) {
		if (l->status == 0) {
			road_set(a, s, READY);
			spot_task(a, s, SCAN);
		} else {
			road_leave(a, s);
		}
	}
	mutex_unlock(&a->lock);
	if (l->ahead)
		vfs_stir(v);
}

/* ---- the worker: asking ---- */

enum need { NEED_NOTHING, NEED_ATTR, NEED_LINK, NEED_LIST };

/* What the cache knows of a spot. */
struct found {
	struct meta_inode i, dir; /* of a file its directory, if known */
	bool target; /* of a symlink, its target */
};

/* Of a spot on the road. */
static enum need need_on_road(struct vfs *v, struct ahead *a,
			      const struct spot *s, const struct meta_inode *i)
	REQUIRES(a->lock)
{
	bool complete = i->flags & META_COMPLETE;

	if (!complete ||
	    (a->wants_files >= WANTS_FILES && !vfs_trusts(v, s->listed, 0)))
		return NEED_LIST;
	return vfs_trusts(v, i->checked, 0) ? NEED_NOTHING : NEED_ATTR;
}

/* Of a file in use whose trust fades: its directory, if listing that is the
 * better way and has not been tried. */
static struct spot *lists_instead(struct vfs *v, struct ahead *a,
				  const struct spot *s, const struct found *f)
	REQUIRES(a->lock)
{
	struct spot *dir = s->is_file ? spot_find(a, s->parent) : NULL;

	return dir && lists_for_files(a, dir, &f->dir) &&
			       is_fading(v, dir->listed) ?
		       dir :
		       NULL;
}

/* Of one that is in use. */
static enum need need_renewal(struct vfs *v, struct ahead *a, struct spot *s,
			      const struct found *f) REQUIRES(a->lock)
{
	struct spot *dir;

	s->checked = f->i.checked;
	if (s->to_list && f->i.flags & META_COMPLETE) {
		s->to_list = false;
		s->listing = true;
		return NEED_LIST;
	}
	s->to_list = false;
	if (!is_fading(v, f->i.checked))
		return NEED_NOTHING;
	dir = lists_instead(v, a, s, f);
	if (!dir)
		return NEED_ATTR;
	if (!dir->listing) {
		dir->to_list = true;
		spot_task(a, dir, RENEW);
	}
	return NEED_NOTHING;
}

/* The next to be asked for: what is in use comes first. *@ret_road: it is on
 * the road. 0: none. */
static uint64_t next_to_ask(struct vfs *v, struct ahead *a, bool *ret_road)
	REQUIRES(a->lock)
{
	struct spot *s = TAILQ_FIRST(&a->questions);

	*ret_road = !s;
	if (!flights_have_room(v, a->calls, CALLS_MAX))
		return 0;
	if (!s)
		s = road_next(a);
	return s ? s->ino : 0;
}

/* What @s needs; it is taken for asked from now on. */
static enum need prepare(struct vfs *v, struct ahead *a, struct spot *s,
			 bool road, const struct found *f) REQUIRES(a->lock)
{
	enum need need;

	if (road) {
		if (s->road != WANT)
			return NEED_NOTHING;
		need = f ? need_on_road(v, a, s, &f->i) : NEED_NOTHING;
		if (!f)
			road_leave(a, s);
		else
			road_set(a, s, need ? ASKED : READY);
		if (f && !need)
			spot_task(a, s, SCAN);
	} else {
		need = !f ? NEED_NOTHING :
		       s->task == RENEW ? need_renewal(v, a, s, f) :
		       s->task == LINK && !f->target ? NEED_LINK :
						       NEED_NOTHING;
		if (s->task != SCAN)
			spot_task(a, s, NOTHING);
	}
	a->calls += need != NEED_NOTHING;
	return need;
}

static void not_asked(struct vfs *v, uint64_t ino)
{
	struct ahead *a = v->ahead;
	struct spot *s;

	mutex_lock(&a->lock);
	a->calls--;
	s = spot_find(a, ino);
	if (s)
		s->listing = false;
	if (s && s->road == ASKED)
		road_leave(a, s);
	mutex_unlock(&a->lock);
}

static bool find_spot(struct vfs *v, uint64_t ino, struct found *ret)
{
	bool known;

	memset(&ret->dir, 0, sizeof(ret->dir));
	meta_begin(v->meta);
	known = meta_get(v->meta, ino, &ret->i) == 0 &&
		ret->i.handle.len > 0 && !(ret->i.flags & META_REMOVED);
	if (known && !S_ISDIR(ret->i.attr.mode))
		(void)meta_get(v->meta, ret->i.parent, &ret->dir);
	ret->target = known && (!S_ISLNK(ret->i.attr.mode) ||
				meta_target_get(v->meta, &ret->i, NULL) == 0);
	meta_end(v->meta);
	return known;
}

static bool ask_next(struct vfs *v)
{
	struct ahead *a = v->ahead;
	enum need need = NEED_NOTHING;
	struct found f;
	struct spot *s;
	uint64_t ino;
	bool road, known;
	int r;

	mutex_lock(&a->lock);
	ino = next_to_ask(v, a, &road);
	mutex_unlock(&a->lock);
	if (ino == 0)
		return false;
	known = find_spot(v, ino, &f);
	mutex_lock(&a->lock);
	s = spot_find(a, ino);
	if (s)
		need = prepare(v, a, s, road, known ? &f : NULL);
	mutex_unlock(&a->lock);
	if (need == NEED_NOTHING)
		return true;
	r = flight_start(v, need == NEED_LIST ? ASK_LIST :
			    need == NEED_LINK ? ASK_LINK : ASK_ATTR,
			 &f.i, FOR_AHEAD);
	if (r < 0)
		not_asked(v, ino);
	else if (r == 0)
		stats_add(&v->stats->ahead_asked, 1);
	return true;
}

/* ---- the worker: time passes ---- */

static void look_at(struct vfs *v, struct ahead *a, struct spot *s,
		    uint64_t now) REQUIRES(a->lock)
{
	uint64_t limit = ahead_in_use_ms(v);

	if ((s->road == READY || s->road == WANT) && now - s->road_ms > limit) {
		if (s->road == READY)
			road_waste(a, s);
		else
			road_leave(a, s);
	}
	if (s->road == OFF && s->task == NOTHING && s->files == 0 &&
	    now - s->used_ms > limit)
		spot_drop(a, s);
	else if (s->used_ms && now - s->used_ms <= limit &&
		 s->task == NOTHING && is_fading(v, s->checked) &&
		 vfs_trusts(v, s->checked, 0))
		spot_task(a, s, RENEW); /* else who uses it asks for it */
}

/* Returns when it is due again. */
static uint64_t pass(struct vfs *v)
{
	struct ahead *a = v->ahead;
	uint64_t now = clock_ms(), due;
	struct spot *s, *older;

	mutex_lock(&a->lock);
	if (a->pass_ms <= now) {
		for (s = TAILQ_LAST(&a->ages, spots); s; s = older) {
			older = TAILQ_PREV(s, spots, age);
			look_at(v, a, s, now);
		}
		a->pass_ms = now + MAX(ahead_in_use_ms(v) / PASSES, (uint64_t)1);
	}
	/* 0: there is nothing to look at; the next use begins anew. */
	if (a->n == 0)
		a->pass_ms = 0;
	due = a->n == 0 ? UINT64_MAX : a->pass_ms;
	mutex_unlock(&a->lock);
	return due;
}

uint64_t ahead_work(struct vfs *v)
{
	uint64_t due_ms = pass(v);

	do {
		while (ahead_scan(v))
			;
	} while (is_on(v) && !remote_retry_is_away(v->remote) && ask_next(v));
	return due_ms;
}

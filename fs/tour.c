/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tour.c: tours (tour.h).
 *
 * A tour has a stack of directories to be read in the cache, each with how far
 * that is. One whose names, or an attribute in it, are not known and trusted is
 * asked for, and comes back to the stack when its listing landed; those under way
 * are in `asked`. The top of the stack is read a part at a time, and only while
 * there is room for what that may ask for: so the stack has at most as many
 * entries as a part finds, for each level of the tree, and CALLS_MAX of landed
 * ones. Which directories were met is kept for all, 16 bytes each: a server's tree
 * may have loops.
 *
 * What was confirmed since the tour began counts as trusted, whatever the trust
 * window.
 *
 *   state      left for
 *   RUNNING    OVER when the stack and `asked` are empty, no file is fetched; when stopped or nobody
 *              asked about it, freed, as soon as nothing is under way
 *   OVER       freed when that was told, or nobody asked
 *
 * One lock, a leaf, guards the list of tours, what lands, and the progress; a
 * tour's stack is the worker's alone.
 */
#include "tour.h"

#include "ahead.h"
#include "fetch.h"
#include "view.h"

#include <dirent.h>

enum {
	TOURS_MAX = 8,
	CALLS_MAX = 512, /* of one tour */
	FILES_MAX = 64,  /* being fetched, of one tour */
	BUSY_LOOK_MS = 20,
	PART_NAMES = 512,
	PART_FOUND = 64,
};

struct stop { /* on the way */
	uint64_t ino, after;
	uint64_t entries; /* read so far */
	bool listed; /* by us: what it says is good enough */
};

struct tour {
	struct tour *next;
	uint64_t id;
	enum tour_kind kind;

	/* Under the lock: */
	bool ends; /* it is to end without further ado */
	uint64_t looked_ms;
	struct tour_progress p;
	uint64_t asked[CALLS_MAX]; /* inodes under way */
	unsigned asked_n;
	uint64_t landed[CALLS_MAX]; /* and those that came back */
	unsigned landed_n;
	unsigned files_n; /* being fetched */

	/* Constant: */
	struct vfs *v;
	uint64_t file_bytes_max;

	/* The worker's: */
	uint64_t since; /* stamp */
	struct stop *stack;
	size_t stack_n, stack_size;
	struct nodes *met;
	uint64_t met_n;
};

struct tours {
	struct mutex lock;
	struct tour *list;
	uint64_t last_id;
	unsigned n;
};

int tours_new(struct tours **ret)
{
	struct tours *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	mutex_init(&t->lock);
	*ret = t;
	return 0;
}

static void free_tour(struct tour *t)
{
	nodes_free(t->met);
	free(t->stack);
	free(t);
}

void tours_free(struct tours *ts)
{
	struct tour *t;

	if (!ts)
		return;
	while ((t = ts->list)) {
		ts->list = t->next;
		free_tour(t);
	}
	mutex_destroy(&ts->lock);
	free(ts);
}

static struct tour *find_tour(struct tours *ts, uint64_t id) REQUIRES(ts->lock)
{
	struct tour *t = ts->list;

	while (t && t->id != id)
		t = t->next;
	return t;
}

/* ---- what the command says ---- */

static int push(struct tour *t, uint64_t ino, bool listed)
{
	if (t->stack_n == t->stack_size) {
		size_t size = t->stack_size ? 2 * t->stack_size : 64;
		struct stop *grown =
			reallocarray(t->stack, size, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		t->stack = grown;
		t->stack_size = size;
	}
	t->stack[t->stack_n++] = (struct stop){ .ino = ino, .listed = listed };
	return 0;
}

int tour_start(struct vfs *v, enum tour_kind kind, uint64_t ino,
	       uint64_t file_bytes_max, uint64_t *ret_id)
{
	struct tours *ts = v->tours;
	struct meta_inode i;
	struct tour *t;
	int r;

	meta_begin(v->meta);
	r = view_get(v, ino, &i);
	meta_end(v->meta);
	if (r < 0)
		return r;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->v = v;
	t->kind = kind;
	t->file_bytes_max = file_bytes_max;
	t->since = meta_now(v->meta);
	t->looked_ms = clock_ms();
	r = nodes_new(&t->met_n, &t->met);
	if (r == 0)
		r = push(t, ino, false);
	if (r == 0)
		nodes_ref(t->met, ino);
	mutex_lock(&ts->lock);
	if (r == 0 && ts->n == TOURS_MAX)
		r = -EBUSY;
	if (r == 0) {
		*ret_id = t->id = ++ts->last_id;
		t->next = ts->list;
		ts->list = t;
		ts->n++;
	}
	mutex_unlock(&ts->lock);
	if (r < 0) {
		free_tour(t);
		return r;
	}
	if (kind == TOUR_REFRESH)
		ahead_forget(v);
	vfs_stir(v);
	return 0;
}

int tour_look(struct vfs *v, uint64_t id, struct tour_progress *ret)
{
	struct tours *ts = v->tours;
	struct tour *t;
	bool over = false;

	mutex_lock(&ts->lock);
	t = find_tour(ts, id);
	if (t) {
		t->looked_ms = clock_ms();
		*ret = t->p;
		t->ends = over = t->p.over;
	}
	mutex_unlock(&ts->lock);
	if (over)
		vfs_stir(v);
	return t ? 0 : -ENOENT;
}

void tour_stop(struct vfs *v, uint64_t id)
{
	struct tours *ts = v->tours;
	struct tour *t;

	mutex_lock(&ts->lock);
	t = find_tour(ts, id);
	if (t)
		t->ends = true;
	mutex_unlock(&ts->lock);
	vfs_stir(v);
}

void tours_landed(struct vfs *v, uint64_t ino, int status)
{
	struct tours *ts = v->tours;

	mutex_lock(&ts->lock);
	for (struct tour *t = ts->list; t; t = t->next)
		for (unsigned k = 0; k < t->asked_n; k++) {
			if (t->asked[k] != ino)
				continue;
			t->asked[k] = t->asked[--t->asked_n];
			if (status == 0) {
				t->landed[t->landed_n++] = ino;
				break;
			}
			t->p.failed++;
			t->p.error = t->p.error ? t->p.error : status;
			break;
		}
	mutex_unlock(&ts->lock);
	vfs_stir(v);
}

/* ---- one part of one directory ---- */

struct part {
	struct vfs *v;
	struct tour *t;
	struct stop at;
	unsigned seen;
	unsigned n; /* directories to be visited; or all, for a refresh */
	struct {
		uint64_t ino;
		char *name; /* for a refresh, or NULL */
	} found[PART_FOUND];
	bool stale; /* something in it is not trusted */
	uint64_t files[FILES_MAX]; /* whose contents are wanted */
	unsigned files_n;
};

/* A file, or anything else that is no directory. */
static void meet_file(struct part *p, const struct meta_inode *i)
{
	if (p->t->kind == TOUR_DATA && S_ISREG(i->attr.mode))
		p->files[p->files_n++] = i->ino;
	if (i->handle.len && !vfs_trusts(p->v, i->checked, p->t->since))
		p->stale = true;
}

/* Is it all that its attributes and names can tell? Not a symlink whose target
 * is not known. */
static bool is_told(struct vfs *v, const struct meta_inode *i)
{
	return !S_ISLNK(i->attr.mode) || i->handle.len == 0 ||
	       meta_target_get(v->meta, i, NULL) == 0;
}

static int read_name(void *arg, uint64_t offset, const char *name,
		     const struct meta_name *n)
{
	struct part *p = arg;
	struct meta_inode i;

	if (p->n == PART_FOUND || p->seen == PART_NAMES ||
	    p->files_n == FILES_MAX)
		return 1;
	p->seen++;
	p->at.after = offset;
	if (n->absent)
		return 0;
	p->at.entries++;
	if (n->ino == 0 || meta_get(p->v->meta, n->ino, &i) < 0)
		return 0;
	if (p->t->kind == TOUR_REFRESH) {
		p->found[p->n].name = strdup(name);
		p->found[p->n++].ino = n->ino;
	} else if (!S_ISDIR(i.attr.mode) && is_told(p->v, &i)) {
		meet_file(p, &i);
	} else if (!nodes_known(p->t->met, n->ino)) {
		p->found[p->n].name = NULL;
		p->found[p->n++].ino = n->ino;
	}
	return 0;
}

/* 1: it goes on; 0: that was its end. */
static int read_part(struct vfs *v, struct part *p, struct meta_inode *ret)
{
	int r;

	meta_begin(v->meta);
	r = meta_get(v->meta, p->at.ino, ret);
	if (r == 0 && S_ISDIR(ret->attr.mode))
		r = meta_names(v->meta, p->at.ino, p->at.after, read_name, p);
	else if (r == 0)
		meet_file(p, ret);
	p->stale |= r == 0 && !is_told(v, ret);
	meta_end(v->meta);
	return r;
}

/* The top of the stack has been read so far, with @r of read_part(). */
static void go_on(struct vfs *v, struct tour *t, const struct part *p,
		  const struct meta_inode *i, int r)
{
	if (r == 1) {
		t->stack[t->stack_n - 1] = p->at;
		return;
	}
	t->stack_n--;
	mutex_lock(&v->tours->lock);
	t->p.entries += p->at.entries;
	t->p.dirs += r == 0 && S_ISDIR(i->attr.mode);
	mutex_unlock(&v->tours->lock);
}

/* ---- to know ---- */

static void ask(struct vfs *v, struct tour *t, uint64_t ino)
{
	struct meta_inode i;
	int r;

	meta_begin(v->meta);
	r = meta_get(v->meta, ino, &i);
	meta_end(v->meta);
	mutex_lock(&v->tours->lock);
	t->p.asked++;
	t->asked[t->asked_n++] = ino;
	mutex_unlock(&v->tours->lock);
	if (r == 0)
		r = flight_start(v, S_ISDIR(i.attr.mode) ? ASK_LIST :
				    S_ISLNK(i.attr.mode) ? ASK_LINK : ASK_ATTR,
				 &i, FOR_TOUR);
	if (r < 0)
		tours_landed(v, ino, r);
}

static bool is_known(struct vfs *v, const struct tour *t,
		     const struct meta_inode *i, const struct stop *s)
{
	return i->handle.len == 0 || s->listed ||
	       ((i->flags & META_COMPLETE || !S_ISDIR(i->attr.mode)) &&
		vfs_trusts(v, i->checked, t->since));
}

/* In a thread of the remote. */
static void fetched(void *arg, int status, uint64_t bytes)
{
	struct tour *t = arg;
	struct vfs *v = t->v;

	mutex_lock(&v->tours->lock);
	t->files_n--;
	if (status == 0) {
		t->p.files++;
		t->p.bytes += bytes;
	} else if (status < 0) {
		t->p.failed++;
		t->p.error = t->p.error ? t->p.error : status;
	}
	mutex_unlock(&v->tours->lock);
	vfs_stir(v);
}

static void fetch_files(struct vfs *v, struct tour *t, const struct part *p)
{
	for (unsigned k = 0; k < p->files_n; k++) {
		int r;

		mutex_lock(&v->tours->lock);
		t->files_n++;
		mutex_unlock(&v->tours->lock);
		r = fetch_store(v->fetch, p->files[k], t->file_bytes_max,
				fetched, t);
		if (r != 0)
			fetched(t, r, 0);
	}
}

static void learn_part(struct vfs *v, struct tour *t)
{
	struct stop *top = &t->stack[t->stack_n - 1];
	struct part p = { .v = v, .t = t, .at = *top };
	struct meta_inode i;
	int r = read_part(v, &p, &i);

	/* Its inode may be gone. */
	if (r >= 0 && (!is_known(v, t, &i, top) ||
		       (p.stale && !top->listed && i.handle.len))) {
		t->stack_n--;
		ask(v, t, i.ino);
		return;
	}
	go_on(v, t, &p, &i, r);
	fetch_files(v, t, &p);
	for (unsigned k = 0; k < p.n; k++) {
		nodes_ref(t->met, p.found[k].ino);
		if (push(t, p.found[k].ino, false) < 0)
			return;
	}
}

/* ---- to doubt ---- */

/* In a bracket. What is on its way back from the server is older than the
 * doubt. */
static bool doubt(struct vfs *v, uint64_t ino)
{
	struct meta_inode i;

	if (meta_get(v->meta, ino, &i) < 0)
		return false;
	vfs_touch(v, ino);
	if (i.checked > STAMP_DOUBTED) {
		i.checked = STAMP_DOUBTED;
		(void)meta_put(v->meta, &i);
	}
	return S_ISDIR(i.attr.mode);
}

static void doubt_part(struct vfs *v, struct tour *t)
{
	struct stop *top = &t->stack[t->stack_n - 1];
	struct part p = { .v = v, .t = t, .at = *top };
	bool dirs[PART_FOUND] = { false };
	char name[NAME_BYTES_MAX + 1];
	struct meta_inode d;
	bool first = top->after == 0, named = false;
	int r = read_part(v, &p, &d);

	go_on(v, t, &p, &d, r);
	meta_begin(v->meta);
	if (r >= 0 && first) {
		(void)doubt(v, d.ino);
		/* A file's contents are looked at anew when its name is. */
		named = !S_ISDIR(d.attr.mode) &&
			vfs_name_in_parent(v, &d, name) == 0;
	}
	for (unsigned k = 0; k < p.n; k++)
		dirs[k] = doubt(v, p.found[k].ino);
	meta_end(v->meta);
	if (r >= 0 && first)
		vfs_tell_kernel(v, d.ino, d.parent, named ? name : NULL);
	for (unsigned k = 0; k < p.n; k++) {
		vfs_tell_kernel(v, p.found[k].ino, d.ino, p.found[k].name);
		free(p.found[k].name);
		if (dirs[k] && !nodes_known(t->met, p.found[k].ino)) {
			nodes_ref(t->met, p.found[k].ino);
			(void)push(t, p.found[k].ino, false);
		}
	}
}

/* ---- the worker ---- */

/* Takes over what landed. Is there something to do now? */
static bool look_after(struct vfs *v, struct tour *t) REQUIRES(v->tours->lock)
{
	while (t->landed_n > 0)
		if (push(t, t->landed[--t->landed_n], true) < 0)
			break;
	if (clock_ms() - t->looked_ms > TOUR_LAPSE_MS)
		t->ends = true;
	t->p.over = t->stack_n == 0 && t->asked_n == 0 && t->files_n == 0;
	return !t->ends && t->stack_n > 0 && t->files_n < FILES_MAX &&
	       flights_have_room(v, t->asked_n, CALLS_MAX);
}

/* One step of @t. False: there is nothing to do for it now; or there is, when the
 * content cache has written what it was handed (*@ret_busy). */
static bool step(struct vfs *v, struct tour *t, bool *ret_busy)
{
	bool go;

	mutex_lock(&v->tours->lock);
	go = look_after(v, t);
	mutex_unlock(&v->tours->lock);
	if (t->kind == TOUR_DATA && fetch_store_is_busy(v->fetch)) {
		*ret_busy |= go;
		return false;
	}
	if (go && t->kind == TOUR_REFRESH)
		doubt_part(v, t);
	else if (go)
		learn_part(v, t);
	return go;
}

/* Those that have ended, and whose calls have come back. */
static void bury(struct vfs *v)
{
	struct tours *ts = v->tours;
	struct tour **p = &ts->list, *t;

	mutex_lock(&ts->lock);
	while ((t = *p)) {
		if (!t->ends || t->asked_n > 0 || t->files_n > 0) {
			p = &t->next;
			continue;
		}
		*p = t->next;
		ts->n--;
		free_tour(t);
	}
	mutex_unlock(&ts->lock);
}

uint64_t tours_work(struct vfs *v)
{
	struct tours *ts = v->tours;
	struct tour *t, *first;
	bool more = false, busy = false;

	bury(v);
	mutex_lock(&ts->lock);
	first = ts->list;
	mutex_unlock(&ts->lock);
	/* New ones are put before the first, and only we take any away. */
	for (t = first; t; t = t->next)
		more |= step(v, t, &busy);
	if (!first)
		return UINT64_MAX;
	return more ? 0 :
		      clock_ms() + (busy ? BUSY_LOOK_MS : TOUR_LAPSE_MS / 4);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ahead_scan.c: the worker puts the child directories of one that landed, or was
 * read, onto the road. Names are read a part at a time, with the bracket and
 * ahead's lock taken in turn.
 */
#include "ahead_int.h"

#include <dirent.h>

enum { SCAN_NAMES = 512, SCAN_DIRS = 64 }; /* in one bracket */

struct scan {
	struct vfs *v;
	bool files;     /* directories that are trusted, too */
	bool links;     /* and symlinks */
	uint64_t after; /* where it goes on */
	uint64_t dirs[SCAN_DIRS], targets[SCAN_DIRS];
	unsigned n, targets_n, seen;
};

static int scan_name(void *arg, uint64_t offset, const char *name,
		     const struct meta_name *n)
{
	struct scan *s = arg;
	struct meta_inode i;

	(void)name;
	if (s->n == SCAN_DIRS || s->targets_n == SCAN_DIRS ||
	    s->seen == SCAN_NAMES)
		return 1;
	s->seen++;
	s->after = offset;
	if (s->links && n->type == DT_LNK && n->ino && !n->absent) {
		if (meta_get(s->v->meta, n->ino, &i) == 0 && i.handle.len &&
		    meta_target_get(s->v->meta, &i, NULL) == -ENOENT)
			s->targets[s->targets_n++] = n->ino;
		return 0;
	}
	if (n->absent || n->ino == 0 ||
	    (n->type != DT_DIR && n->type != DT_UNKNOWN) ||
	    meta_get(s->v->meta, n->ino, &i) < 0 || !S_ISDIR(i.attr.mode) ||
	    i.handle.len == 0)
		return 0;
	if (s->files || !(i.flags & META_COMPLETE) ||
	    !vfs_trusts(s->v, i.checked, 0))
		s->dirs[s->n++] = n->ino;
	return 0;
}

/* Those of a scan's step, behind spot @*at, which moves along. */
static void line_up(struct vfs *v, const struct scan *s, uint64_t *at)
{
	struct ahead *a = v->ahead;

	mutex_lock(&a->lock);
	for (unsigned k = 0; k < s->n; k++) {
		struct spot *after = *at ? spot_find(a, *at) : NULL;
		struct spot *child = spot_find(a, s->dirs[k]);

		if (child && (child->road != OFF ||
			      (s->files && vfs_trusts(v, child->listed, 0))))
			continue;
		child = spot_get(a, s->dirs[k]);
		if (after && (after != spot_find(a, *at) || after->road == OFF))
			after = NULL;
		if (!child || !road_join(a, child, after))
			break;
		*at = child->ino;
	}
	for (unsigned k = 0; k < s->targets_n; k++) {
		struct spot *link = spot_get(a, s->targets[k]);

		if (link && link->task == NOTHING)
			spot_task(a, link, LINK);
	}
	mutex_unlock(&a->lock);
}

/* The children of @ino that are to be asked for, onto the road behind it, or,
 * when it is not on it, at the head. */
static void scan(struct vfs *v, uint64_t ino, bool files, bool links)
{
	struct scan s = { .v = v, .files = files, .links = links };
	struct meta_inode d;
	uint64_t at = ino;
	int r;

	do {
		s.n = s.targets_n = s.seen = 0;
		meta_begin(v->meta);
		r = meta_get(v->meta, ino, &d);
		/* Two links: its own; none is a child's. */
		if (r == 0 && d.flags & META_COMPLETE &&
		    (d.attr.nlink != 2 || links))
			r = meta_names(v->meta, ino, s.after, scan_name, &s);
		meta_end(v->meta);
		if (s.n > 0 || s.targets_n > 0)
			line_up(v, &s, &at);
	} while (r == 1);
}

bool ahead_scan(struct vfs *v)
{
	struct ahead *a = v->ahead;
	struct meta_inode d;
	struct spot *s;
	uint64_t ino;
	bool files, links, known;

	mutex_lock(&a->lock);
	s = TAILQ_FIRST(&a->scans);
	if (!s) {
		mutex_unlock(&a->lock);
		return false;
	}
	spot_task(a, s, NOTHING);
	s->scanned_ms = clock_ms();
	ino = s->ino;
	files = a->wants_files >= WANTS_FILES;
	links = ahead_wants_links(v, a);
	mutex_unlock(&a->lock);

	meta_begin(v->meta);
	known = meta_get(v->meta, ino, &d) == 0;
	meta_end(v->meta);
	known = known && d.flags & META_COMPLETE;
	/* Confirmed, and found changed, or files' attributes are wanted by now:
	 * once more, to be listed. */
	mutex_lock(&a->lock);
	s = spot_find(a, ino);
	if (s && s->road == READY &&
	    (!known || (files && !vfs_trusts(v, s->listed, 0)))) {
		if (s->again && !known)
			road_leave(a, s);
		else if (!s->again)
			road_set(a, s, WANT);
		s->again = true;
	}
	mutex_unlock(&a->lock);
	if (known)
		scan(v, ino, files, links);
	return true;
}

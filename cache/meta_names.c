/* SPDX-License-Identifier: GPL-2.0-or-later */
/* meta_names.c: owns the names of directories, and the sweep.
 *
 * A name's place is its offset, a hash of the name alone: it stays where it is
 * whatever else comes and goes, so a reader of a directory may stop and go on
 * at an offset at any time. Names with equal offsets follow each other, since
 * the key goes on with the name.
 *
 * Ranges are deleted META_STEP names at a time, because of the bound on changes
 * in one transaction. Names may outlive their directory after a crash; inode
 * numbers are never used again, so nobody sees them until the sweep.
 *
 * Locks: all under the bracket; the sweep takes one for each step.
 */
#include <dirent.h>
#include <string.h>

#include "meta_int.h"

/* A name's key, taken apart. */
struct place {
	uint64_t dir, offset;
	const char *name; /* not terminated */
	size_t len;
};

static int place_decode(const MDB_val *key, struct place *ret)
{
	const uint8_t *p = key->mv_data;

	if (key->mv_size <= NAME_KEY_HEAD || key->mv_size > NAME_KEY_BYTES_MAX)
		return -EBADMSG;
	ret->dir = meta_u64_get(p);
	ret->offset = meta_u64_get(p + 8);
	ret->name = (const char *)p + NAME_KEY_HEAD;
	ret->len = key->mv_size - NAME_KEY_HEAD;
	return 0;
}

static int name_key(const struct meta *m, uint64_t dir, const char *name,
		    uint8_t *key, size_t *ret_len, uint64_t *ret_offset)
{
	size_t len = strlen(name);

	if (len == 0)
		return -EINVAL;
	if (len > NAME_BYTES_MAX)
		return -ENAMETOOLONG;
	*ret_offset = m->name_offset(&m->keys, name, len);
	*ret_len = meta_name_key(key, dir, *ret_offset, name, len);
	return 0;
}

int meta_name_get(struct meta *m, uint64_t dir, const char *name,
		  struct meta_name *ret)
{
	uint8_t key[NAME_KEY_BYTES_MAX];
	uint64_t offset;
	size_t len;
	MDB_val v;
	int r;

	meta_bracket_check(m);
	r = name_key(m, dir, name, key, &len, &offset);
	if (r == 0)
		r = meta_db_get(m, m->names, key, len, &v);
	if (r < 0)
		return r;
	if (meta_name_decode(&m->keys, dir, offset, v.mv_data, v.mv_size,
			     ret) == 0)
		return 0;
	m->damaged++;
	if (!m->walking) {
		meta_dir_incomplete(m, dir);
		if (meta_env_room(m, 1, NEED_SHRINK) == 0)
			(void)meta_db_del(m, m->names, key, len);
	}
	return m->broken ? m->broken : -ENOENT;
}

/* What is known of @dir's names may be wrong, or a part of it missing. */
static int suspect(struct meta *m, uint64_t dir) REQUIRES(m->lock)
{
	struct meta_inode n;
	int r = meta_get(m, dir, &n);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (!S_ISDIR(n.attr.mode))
		return 0;
	n.epoch++;
	n.flags &= ~(uint32_t)META_COMPLETE;
	return meta_put(m, &n);
}

/* A change of a name failed with @r. */
static int name_not_kept(struct meta *m, uint64_t dir, int r) REQUIRES(m->lock)
{
	if (r == -ENOSPC)
		(void)suspect(m, dir);
	return r;
}

int meta_name_put(struct meta *m, uint64_t dir, const char *name,
		  const struct meta_name *in)
{
	uint8_t key[NAME_KEY_BYTES_MAX], record[NAME_RECORD_BYTES_MAX];
	uint64_t offset;
	size_t len;
	int r;

	meta_bracket_check(m);
	r = name_key(m, dir, name, key, &len, &offset);
	if (r == 0)
		r = meta_env_room(m, 1, NEED_GROW);
	if (r < 0)
		return name_not_kept(m, dir, r);
	return meta_db_put(m, m->names, key, len, record,
			   meta_name_encode(&m->keys, dir, offset, in, record));
}

int meta_name_del(struct meta *m, uint64_t dir, const char *name)
{
	uint8_t key[NAME_KEY_BYTES_MAX];
	uint64_t offset;
	size_t len;
	int r;

	meta_bracket_check(m);
	r = name_key(m, dir, name, key, &len, &offset);
	if (r == 0)
		r = meta_env_room(m, 1, NEED_SHRINK);
	return r < 0 ? name_not_kept(m, dir, r) :
		       meta_db_del(m, m->names, key, len);
}

/* ---- walks ---- */

/* Where a walk of the database is: at @key, or behind it when @passed. Kept in
 * own memory, so that a walk can be left and taken up again. */
struct walk {
	uint8_t key[NAME_KEY_BYTES_MAX];
	size_t len;
	bool passed;
};

static void walk_from(struct walk *w, uint64_t dir, uint64_t offset)
{
	w->len = meta_name_key(w->key, dir, offset, "", 0);
	w->passed = false;
}

/* What a visitor makes of a name; @n is NULL for a damaged record. */
enum visit { VISIT_NEXT, VISIT_DELETE, VISIT_STOP };
typedef enum visit visit_fn(void *arg, const struct place *at,
			    const struct meta_name *n);

static enum visit visit_one(struct meta *m, const MDB_val *k, const MDB_val *v,
			    visit_fn *fn, void *arg) REQUIRES(m->lock)
{
	struct meta_name n;
	struct place at;

	if (place_decode(k, &at) < 0) {
		m->damaged++;
		return VISIT_DELETE;
	}
	if (meta_name_decode(&m->keys, at.dir, at.offset, v->mv_data,
			     v->mv_size, &n) == 0)
		return fn(arg, &at, &n);
	m->damaged++;
	return fn(arg, &at, NULL);
}

/* Visit at most @limit names from @w on, and leave @w behind the last. Returns
 * 1 when it could go on, 0 at the visitor's stop or the end, or -errno. Room
 * for @limit deletions is the caller's matter. */
static int walk_step(struct meta *m, struct walk *w, unsigned limit,
		     visit_fn *fn, void *arg) REQUIRES(m->lock)
{
	MDB_val k = { w->len, w->key }, v;
	enum visit what = VISIT_NEXT;
	unsigned seen = 0, deleted = 0;
	MDB_cursor *c;
	int rc;

	if (m->broken)
		return m->broken;
	rc = mdb_cursor_open(m->txn, m->names, &c);
	if (rc != 0)
		return meta_env_fail(m, rc);
	rc = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE);
	if (rc == 0 && w->passed && k.mv_size == w->len &&
	    memcmp(k.mv_data, w->key, w->len) == 0)
		rc = mdb_cursor_get(c, &k, &v, MDB_NEXT);
	m->walking = true;
	while (rc == 0 && seen < limit) {
		what = visit_one(m, &k, &v, fn, arg);
		if (what == VISIT_STOP)
			break;
		seen++;
		w->len = MIN(k.mv_size, sizeof(w->key));
		memcpy(w->key, k.mv_data, w->len);
		w->passed = true;
		if (what == VISIT_DELETE) {
			rc = mdb_cursor_del(c, 0);
			deleted += rc == 0;
		}
		if (rc == 0)
			rc = mdb_cursor_get(c, &k, &v, MDB_NEXT);
	}
	m->walking = false;
	mdb_cursor_close(c);
	for (; deleted > 0; deleted--)
		meta_env_changed(m);
	if (rc != 0 && rc != MDB_NOTFOUND)
		return meta_env_fail(m, rc);
	return rc == 0 && what != VISIT_STOP;
}

struct list {
	uint64_t dir;
	meta_name_fn *fn;
	void *arg;
	int result;
	bool damaged;
};

static enum visit list_visit(void *arg, const struct place *at,
			     const struct meta_name *n)
{
	char name[NAME_BYTES_MAX + 1];
	struct list *l = arg;

	if (at->dir != l->dir)
		return VISIT_STOP;
	if (!n) {
		l->damaged = true;
		return VISIT_NEXT;
	}
	memcpy(name, at->name, at->len);
	name[at->len] = '\0';
	l->result = l->fn(l->arg, at->offset, name, n);
	return l->result == 0 ? VISIT_NEXT : VISIT_STOP;
}

int meta_names(struct meta *m, uint64_t dir, uint64_t after, meta_name_fn *fn,
	       void *arg)
{
	struct list l = { .dir = dir, .fn = fn, .arg = arg };
	struct walk w;
	int r;

	meta_bracket_check(m);
	if (after >= INT64_MAX)
		return 0;
	walk_from(&w, dir, after + 1);
	do
		r = walk_step(m, &w, UINT32_MAX, list_visit, &l);
	while (r > 0);
	if (l.damaged)
		meta_dir_incomplete(m, dir);
	if (r < 0)
		return r;
	return l.result == 0 && l.damaged ? -EUCLEAN : l.result;
}

/* ---- deleting ranges ---- */

struct purge {
	uint64_t dir;
	uint32_t keep_epoch;
	bool all;
	bool damaged;
};

static enum visit purge_visit(void *arg, const struct place *at,
			      const struct meta_name *n)
{
	struct purge *p = arg;

	if (at->dir != p->dir)
		return VISIT_STOP;
	if (!n)
		p->damaged = true;
	return !n || p->all || n->epoch != p->keep_epoch ? VISIT_DELETE
							 : VISIT_NEXT;
}

static int purge(struct meta *m, struct purge *p) REQUIRES(m->lock)
{
	struct walk w;
	int r;

	walk_from(&w, p->dir, 0);
	do {
		r = meta_env_room(m, META_STEP, NEED_SHRINK);
		if (r == 0)
			r = walk_step(m, &w, META_STEP, purge_visit, p);
	} while (r > 0);
	return r;
}

int meta_names_purge(struct meta *m, uint64_t dir, uint32_t epoch)
{
	struct purge p = { .dir = dir, .keep_epoch = epoch };
	int r;

	meta_bracket_check(m);
	r = purge(m, &p);
	if (p.damaged)
		meta_dir_incomplete(m, dir);
	return r;
}

int meta_names_drop(struct meta *m, uint64_t dir)
{
	struct purge p = { .dir = dir, .all = true };

	return purge(m, &p);
}

/* ---- sweep ---- */

/* A set of inodes by open addressing; 0, which is no inode, marks a free slot.
 * And of those the directories still to be read. */
struct marked {
	uint64_t *slots;
	size_t n, size; /* a power of two */
	uint64_t *dirs;
	size_t dirs_n, dirs_size;
	uint64_t dir;
	uint64_t new_ino; /* this and above came after the sweep began: kept */
	bool no_memory;
};

static uint64_t *marked_slot(const struct marked *s, uint64_t ino)
{
	size_t i = (size_t)(ino * 0x9e3779b97f4a7c15u >> 20);

	for (;; i++) {
		uint64_t *p = &s->slots[i & (s->size - 1)];

		if (*p == 0 || *p == ino)
			return p;
	}
}

static bool marked_has(const struct marked *s, uint64_t ino)
{
	return ino >= s->new_ino || *marked_slot(s, ino) == ino;
}

static int marked_grow(struct marked *s)
{
	struct marked old = *s;

	s->size = old.size ? 2 * old.size : 1024;
	s->slots = calloc(s->size, sizeof(*s->slots));
	if (!s->slots) {
		s->slots = old.slots;
		s->size = old.size;
		return -ENOMEM;
	}
	for (size_t i = 0; i < old.size; i++)
		if (old.slots[i])
			*marked_slot(s, old.slots[i]) = old.slots[i];
	free(old.slots);
	return 0;
}

/* Adds @ino, and when it is new and may be a directory has it read. */
static int marked_add(struct marked *s, uint64_t ino, uint8_t type)
{
	uint64_t *p;

	if (2 * (s->n + 1) > s->size && marked_grow(s) < 0)
		return -ENOMEM;
	p = marked_slot(s, ino);
	if (*p == ino)
		return 0;
	*p = ino;
	s->n++;
	if (type != DT_DIR && type != DT_UNKNOWN)
		return 0;
	if (s->dirs_n == s->dirs_size) {
		size_t size = s->dirs_size ? 2 * s->dirs_size : 256;

		p = reallocarray(s->dirs, size, sizeof(*p));
		if (!p)
			return -ENOMEM;
		s->dirs = p;
		s->dirs_size = size;
	}
	s->dirs[s->dirs_n++] = ino;
	return 0;
}

static enum visit mark_visit(void *arg, const struct place *at,
			     const struct meta_name *n)
{
	struct marked *s = arg;

	if (at->dir != s->dir || s->no_memory)
		return VISIT_STOP;
	if (n && !n->absent && n->ino && marked_add(s, n->ino, n->type) < 0)
		s->no_memory = true;
	return VISIT_NEXT;
}

/* A damaged record stays: whoever meets it next must know that its directory
 * is not complete. */
static enum visit orphan_visit(void *arg, const struct place *at,
			       const struct meta_name *n)
{
	const struct marked *s = arg;

	return marked_has(s, at->dir) ? VISIT_NEXT : VISIT_DELETE;
}

/* A whole walk, a bracket for each step. */
static int walk_all(struct meta *m, struct walk *w, visit_fn *fn, void *arg)
{
	int r;

	do {
		meta_begin(m);
		meta_bracket_check(m);
		r = meta_env_room(m, META_STEP, NEED_SHRINK);
		if (r == 0)
			r = walk_step(m, w, META_STEP, fn, arg);
		meta_end(m);
	} while (r > 0);
	return r;
}

static int mark(struct meta *m, struct marked *s)
{
	struct walk w;
	int r = marked_add(s, META_ROOT, DT_DIR);

	while (r == 0 && s->dirs_n > 0) {
		s->dir = s->dirs[--s->dirs_n];
		walk_from(&w, s->dir, 0);
		r = walk_all(m, &w, mark_visit, s);
		if (r == 0 && s->no_memory)
			r = -ENOMEM;
	}
	return r;
}

/* Looks at up to META_STEP inodes from *@next on; drops those not marked. Those
 * of a cache that was not closed are suspect: of what was recorded in its last
 * second a part may be missing, so that the names of a directory need not be
 * those of its version. */
static int inodes_step(struct meta *m, const struct marked *s, uint64_t *next)
	REQUIRES(m->lock)
{
	uint64_t drop[META_STEP], keep[META_STEP];
	uint8_t key[INO_KEY_BYTES];
	MDB_val k = { sizeof(key), key }, v;
	unsigned n = 0, kept = 0, seen = 0;
	MDB_cursor *c;
	int rc, r = m->broken;

	if (r < 0)
		return r;
	meta_u64_put(key, *next);
	rc = mdb_cursor_open(m->txn, m->inodes, &c);
	if (rc != 0)
		return meta_env_fail(m, rc);
	rc = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE);
	for (; rc == 0 && seen < META_STEP; seen++) {
		uint64_t ino = k.mv_size == 8 ? meta_u64_get(k.mv_data) : 0;

		*next = ino + 1;
		if (!marked_has(s, ino))
			drop[n++] = ino;
		else if (!m->was_closed)
			keep[kept++] = ino;
		rc = mdb_cursor_get(c, &k, &v, MDB_NEXT);
	}
	mdb_cursor_close(c);
	if (rc != 0 && rc != MDB_NOTFOUND)
		return meta_env_fail(m, rc);
	for (unsigned i = 0; r == 0 && i < n; i++)
		r = meta_inode_drop(m, drop[i]);
	for (unsigned i = 0; r == 0 && i < kept; i++)
		r = suspect(m, keep[i]);
	return r < 0 ? r : rc == 0;
}

static int sweep(struct meta *m, struct marked *s)
{
	struct walk w;
	uint64_t next = 0;
	int r = mark(m, s);

	if (r < 0)
		return r;
	do {
		meta_begin(m);
		meta_bracket_check(m);
		r = inodes_step(m, s, &next);
		meta_end(m);
	} while (r > 0);
	if (r < 0)
		return r;
	walk_from(&w, 0, 0);
	return walk_all(m, &w, orphan_visit, s);
}

int meta_sweep(struct meta *m)
{
	struct marked s = { 0 };
	int r;

	meta_begin(m);
	meta_bracket_check(m);
	s.new_ino = m->next_ino;
	meta_end(m);
	r = sweep(m, &s);
	free(s.slots);
	free(s.dirs);
	return r;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sim_model.h: a filesystem in plain C structs, for sim_fs.c to compare with. It
 * is small: a few names, files of a few kilobytes. What the kernel would see to
 * (types, permissions) is not asked of it.
 */
#pragma once

#include "run.h"

enum { NODES = 40, NAMES = 6, DATA = 8192, ABSENT = -1, TOP = 0 };

struct node {
	bool used;
	mode_t mode; /* with the type */
	uid_t uid;
	gid_t gid;
	unsigned nlink;
	uint64_t size;
	struct timespec mtime;
	bool has_mtime; /* a directory's: set, and nothing changed since */
	char data[DATA];
	char target[16];
	int child[NAMES]; /* of a directory: node or ABSENT */
	int parent;
	/* The kernel's part: */
	uint64_t ino;  /* in this life; 0: not seen yet */
	uint64_t refs; /* 0: the kernel has forgotten it */
};

struct model {
	struct node n[NODES];
};

static inline const char *model_name(int name)
{
	static const char *const names[NAMES] = { "a", "b", "c", "d",
						  "a longer name", "f" };

	return names[name];
}

static inline void model_init(struct model *m)
{
	memset(m, 0, sizeof(*m));
	m->n[TOP] = (struct node){ .used = true, .mode = S_IFDIR | 0755,
				   .nlink = 2, .parent = TOP };
	for (int k = 0; k < NAMES; k++)
		m->n[TOP].child[k] = ABSENT;
}

/* A free node, or ABSENT. */
static inline int model_new(struct model *m, mode_t mode)
{
	for (int k = 1; k < NODES; k++)
		if (!m->n[k].used) {
			struct node *n = &m->n[k];

			memset(n, 0, sizeof(*n));
			n->used = true;
			n->mode = mode;
			for (int c = 0; c < NAMES; c++)
				n->child[c] = ABSENT;
			return k;
		}
	return ABSENT;
}

static inline bool model_is_empty(const struct model *m, int dir)
{
	for (int k = 0; k < NAMES; k++)
		if (m->n[dir].child[k] != ABSENT)
			return false;
	return true;
}

static inline void model_enter(struct model *m, int dir, int name, int node)
{
	struct node *n = &m->n[node];

	m->n[dir].child[name] = node;
	m->n[dir].has_mtime = false;
	if (S_ISDIR(n->mode)) {
		n->parent = dir;
		m->n[dir].nlink++;
		n->nlink = MAX(n->nlink, 2u);
	} else {
		n->nlink++;
	}
}

/* A name goes, not by being moved. */
static inline void model_leave(struct model *m, int dir, int name)
{
	struct node *n = &m->n[m->n[dir].child[name]];

	m->n[dir].child[name] = ABSENT;
	m->n[dir].has_mtime = false;
	if (S_ISDIR(n->mode)) {
		n->nlink = 0;
		m->n[dir].nlink--;
	} else {
		n->nlink--;
	}
	if (n->nlink == 0 && n->refs == 0)
		n->used = false;
}

static inline void model_move(struct model *m, int dir, int name, int newdir,
			      int newname)
{
	int node = m->n[dir].child[name];
	bool is_dir = S_ISDIR(m->n[node].mode);

	if (m->n[newdir].child[newname] != ABSENT)
		model_leave(m, newdir, newname);
	m->n[dir].child[name] = ABSENT;
	m->n[newdir].child[newname] = node;
	m->n[dir].has_mtime = m->n[newdir].has_mtime = false;
	if (!is_dir)
		return;
	m->n[node].parent = newdir;
	m->n[dir].nlink--;
	m->n[newdir].nlink++;
}

static inline bool model_is_below(const struct model *m, int node, int dir)
{
	for (;; node = m->n[node].parent) {
		if (node == dir)
			return true;
		if (node == TOP)
			return false;
	}
}

static inline void model_resize(struct node *n, uint64_t size)
{
	if (size < n->size)
		memset(n->data + size, 0, DATA - size);
	n->size = size;
}

/* Where a node has a name. False: nowhere any more. */
static inline bool model_place(const struct model *m, int node, int *ret_dir,
			       int *ret_name)
{
	for (int d = 0; d < NODES; d++)
		for (int k = 0; m->n[d].used && m->n[d].nlink && k < NAMES; k++)
			if (m->n[d].child[k] == node) {
				*ret_dir = d;
				*ret_name = k;
				return true;
			}
	return false;
}

static inline void model_path(const struct model *m, int dir, int name,
			      char *ret, size_t len)
{
	char rest[900];

	(void)snprintf(ret, len, "/%s", model_name(name));
	while (dir != TOP) {
		int up, n;

		if (!model_place(m, dir, &up, &n))
			break;
		(void)snprintf(rest, sizeof(rest), "%.*s", 899, ret);
		(void)snprintf(ret, len, "/%s%s", model_name(n), rest);
		dir = up;
	}
}

/* The process died, or the filesystem was unmounted: the kernel knows nothing
 * any more. @numbers: inode numbers may be others now. */
static inline void model_new_life(struct model *m, bool numbers)
{
	for (int k = 0; k < NODES; k++) {
		struct node *n = &m->n[k];

		n->refs = 0;
		if (numbers)
			n->ino = 0;
		if (n->nlink == 0)
			n->used = false;
	}
}

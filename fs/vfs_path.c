/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vfs_path.c: what conflicts need of the vfs: the path of a name, and giving a
 * change up. People read paths, and programs open them; all else here goes by
 * inode numbers, so a path is put together from what is known, by searching
 * each directory's own name in its parent.
 */
#include "view.h"

/* Deeper than PATH_MAX reaches, but bounded: the cache may be damaged, and its
 * parents lead in a circle. */
enum { DEPTH_MAX = 2048 };

struct own_name {
	uint64_t ino;
	char name[NAME_BYTES_MAX + 1];
};

static int own_name_fn(void *arg, uint64_t offset, const char *name,
		       const struct meta_name *n)
{
	struct own_name *s = arg;

	(void)offset;
	if (n->ino != s->ino || n->absent)
		return 0;
	strcpy(s->name, name);
	return 1;
}

/* The name that the overlay has for @ino in @dir. */
static bool overlay_name(struct vfs *v, uint64_t dir, uint64_t ino,
			 struct own_name *ret)
{
	struct wback_dirent e[16];
	uint64_t after = 0;
	unsigned n;

	while (v->wback && (n = wback_names(v->wback, dir, after, e,
					    ARRAY_LEN(e))) > 0) {
		for (unsigned k = 0; k < n; k++)
			if (e[k].ino == ino) {
				strcpy(ret->name, e[k].name);
				return true;
			}
		after = e[n - 1].offset;
	}
	return false;
}

/* In a bracket: the directory that @ino is in, and its name there. */
static int step_up(struct vfs *v, uint64_t ino, uint64_t *ret_parent,
		   struct own_name *ret)
{
	struct meta_inode i;
	int r = view_get(v, ino, &i);

	if (r < 0)
		return r;
	if (i.flags & META_REMOVED)
		return -ENOENT;
	*ret_parent = i.parent;
	if (overlay_name(v, i.parent, ino, ret))
		return 0;
	ret->ino = ino;
	r = meta_names(v->meta, i.parent, 0, own_name_fn, ret);
	return r == 1 ? 0 : r < 0 ? r : -ENOENT;
}

/* "/@name" in front of *@path, which is malloc'ed or NULL. */
static int put_before(const char *name, char **path)
{
	char *longer;

	if (asprintf(&longer, "/%s%s", name, *path ? *path : "") < 0)
		return -ENOMEM;
	free(*path);
	*path = longer;
	return 0;
}

int vfs_path_of(struct vfs *v, uint64_t dir, const char *name, char **ret)
{
	CLEANUP_FREE char *path = NULL;
	struct own_name own;
	int r = name ? put_before(name, &path) : 0;

	meta_begin(v->meta);
	for (unsigned n = 0; r == 0 && dir != META_ROOT; n++) {
		r = n == DEPTH_MAX ? -ENOENT : step_up(v, dir, &dir, &own);
		if (r == 0)
			r = put_before(own.name, &path);
	}
	meta_end(v->meta);
	if (r == 0 && !path) /* the root itself */
		r = put_before("", &path);
	if (r == 0)
		*ret = STEAL_PTR(path);
	return r;
}

/* In a bracket. The kernel has pages of what was given up. */
static void start_over(struct vfs *v, const struct wback_settled *s)
{
	for (unsigned k = 0; k < s->n; k++) {
		struct meta_inode i;

		if (meta_get(v->meta, s->views[k].ref.ino, &i) < 0 ||
		    !S_ISREG(i.attr.mode))
			continue;
		i.checked = 0;
		(void)meta_put(v->meta, &i);
		vfs_stale(v, i.ino);
	}
}

int vfs_drop_change(struct vfs *v, uint64_t id)
{
	struct wback_settled settled = { 0 };
	int r;

	if (!v->wback)
		return -ENOENT;
	meta_begin(v->meta);
	r = wback_drop(v->wback, id, &settled);
	start_over(v, &settled);
	meta_end(v->meta);
	return r;
}

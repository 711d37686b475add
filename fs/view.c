/* SPDX-License-Identifier: GPL-2.0-or-later */
/* view.c: see view.h. No state of its own. */
#include "view.h"

/* The fields of @i that the overlay knows better. */
static void lay_over(const struct wback_view *w, struct meta_inode *i)
{
	const struct attr *a = &w->attr;

	if (w->local & ATTR_MODE)
		i->attr.mode = a->mode;
	if (w->local & ATTR_UID)
		i->attr.uid = a->uid;
	if (w->local & ATTR_GID)
		i->attr.gid = a->gid;
	if (w->local & ATTR_SIZE) {
		i->attr.size = a->size;
		i->attr.used = a->size;
	}
	if (w->local & ATTR_ATIME)
		i->attr.atime = a->atime;
	if (w->local & ATTR_MTIME)
		i->attr.mtime = a->mtime;
	if (w->local & ATTR_CTIME)
		i->attr.ctime = a->ctime;
	i->attr.nlink = (uint32_t)((int)i->attr.nlink + w->nlink_delta);
	i->parent = w->ref.parent;
	if (w->removed) {
		i->attr.nlink = 0;
		i->flags |= META_REMOVED;
	}
}

static void make_fresh(struct vfs *v, const struct wback_view *w,
		       struct meta_inode *ret)
{
	*ret = (struct meta_inode){
		.ino = w->ref.ino,
		.parent = w->ref.parent,
		.checked = meta_now(v->meta),
		.attr = w->attr,
	};
	ret->attr.fileid = w->ref.ino;
	ret->attr.used = w->attr.size;
	if (S_ISDIR(w->attr.mode))
		ret->flags |= META_COMPLETE;
	if (w->removed)
		ret->flags |= META_REMOVED;
}

int view_get(struct vfs *v, uint64_t ino, struct meta_inode *ret)
{
	struct wback_view w;
	int r;

	if (!v->wback || !wback_get(v->wback, ino, &w))
		return meta_get(v->meta, ino, ret);
	if (w.fresh) {
		make_fresh(v, &w, ret);
		return 0;
	}
	r = meta_get(v->meta, ino, ret);
	if (r == 0)
		lay_over(&w, ret);
	return r;
}

int view_name(struct vfs *v, uint64_t dir, const char *name, uint64_t *ret_ino)
{
	uint8_t type;

	return v->wback ? wback_name_get(v->wback, dir, name, ret_ino, &type) :
			  0;
}

bool view_is_pending(struct vfs *v, uint64_t ino)
{
	return v->wback && wback_is_pending(v->wback, ino);
}

/* Times that the server was not told, or that it set by itself when it was
 * sent the change, stay what applications have seen, as long as its version is
 * the one that is known now (vfs_merge()). */
static void settle_one(struct vfs *v, const struct wback_view *w)
{
	struct meta_inode i;

	if (w->removed || meta_get(v->meta, w->ref.ino, &i) < 0)
		return;
	if (w->local & ATTR_CTIME)
		i.attr.ctime = w->attr.ctime;
	if (w->local & ATTR_MTIME)
		i.attr.mtime = w->attr.mtime;
	if (i.checked == 0) { /* the server did not tell what it has now */
		struct wback_view rest = *w;

		rest.nlink_delta = 0;
		lay_over(&rest, &i);
	}
	i.parent = w->ref.parent;
	(void)meta_put(v->meta, &i);
}

void view_settled(struct vfs *v, const struct wback_settled *s)
{
	for (unsigned k = 0; k < s->n; k++)
		settle_one(v, &s->views[k]);
}

struct wback_ref view_ref(const struct meta_inode *i)
{
	return (struct wback_ref){
		.ino = i->ino,
		.parent = i->parent,
		.mode = i->attr.mode,
		.nlink = i->attr.nlink,
		.fh = i->handle,
		.fsid = i->attr.fsid,
		/* 0: no version to compare with. */
		.fileid = i->server_mtime.tv_sec || i->server_mtime.tv_nsec ?
				  i->attr.fileid :
				  0,
		.size = i->attr.size,
		.mtime = i->server_mtime,
	};
}

void view_claim(struct vfs *v, uint64_t ino, const struct handle *fh)
{
	struct meta_inode other;

	if (meta_find(v->meta, fh, NULL, &other) == 0 && other.ino != ino)
		(void)meta_forget(v->meta, other.ino);
}

static void restore_one(void *arg, const struct wback_ref *ref)
{
	struct vfs *v = arg;
	struct meta_inode i;

	view_claim(v, ref->ino, &ref->fh);
	if (meta_get(v->meta, ref->ino, &i) == 0) {
		/* The cache may be older: a link made since counts. */
		i.attr.nlink = ref->nlink;
		i.checked = 0;
		(void)meta_put(v->meta, &i);
		return;
	}
	i = (struct meta_inode){
		.ino = ref->ino,
		.parent = ref->parent,
		.attr = { .fsid = ref->fsid, .fileid = ref->fileid,
			  .size = ref->size, .mtime = ref->mtime,
			  .ctime = ref->mtime, .mode = ref->mode,
			  .nlink = ref->nlink },
		.server_mtime = ref->mtime,
		.server_ctime = ref->mtime,
		.data_ctime = ref->mtime,
		.handle = ref->fh,
	};
	(void)meta_put(v->meta, &i);
}

void view_restore(struct vfs *v)
{
	if (!v->wback)
		return;
	meta_skip_inos(v->meta, wback_ino_bound(v->wback));
	wback_refs(v->wback, restore_one, v);
}

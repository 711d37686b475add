/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remote_mem_tree.c: the disk of the server in memory: filesystems, inodes,
 * directories, times. Contents are in remote_mem_data.c.
 *
 * An inode lives exactly as long as it has a link: nothing is held open on an
 * NFSv3 server. Its number is then free for the next inode, as on most real
 * filesystems; the generation in the handle tells the two apart.
 *
 * Directory entries are kept in the order of their creation with cookies that
 * only ever grow, so that a listing in pages neither repeats nor skips what
 * was there all the time. Names are found by going through them all: trees
 * of tests are small.
 */
#include "remote_mem_tree.h"

enum { FILEID_ROOT = 2, COOKIE_FIRST = 3, LINK_MAX_DEFAULT = 65000 };

static const uint32_t handle_magic = 0x6d656d31;

/* ---- memory ---- */

void *mem_alloc(size_t bytes)
{
	void *p = calloc(1, bytes ? bytes : 1);

	if (!p)
		abort();
	return p;
}

char *mem_strdup(const char *s)
{
	char *p = strdup(s);

	if (!p)
		abort();
	return p;
}

void *mem_grow(void *array, size_t *room, size_t n, size_t item)
{
	if (n < *room)
		return array;
	*room = *room ? 2 * *room : 8;
	array = realloc(array, *room * item);
	if (!array)
		abort();
	return array;
}

/* ---- time ---- */

static struct timespec cut(const struct mem_tree *t, uint64_t ns)
{
	ns -= ns % t->granularity_ns;
	return (struct timespec){ .tv_sec = (time_t)(ns / 1000000000),
				  .tv_nsec = (long)(ns % 1000000000) };
}

static struct timespec cut_time(const struct mem_tree *t,
				const struct timespec *ts)
{
	return cut(t, (uint64_t)ts->tv_sec * 1000000000 +
			      (uint64_t)ts->tv_nsec);
}

struct timespec mem_tick(struct mem_tree *t)
{
	t->now_ns += t->step_ns;
	return cut(t, t->now_ns);
}

static void touch(struct mem_node *n, struct timespec now)
{
	n->attr.mtime = n->attr.ctime = now;
}

/* ---- inodes ---- */

static struct mem_node *node_new(struct mem_tree *t, struct mem_fs *fs,
				 uint32_t mode, struct timespec now)
{
	struct mem_node *n = mem_alloc(sizeof(*n));
	size_t slot = fs->slot_hint;

	while (slot < fs->slots_n && fs->slots[slot])
		slot++;
	if (slot == fs->slots_n) {
		fs->slots = mem_grow(fs->slots, &fs->slots_room, slot,
				     sizeof(struct mem_node *));
		fs->slots_n++;
	}
	fs->slot_hint = slot + 1;
	fs->slots[slot] = n;
	n->fs = fs;
	n->generation = t->generation_next++;
	n->cookie_next = COOKIE_FIRST;
	n->attr = (struct attr){ .fsid = fs->fsid,
				 .fileid = slot + FILEID_ROOT,
				 .mode = mode,
				 .nlink = S_ISDIR(mode) ? 2 : 1,
				 .size = S_ISDIR(mode) ? MEM_BLOCK : 0,
				 .used = S_ISDIR(mode) ? MEM_BLOCK : 0,
				 .atime = now };
	touch(n, now);
	return n;
}

static void node_free(struct mem_node *n)
{
	size_t slot = n->attr.fileid - FILEID_ROOT;

	n->fs->slots[slot] = NULL;
	n->fs->slot_hint = MIN(n->fs->slot_hint, slot);
	for (size_t i = 0; i < n->blocks_n; i++)
		free(n->blocks[i].bytes);
	for (size_t i = 0; i < n->entries_n; i++)
		free(n->entries[i].name);
	free(n->blocks);
	free(n->entries);
	free(n->target);
	free(n);
}

static struct mem_fs *fs_new(struct mem_tree *t)
{
	struct mem_fs *fs = mem_alloc(sizeof(*fs));

	fs->fsid = t->fsid_next++;
	fs->next = t->fs;
	t->fs = fs;
	return fs;
}

void mem_tree_init(struct mem_tree *t)
{
	*t = (struct mem_tree){ .fsid_next = 0x801,
				.generation_next = 1,
				.now_ns = UINT64_C(1700000000) * 1000000000,
				.step_ns = 1000,
				.granularity_ns = 1,
				.link_max = LINK_MAX_DEFAULT };
	t->root = node_new(t, fs_new(t), S_IFDIR | 0755, mem_tick(t));
	t->root->parent = t->root;
}

void mem_tree_release(struct mem_tree *t)
{
	while (t->fs) {
		struct mem_fs *fs = t->fs;

		t->fs = fs->next;
		for (size_t i = 0; i < fs->slots_n; i++)
			if (fs->slots[i])
				node_free(fs->slots[i]);
		free(fs->slots);
		free(fs);
	}
}

/* ---- handles ---- */

struct raw_handle {
	uint32_t magic, generation;
	uint64_t fsid, fileid;
};

void mem_handle(const struct mem_node *n, struct handle *ret)
{
	struct raw_handle raw = { .magic = handle_magic,
				  .generation = n->generation,
				  .fsid = n->attr.fsid,
				  .fileid = n->attr.fileid };

	memset(ret, 0, sizeof(*ret));
	ret->len = sizeof(raw);
	memcpy(ret->data, &raw, sizeof(raw));
}

int mem_by_handle(const struct mem_tree *t, const struct handle *h,
		  struct mem_node **ret)
{
	struct raw_handle raw;
	struct mem_fs *fs;
	struct mem_node *n;

	if (h->len != sizeof(raw))
		return -ESTALE;
	memcpy(&raw, h->data, sizeof(raw));
	for (fs = t->fs; fs && fs->fsid != raw.fsid; fs = fs->next)
		;
	if (raw.magic != handle_magic || !fs || raw.fileid < FILEID_ROOT ||
	    raw.fileid - FILEID_ROOT >= fs->slots_n)
		return -ESTALE;
	n = fs->slots[raw.fileid - FILEID_ROOT];
	if (!n || n->generation != raw.generation)
		return -ESTALE;
	*ret = n;
	return 0;
}

/* ---- names ---- */

static uint32_t name_hash(const char *name)
{
	uint32_t h = 2166136261u;

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	return h;
}

static bool is_dot(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* The server's answer to a name that cannot be one. */
static int check_name(const char *name, int dot_error)
{
	if (is_dot(name))
		return dot_error;
	return *name && !strchr(name, '/') ? 0 : -EACCES;
}

struct mem_entry *mem_entry(const struct mem_node *dir, const char *name)
{
	uint32_t hash = name_hash(name);

	for (size_t i = 0; i < dir->entries_n; i++)
		if (dir->entries[i].hash == hash &&
		    strcmp(dir->entries[i].name, name) == 0)
			return &dir->entries[i];
	return NULL;
}

int mem_lookup(struct mem_node *dir, const char *name, struct mem_node **ret)
{
	struct mem_entry *e;

	if (!mem_is_dir(dir))
		return -ENOTDIR;
	if (is_dot(name)) {
		*ret = name[1] ? dir->parent : dir;
		return 0;
	}
	e = mem_entry(dir, name);
	if (!e)
		return -ENOENT;
	*ret = e->node;
	return 0;
}

static void entry_add(struct mem_node *dir, const char *name,
		      struct mem_node *n)
{
	dir->entries = mem_grow(dir->entries, &dir->entries_room,
				dir->entries_n, sizeof(*dir->entries));
	dir->entries[dir->entries_n++] = (struct mem_entry){
		.name = mem_strdup(name),
		.hash = name_hash(name),
		.cookie = dir->cookie_next++,
		.node = n,
	};
	if (mem_is_dir(n)) {
		n->parent = dir;
		dir->attr.nlink++;
	}
}

static void entry_del(struct mem_node *dir, struct mem_entry *e)
{
	size_t i = (size_t)(e - dir->entries);

	if (mem_is_dir(e->node))
		dir->attr.nlink--;
	free(e->name);
	memmove(e, e + 1, (dir->entries_n - i - 1) * sizeof(*e));
	dir->entries_n--;
}

/* ---- changes ---- */

int mem_create(struct mem_tree *t, struct mem_node *dir, const char *name,
	       uint32_t mode, struct mem_node **ret)
{
	struct mem_node *n;
	struct timespec now;
	int r;

	if (!mem_is_dir(dir))
		return -ENOTDIR;
	r = check_name(name, -EEXIST);
	if (r < 0)
		return r;
	if (mem_entry(dir, name))
		return -EEXIST;
	if (S_ISDIR(mode) && dir->attr.nlink >= t->link_max)
		return -EMLINK;
	now = mem_tick(t);
	n = node_new(t, dir->fs, mode, now);
	if (dir->attr.mode & S_ISGID) {
		n->attr.gid = dir->attr.gid;
		if (S_ISDIR(mode))
			n->attr.mode |= S_ISGID;
	}
	entry_add(dir, name, n);
	touch(dir, now);
	*ret = n;
	return 0;
}

int mem_link(struct mem_tree *t, struct mem_node *n, struct mem_node *dir,
	     const char *name)
{
	struct timespec now;
	int r;

	if (mem_is_dir(n))
		return -EISDIR;
	if (!mem_is_dir(dir))
		return -ENOTDIR;
	r = check_name(name, -EEXIST);
	if (r < 0)
		return r;
	if (mem_entry(dir, name))
		return -EEXIST;
	if (n->fs != dir->fs)
		return -EXDEV;
	if (n->attr.nlink >= t->link_max)
		return -EMLINK;
	now = mem_tick(t);
	n->attr.nlink++;
	n->attr.ctime = now;
	entry_add(dir, name, n);
	touch(dir, now);
	return 0;
}

/* The name's link to @n is gone. */
static void unlinked(struct mem_node *n, struct timespec now)
{
	n->attr.ctime = now;
	n->attr.nlink -= mem_is_dir(n) ? 2 : 1;
	if (n->attr.nlink == 0)
		node_free(n);
}

int mem_remove(struct mem_tree *t, struct mem_node *dir, const char *name,
	       bool rmdir)
{
	struct mem_entry *e;
	struct mem_node *n;
	struct timespec now;
	int r;

	if (!mem_is_dir(dir))
		return -ENOTDIR;
	r = check_name(name, -EACCES);
	if (r < 0)
		return r;
	e = mem_entry(dir, name);
	if (!e)
		return -ENOENT;
	if (rmdir != mem_is_dir(e->node))
		return rmdir ? -ENOTDIR : -EISDIR;
	if (e->covered)
		return -EACCES; /* what Linux says of a mount point */
	if (e->node->entries_n > 0)
		return -ENOTEMPTY;
	now = mem_tick(t);
	n = e->node;
	entry_del(dir, e);
	touch(dir, now);
	unlinked(n, now);
	return 0;
}

static bool is_within(const struct mem_node *dir, const struct mem_node *top)
{
	for (; dir != top; dir = dir->parent)
		if (dir == dir->parent)
			return false;
	return true;
}

/* May @from take the place of @to? */
static int check_replace(const struct mem_entry *from,
			 const struct mem_entry *to)
{
	if (mem_is_dir(from->node) && !mem_is_dir(to->node))
		return -ENOTDIR;
	if (!mem_is_dir(from->node) && mem_is_dir(to->node))
		return -EISDIR;
	if (to->covered)
		return -EACCES;
	return to->node->entries_n > 0 ? -ENOTEMPTY : 0;
}

static int check_rename(struct mem_tree *t, struct mem_node *dir,
			const struct mem_entry *from, struct mem_node *dir2,
			const struct mem_entry *to)
{
	if (dir->fs != dir2->fs)
		return -EXDEV;
	if (from->covered)
		return -EACCES;
	if (mem_is_dir(from->node) && is_within(dir2, from->node))
		return -EINVAL;
	if (to && to->node != from->node) {
		int r = check_replace(from, to);

		if (r < 0)
			return r;
	}
	if (!to && dir != dir2 && mem_is_dir(from->node) &&
	    dir2->attr.nlink >= t->link_max)
		return -EMLINK;
	return 0;
}

int mem_rename(struct mem_tree *t, struct mem_node *dir, const char *name,
	       struct mem_node *dir2, const char *name2)
{
	struct mem_entry *from, *to;
	struct mem_node *n, *old;
	struct timespec now;
	int r;

	if (!mem_is_dir(dir) || !mem_is_dir(dir2))
		return -ENOTDIR;
	r = check_name(name, -EPERM);
	r = r < 0 ? r : check_name(name2, -EPERM);
	if (r < 0)
		return r;
	from = mem_entry(dir, name);
	if (!from)
		return -ENOENT;
	to = mem_entry(dir2, name2);
	r = check_rename(t, dir, from, dir2, to);
	if (r < 0)
		return r;
	if (to && to->node == from->node)
		return 0; /* two links of one file: nothing happens */

	now = mem_tick(t);
	n = from->node;
	old = to ? to->node : NULL;
	if (to)
		entry_del(dir2, to);
	entry_del(dir, mem_entry(dir, name));
	entry_add(dir2, name2, n);
	n->attr.ctime = now;
	touch(dir, now);
	touch(dir2, now);
	if (old)
		unlinked(old, now);
	return 0;
}

int mem_new_fs(struct mem_tree *t, struct mem_node *dir, const char *name)
{
	struct mem_entry *e = mem_entry(dir, name);
	struct mem_node *root;

	if (!e)
		return -ENOENT;
	if (!mem_is_dir(e->node))
		return -ENOTDIR;
	if (e->covered || e->node->entries_n > 0)
		return -EBUSY;
	root = node_new(t, fs_new(t), S_IFDIR | 0755, mem_tick(t));
	root->parent = dir;
	e->covered = e->node;
	e->node = root;
	return 0;
}

/* ---- attributes ---- */

static void set_owner(struct mem_node *n, const struct remote_sattr *set)
{
	if (set->valid & REMOTE_SET_UID)
		n->attr.uid = set->uid;
	if (set->valid & REMOTE_SET_GID)
		n->attr.gid = set->gid;
	/* A change of owner takes the privileges away, even those that the
	 * same call gives. */
	if (!(set->valid & (REMOTE_SET_UID | REMOTE_SET_GID)) || mem_is_dir(n))
		return;
	n->attr.mode &= ~(uint32_t)S_ISUID;
	if (n->attr.mode & S_IXGRP)
		n->attr.mode &= ~(uint32_t)S_ISGID;
}

int mem_setattr(struct mem_tree *t, struct mem_node *n,
		const struct remote_sattr *set)
{
	struct attr *a = &n->attr;
	struct timespec now;

	if ((set->valid & REMOTE_SET_SIZE) && !S_ISREG(a->mode))
		return mem_is_dir(n) ? -EISDIR : -EINVAL;
	if ((set->valid & REMOTE_SET_SIZE) && set->size > INT64_MAX)
		return -EFBIG;
	if (!set->valid)
		return 0;
	now = mem_tick(t);
	a->ctime = now;
	if (set->valid & REMOTE_SET_MODE)
		a->mode = (a->mode & S_IFMT) | (set->mode & 07777);
	set_owner(n, set);
	if ((set->valid & REMOTE_SET_SIZE) && set->size != a->size) {
		mem_set_size(n, set->size);
		a->mtime = now;
	}
	if (set->valid & REMOTE_SET_ATIME)
		a->atime = cut_time(t, &set->atime);
	if (set->valid & REMOTE_SET_ATIME_NOW)
		a->atime = now;
	if (set->valid & REMOTE_SET_MTIME)
		a->mtime = cut_time(t, &set->mtime);
	if (set->valid & REMOTE_SET_MTIME_NOW)
		a->mtime = now;
	return 0;
}

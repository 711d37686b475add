/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remote_mem_admin.c: the life of the server in memory, and what its
 * administrator does there: paths instead of handles, and the dump.
 */
#include "remote_mem_tree.h"

#include <inttypes.h>

/* ---- the server ---- */

static void use_options(struct remote_mem *m,
			const struct remote_mem_options *o)
{
	m->o = *o;
	if (o->link_max)
		m->tree.link_max = o->link_max;
}

struct remote_mem *remote_mem_new(const struct remote_mem_options *o)
{
	struct remote_mem *m = mem_alloc(sizeof(*m));

	mutex_init(&m->lock);
	mem_tree_init(&m->tree);
	m->verf = 1;
	if (o)
		use_options(m, o);
	return m;
}

void remote_mem_free(struct remote_mem *m)
{
	if (!m)
		return;
	mem_tree_release(&m->tree);
	mutex_destroy(&m->lock);
	free(m);
}

void remote_mem_set_options(struct remote_mem *m,
			    const struct remote_mem_options *o)
{
	mutex_lock(&m->lock);
	use_options(m, o);
	mutex_unlock(&m->lock);
}

void remote_mem_root(struct remote_mem *m, struct handle *ret)
{
	mutex_lock(&m->lock);
	mem_handle(m->tree.root, ret);
	mutex_unlock(&m->lock);
}

uint64_t remote_mem_calls(struct remote_mem *m, enum remote_op op)
{
	uint64_t sum = 0;

	mutex_lock(&m->lock);
	for (int i = 0; i < REMOTE_OPS; i++)
		if (op == REMOTE_OPS || (int)op == i)
			sum += m->calls[i];
	mutex_unlock(&m->lock);
	return sum;
}

void remote_mem_reset_calls(struct remote_mem *m)
{
	mutex_lock(&m->lock);
	for (int i = 0; i < REMOTE_OPS; i++)
		m->calls[i] = 0;
	mutex_unlock(&m->lock);
}

void remote_mem_restart(struct remote_mem *m)
{
	mutex_lock(&m->lock);
	m->verf++;
	mutex_unlock(&m->lock);
}

void remote_mem_set_clock(struct remote_mem *m, uint64_t now_ns,
			  uint64_t step_ns)
{
	mutex_lock(&m->lock);
	m->tree.now_ns = now_ns;
	m->tree.step_ns = step_ns;
	mutex_unlock(&m->lock);
}

void remote_mem_set_granularity(struct remote_mem *m, uint64_t ns)
{
	mutex_lock(&m->lock);
	m->tree.granularity_ns = ns ? ns : 1;
	mutex_unlock(&m->lock);
}

/* ---- paths ---- */

/* The directory of @path's last name. */
static int walk_dir(struct remote_mem *m, const char *path,
		    struct mem_node **ret, const char **ret_name)
{
	struct mem_node *dir = m->tree.root;

	while (*path == '/')
		path++;
	for (;;) {
		const char *slash = strchr(path, '/');
		char name[NAME_BYTES_MAX + 1];
		int r;

		if (!slash)
			break;
		if ((size_t)(slash - path) > NAME_BYTES_MAX)
			return -ENAMETOOLONG;
		memcpy(name, path, (size_t)(slash - path));
		name[slash - path] = '\0';
		r = mem_lookup(dir, name, &dir);
		if (r < 0)
			return r;
		path = slash + 1;
	}
	if (strlen(path) > NAME_BYTES_MAX)
		return -ENAMETOOLONG;
	*ret = dir;
	*ret_name = path;
	return 0;
}

static int walk(struct remote_mem *m, const char *path, struct mem_node **ret)
{
	struct mem_node *dir;
	const char *name;
	int r = walk_dir(m, path, &dir, &name);

	if (r < 0)
		return r;
	if (!*name) {
		*ret = dir;
		return 0;
	}
	return mem_lookup(dir, name, ret);
}

static int make(struct remote_mem *m, const char *path, uint32_t mode,
		struct mem_node **ret)
{
	struct mem_node *dir;
	const char *name;
	int r = walk_dir(m, path, &dir, &name);

	return r < 0 ? r : mem_create(&m->tree, dir, name, mode, ret);
}

/* Run an expression that gives 0 or -errno under the server's lock. */
#define LOCKED(m, expression)               \
	({                                  \
		int locked_r_;              \
		mutex_lock(&(m)->lock);     \
		locked_r_ = (expression);   \
		mutex_unlock(&(m)->lock);   \
		locked_r_;                  \
	})

/* ---- the administrator's changes ---- */

static int new_fs(struct remote_mem *m, const char *path)
{
	struct mem_node *dir;
	const char *name;
	int r = walk_dir(m, path, &dir, &name);

	return r < 0 ? r : mem_new_fs(&m->tree, dir, name);
}

int remote_mem_new_fs(struct remote_mem *m, const char *path)
{
	return LOCKED(m, new_fs(m, path));
}

static int write_file(struct remote_mem *m, const char *path, const void *bytes,
		      size_t len)
{
	struct mem_node *n;
	int r = walk(m, path, &n);

	if (r == -ENOENT)
		r = make(m, path, S_IFREG | 0644, &n);
	if (r < 0)
		return r;
	if (!S_ISREG(n->attr.mode))
		return mem_is_dir(n) ? -EISDIR : -EINVAL;
	mem_set_size(n, 0);
	n->attr.mtime = n->attr.ctime = mem_tick(&m->tree);
	return mem_write(&m->tree, n, 0, bytes, len);
}

int remote_mem_write_file(struct remote_mem *m, const char *path,
			  const void *bytes, size_t len)
{
	return LOCKED(m, write_file(m, path, bytes, len));
}

static int read_file(struct remote_mem *m, const char *path, char **ret,
		     size_t *ret_len)
{
	struct mem_node *n;
	int r = walk(m, path, &n);

	if (r < 0)
		return r;
	if (!S_ISREG(n->attr.mode))
		return mem_is_dir(n) ? -EISDIR : -EINVAL;
	*ret = mem_alloc(n->attr.size + 1);
	*ret_len = mem_read(n, 0, *ret, n->attr.size);
	return 0;
}

int remote_mem_read_file(struct remote_mem *m, const char *path, char **ret,
			 size_t *ret_len)
{
	return LOCKED(m, read_file(m, path, ret, ret_len));
}

static int make_dirs(struct remote_mem *m, const char *path)
{
	char *part = mem_strdup(path), *slash = part;
	struct mem_node *n;
	int r = 0;

	while (r == 0 && slash) {
		slash = strchr(slash + 1, '/');
		if (slash)
			*slash = '\0';
		r = walk(m, part, &n);
		if (r == -ENOENT)
			r = make(m, part, S_IFDIR | 0755, &n);
		if (r == 0 && !mem_is_dir(n))
			r = -ENOTDIR;
		if (slash)
			*slash = '/';
	}
	free(part);
	return r;
}

int remote_mem_mkdir(struct remote_mem *m, const char *path)
{
	return LOCKED(m, make_dirs(m, path));
}

static int make_symlink(struct remote_mem *m, const char *target,
			const char *path)
{
	struct mem_node *n;
	int r = make(m, path, S_IFLNK | 0777, &n);

	if (r < 0)
		return r;
	n->target = mem_strdup(target);
	n->attr.size = strlen(target);
	return 0;
}

int remote_mem_symlink(struct remote_mem *m, const char *target,
		       const char *path)
{
	return LOCKED(m, make_symlink(m, target, path));
}

static int make_link(struct remote_mem *m, const char *from, const char *to)
{
	struct mem_node *n, *dir;
	const char *name;
	int r = walk(m, from, &n);

	r = r < 0 ? r : walk_dir(m, to, &dir, &name);
	return r < 0 ? r : mem_link(&m->tree, n, dir, name);
}

int remote_mem_link(struct remote_mem *m, const char *from, const char *to)
{
	return LOCKED(m, make_link(m, from, to));
}

static int make_node(struct remote_mem *m, const char *path, uint32_t mode,
		     uint32_t major, uint32_t minor)
{
	struct mem_node *n;
	int r = make(m, path, mode, &n);

	if (r < 0)
		return r;
	n->attr.rdev_major = major;
	n->attr.rdev_minor = minor;
	return 0;
}

int remote_mem_mknod(struct remote_mem *m, const char *path, uint32_t mode,
		     uint32_t major, uint32_t minor)
{
	return LOCKED(m, make_node(m, path, mode, major, minor));
}

/* Down to the leftmost leaf, remove it, look again: no recursion. */
static int remove_tree(struct remote_mem *m, const char *path)
{
	struct mem_node *top, *dir;
	const char *name;
	int r = walk_dir(m, path, &top, &name);

	if (r < 0)
		return r;
	for (bool last = false; r == 0 && !last;) {
		const char *leaf = name;
		struct mem_entry *e = mem_entry(top, name);

		if (!e)
			return -ENOENT;
		dir = top;
		while (mem_is_dir(e->node) && e->node->entries_n > 0) {
			dir = e->node;
			e = &dir->entries[0];
			leaf = e->name;
		}
		last = dir == top;
		r = mem_remove(&m->tree, dir, leaf, mem_is_dir(e->node));
	}
	return r;
}

int remote_mem_remove(struct remote_mem *m, const char *path)
{
	return LOCKED(m, remove_tree(m, path));
}

static int move(struct remote_mem *m, const char *from, const char *to)
{
	struct mem_node *dir, *dir2;
	const char *name, *name2;
	int r = walk_dir(m, from, &dir, &name);

	r = r < 0 ? r : walk_dir(m, to, &dir2, &name2);
	return r < 0 ? r : mem_rename(&m->tree, dir, name, dir2, name2);
}

int remote_mem_rename(struct remote_mem *m, const char *from, const char *to)
{
	return LOCKED(m, move(m, from, to));
}

static int change(struct remote_mem *m, const char *path,
		  const struct remote_sattr *set)
{
	struct mem_node *n;
	int r = walk(m, path, &n);

	return r < 0 ? r : mem_setattr(&m->tree, n, set);
}

int remote_mem_chmod(struct remote_mem *m, const char *path, uint32_t mode)
{
	struct remote_sattr set = { .valid = REMOTE_SET_MODE, .mode = mode };

	return LOCKED(m, change(m, path, &set));
}

int remote_mem_chown(struct remote_mem *m, const char *path, uint32_t uid,
		     uint32_t gid)
{
	struct remote_sattr set = { .valid = REMOTE_SET_UID | REMOTE_SET_GID,
				    .uid = uid,
				    .gid = gid };

	return LOCKED(m, change(m, path, &set));
}

int remote_mem_set_mtime(struct remote_mem *m, const char *path,
			 const struct timespec *mtime)
{
	struct remote_sattr set = { .valid = REMOTE_SET_MTIME,
				    .mtime = *mtime };

	return LOCKED(m, change(m, path, &set));
}

/* ---- the administrator's look ---- */

static int get_attr(struct remote_mem *m, const char *path, struct attr *ret)
{
	struct mem_node *n;
	int r = walk(m, path, &n);

	if (r == 0)
		*ret = n->attr;
	return r;
}

int remote_mem_stat(struct remote_mem *m, const char *path, struct attr *ret)
{
	return LOCKED(m, get_attr(m, path, ret));
}

static int get_handle(struct remote_mem *m, const char *path,
		      struct handle *ret)
{
	struct mem_node *n;
	int r = walk(m, path, &n);

	if (r == 0)
		mem_handle(n, ret);
	return r;
}

int remote_mem_handle(struct remote_mem *m, const char *path,
		      struct handle *ret)
{
	return LOCKED(m, get_handle(m, path, ret));
}

/* ---- the dump ---- */

struct seen { /* a file with several links */
	const struct mem_node *node;
	char *path;
};

struct dump {
	FILE *out;
	bool times;
	struct seen *seen;
	size_t seen_n, seen_room;
};

/* Holes hash as the zeros they read as. */
static uint64_t contents_hash(const struct mem_node *n)
{
	uint8_t buf[MEM_BLOCK];
	uint64_t h = UINT64_C(14695981039346656037);

	for (size_t i = 0; i < n->blocks_n; i++) {
		uint64_t at = n->blocks[i].index * MEM_BLOCK;
		size_t len = mem_read(n, at, buf, sizeof(buf));

		for (size_t k = 0; k < len; k++)
			if (buf[k])
				h = (h ^ buf[k] ^ ((at + k) << 8)) *
				    UINT64_C(1099511628211);
	}
	return h;
}

static char type_letter(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return 'f';
	case S_IFDIR:
		return 'd';
	case S_IFLNK:
		return 'l';
	case S_IFCHR:
		return 'c';
	case S_IFBLK:
		return 'b';
	case S_IFIFO:
		return 'p';
	default:
		return 's';
	}
}

static const char *first_path(struct dump *d, const struct mem_node *n,
			      const char *path)
{
	for (size_t i = 0; i < d->seen_n; i++)
		if (d->seen[i].node == n)
			return d->seen[i].path;
	d->seen = mem_grow(d->seen, &d->seen_room, d->seen_n, sizeof(*d->seen));
	d->seen[d->seen_n++] = (struct seen){ n, mem_strdup(path) };
	return NULL;
}

static void dump_node(struct dump *d, const struct mem_node *n,
		      const char *path)
{
	const struct attr *a = &n->attr;
	const char *first = !mem_is_dir(n) && a->nlink > 1 ?
				    first_path(d, n, path) :
				    NULL;

	fprintf(d->out, "%s %c %04o %u %u %u", *path ? path : "/",
		type_letter(a->mode), a->mode & 07777, a->nlink, a->uid,
		a->gid);
	if (S_ISREG(a->mode))
		fprintf(d->out, " %" PRIu64 " %016" PRIx64, a->size,
			contents_hash(n));
	else if (S_ISLNK(a->mode))
		fprintf(d->out, " -> %s", n->target);
	else if (S_ISCHR(a->mode) || S_ISBLK(a->mode))
		fprintf(d->out, " %u:%u", a->rdev_major, a->rdev_minor);
	if (d->times)
		fprintf(d->out, " @%lld.%09ld", (long long)a->mtime.tv_sec,
			a->mtime.tv_nsec);
	if (first)
		fprintf(d->out, " = %s", first);
	fputc('\n', d->out);
}

static int entry_order(const void *a, const void *b)
{
	const struct mem_entry *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static void dump_tree(struct dump *d, const struct mem_node *n,
		      const char *path)
{
	struct mem_entry **order;

	dump_node(d, n, path);
	order = mem_alloc(n->entries_n * sizeof(struct mem_entry *));
	for (size_t i = 0; i < n->entries_n; i++)
		order[i] = &n->entries[i];
	qsort(order, n->entries_n, sizeof(struct mem_entry *), entry_order);
	for (size_t i = 0; i < n->entries_n; i++) {
		CLEANUP_FREE char *below = NULL;

		if (asprintf(&below, "%s/%s", path, order[i]->name) < 0)
			abort();
		dump_tree(d, order[i]->node, below);
	}
	free(order);
}

char *remote_mem_dump(struct remote_mem *m, bool times)
{
	struct dump d = { .times = times };
	char *text = NULL;
	size_t len = 0;

	d.out = open_memstream(&text, &len);
	if (!d.out)
		abort();
	mutex_lock(&m->lock);
	dump_tree(&d, m->tree.root, "");
	mutex_unlock(&m->lock);
	if (fclose(d.out) != 0)
		abort();
	for (size_t i = 0; i < d.seen_n; i++)
		free(d.seen[i].path);
	free(d.seen);
	return text;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remote_mem.c: the server in memory: its procedures.
 *
 * One lock, mem->lock, guards the disk, the options and the counters; a call is
 * executed whole under it, and completed without it (remote_mem_conn.c).
 */
#include "remote_mem_tree.h"

/* ---- what the procedures share ---- */

static void give_attr(struct remote_mem *m, struct remote_call *c,
		      const struct mem_node *n)
{
	if (m->o.omit & REMOTE_MEM_OMIT_POST)
		return;
	c->has_attr = true;
	c->attr = n->attr;
}

static void give_dir(struct remote_mem *m, struct remote_call *c,
		     const struct mem_node *dir)
{
	if (m->o.omit & REMOTE_MEM_OMIT_POST)
		return;
	c->has_dir_attr = true;
	c->dir_attr = dir->attr;
}

static void give_pre(struct remote_mem *m, struct remote_pre *pre,
		     const struct mem_node *n)
{
	if (m->o.omit & REMOTE_MEM_OMIT_PRE)
		return;
	*pre = (struct remote_pre){ .valid = true,
				    .size = n->attr.size,
				    .mtime = n->attr.mtime,
				    .ctime = n->attr.ctime };
}

/* The directory of a call that changes it, as it is before. */
static int dir_begin(struct remote_mem *m, struct remote_call *c,
		     struct mem_node **ret)
{
	int r = mem_by_handle(&m->tree, &c->fh, ret);

	if (r < 0)
		return r;
	give_pre(m, &c->pre, *ret);
	return 0;
}

static int node_begin(struct remote_mem *m, struct remote_call *c,
		      struct mem_node **ret)
{
	int r = mem_by_handle(&m->tree, &c->fh, ret);

	if (r < 0)
		return r;
	give_attr(m, c, *ret);
	return 0;
}

/* ---- procedures: objects ---- */

static int op_null(struct remote_mem *m, struct remote_call *c)
{
	return 0;
}

static int op_getattr(struct remote_mem *m, struct remote_call *c)
{
	struct mem_node *n;
	int r = mem_by_handle(&m->tree, &c->fh, &n);

	if (r < 0)
		return r;
	c->has_attr = true; /* never left out: they are the result */
	c->attr = n->attr;
	return 0;
}

static int op_setattr(struct remote_mem *m, struct remote_call *c)
{
	struct mem_node *n;
	int r = mem_by_handle(&m->tree, &c->fh, &n);

	if (r < 0)
		return r;
	give_pre(m, &c->pre, n);
	r = mem_setattr(&m->tree, n, &c->set);
	give_attr(m, c, n);
	return r;
}

static int op_access(struct remote_mem *m, struct remote_call *c)
{
	struct mem_node *n;
	uint32_t can = REMOTE_ACCESS_READ | REMOTE_ACCESS_MODIFY |
		       REMOTE_ACCESS_EXTEND;
	int r = node_begin(m, c, &n);

	if (r < 0)
		return r;
	/* Root may do all that makes sense. */
	if (mem_is_dir(n))
		can |= REMOTE_ACCESS_LOOKUP | REMOTE_ACCESS_DELETE;
	else if (n->attr.mode & 0111)
		can |= REMOTE_ACCESS_EXECUTE;
	if (m->o.read_only)
		can &= ~(uint32_t)(REMOTE_ACCESS_MODIFY | REMOTE_ACCESS_EXTEND |
				   REMOTE_ACCESS_DELETE);
	c->access &= can;
	return 0;
}

static int op_readlink(struct remote_mem *m, struct remote_call *c)
{
	struct mem_node *n;
	int r = node_begin(m, c, &n);

	if (r < 0)
		return r;
	if (!S_ISLNK(n->attr.mode))
		return -EINVAL;
	c->data = mem_strdup(n->target);
	c->data_len = (uint32_t)strlen(n->target);
	return 0;
}

static int op_read(struct remote_mem *m, struct remote_call *c)
{
	struct mem_node *n;
	int r = mem_by_handle(&m->tree, &c->fh, &n);

	if (r < 0)
		return r;
	if (!S_ISREG(n->attr.mode)) {
		give_attr(m, c, n);
		return mem_is_dir(n) ? -EISDIR : -EINVAL;
	}
	c->data_of = bytes_new(c->count);
	if (!c->data_of)
		abort();
	c->data = c->data_of->at;
	c->data_len = (uint32_t)mem_read(n, c->offset, c->data, c->count);
	c->eof = c->offset + c->data_len >= n->attr.size;
	give_attr(m, c, n);
	return 0;
}

static int op_write(struct remote_mem *m, struct remote_call *c)
{
	struct mem_node *n;
	int r = mem_by_handle(&m->tree, &c->fh, &n);

	if (r < 0)
		return r;
	give_pre(m, &c->pre, n);
	r = mem_write(&m->tree, n, c->offset, c->data, c->data_len);
	give_attr(m, c, n);
	if (r < 0)
		return r;
	c->count = c->data_len;
	memcpy(c->verf, &m->verf, sizeof(c->verf));
	return 0;
}

static int op_commit(struct remote_mem *m, struct remote_call *c)
{
	struct mem_node *n;
	int r = node_begin(m, c, &n);

	if (r < 0)
		return r;
	if (!S_ISREG(n->attr.mode))
		return mem_is_dir(n) ? -EISDIR : -EINVAL;
	memcpy(c->verf, &m->verf, sizeof(c->verf));
	return 0;
}

/* ---- procedures: names ---- */

static int op_lookup(struct remote_mem *m, struct remote_call *c)
{
	struct mem_node *dir, *n;
	int r = mem_by_handle(&m->tree, &c->fh, &dir);

	if (r < 0)
		return r;
	give_dir(m, c, dir);
	r = mem_lookup(dir, c->name, &n);
	if (r < 0)
		return r;
	mem_handle(n, &c->fh_out);
	give_attr(m, c, n);
	return 0;
}

/* CREATE, MKDIR, SYMLINK, MKNOD. */
static int op_make(struct remote_mem *m, struct remote_call *c)
{
	struct remote_sattr set = c->set;
	uint32_t mode = set.valid & REMOTE_SET_MODE ? set.mode & 07777 : 0;
	struct mem_node *dir, *n;
	int r = dir_begin(m, c, &dir);

	if (r < 0)
		return r;
	if (c->op == REMOTE_CREATE)
		mode |= S_IFREG;
	else if (c->op == REMOTE_MKDIR)
		mode |= S_IFDIR;
	else if (c->op == REMOTE_SYMLINK)
		mode = S_IFLNK | 0777;
	else
		mode |= set.mode & S_IFMT;
	r = mem_create(&m->tree, dir, c->name, mode, &n);
	give_dir(m, c, dir);
	if (r < 0)
		return r;
	if (c->op == REMOTE_SYMLINK) {
		n->target = mem_alloc((size_t)c->data_len + 1);
		memcpy(n->target, c->data, c->data_len);
		n->attr.size = c->data_len;
	}
	if (S_ISCHR(mode) || S_ISBLK(mode)) {
		n->attr.rdev_major = c->rdev_major;
		n->attr.rdev_minor = c->rdev_minor;
	}
	set.valid &= ~(unsigned)REMOTE_SET_MODE; /* done: with the creation */
	if (!S_ISREG(mode))
		set.valid &= ~(unsigned)REMOTE_SET_SIZE;
	r = mem_setattr(&m->tree, n, &set);
	if (!(m->o.omit & REMOTE_MEM_OMIT_HANDLE))
		mem_handle(n, &c->fh_out);
	give_attr(m, c, n);
	return r;
}

static int op_remove(struct remote_mem *m, struct remote_call *c)
{
	struct mem_node *dir;
	int r = dir_begin(m, c, &dir);

	if (r < 0)
		return r;
	r = mem_remove(&m->tree, dir, c->name, c->op == REMOTE_RMDIR);
	give_dir(m, c, dir);
	return r;
}

static int op_rename(struct remote_mem *m, struct remote_call *c)
{
	struct mem_node *dir, *dir2;
	int r = dir_begin(m, c, &dir);

	if (r < 0)
		return r;
	r = mem_by_handle(&m->tree, &c->fh2, &dir2);
	if (r < 0)
		return r;
	give_pre(m, &c->pre2, dir2);
	r = mem_rename(&m->tree, dir, c->name, dir2, c->name2);
	give_dir(m, c, dir);
	if (!(m->o.omit & REMOTE_MEM_OMIT_POST)) {
		c->has_dir2_attr = true;
		c->dir2_attr = dir2->attr;
	}
	return r;
}

static int op_link(struct remote_mem *m, struct remote_call *c)
{
	struct mem_node *dir, *n;
	int r = mem_by_handle(&m->tree, &c->object, &n);

	if (r < 0)
		return r;
	r = dir_begin(m, c, &dir);
	if (r < 0)
		return r;
	r = mem_link(&m->tree, n, dir, c->name);
	give_attr(m, c, n);
	give_dir(m, c, dir);
	return r;
}

/* ---- procedures: listings and limits ---- */

/* Bytes of an entry in a reply, without its name: file number, cookie, name's
 * length, attributes and handle with what introduces them. */
enum { DIRENT_BYTES = 8 + 8 + 4 + 4 + 84 + 4 + 4 + 24 + 4 };

static size_t entry_bytes(const struct mem_entry *e)
{
	return DIRENT_BYTES + (strlen(e->name) + 3) / 4 * 4;
}

/* How many of the entries from @first on fit: one always does. */
static size_t page_size(struct remote_mem *m, const struct remote_call *c,
			const struct mem_node *dir, size_t first,
			size_t *ret_name_bytes)
{
	size_t n = 0, bytes = 0, name_bytes = 0;

	while (first + n < dir->entries_n &&
	       (!m->o.page_entries || n < m->o.page_entries)) {
		const struct mem_entry *e = &dir->entries[first + n];

		bytes += entry_bytes(e);
		if (n > 0 && bytes > c->count)
			break;
		name_bytes += strlen(e->name) + 1;
		n++;
	}
	*ret_name_bytes = name_bytes;
	return n;
}

static void give_entry(struct remote_mem *m, struct remote_dirent *to,
		       const struct mem_entry *e)
{
	const struct mem_node *n = e->covered ? e->covered : e->node;

	to->fileid = n->attr.fileid;
	to->cookie = e->cookie;
	if (e->covered || (m->o.omit & REMOTE_MEM_OMIT_POST))
		return;
	to->has_attr = true;
	to->attr = n->attr;
	mem_handle(n, &to->fh);
}

static int op_readdirplus(struct remote_mem *m, struct remote_call *c)
{
	struct mem_node *dir;
	size_t first = 0, name_bytes;
	char *names;
	int r = mem_by_handle(&m->tree, &c->fh, &dir);

	if (r < 0)
		return r;
	give_dir(m, c, dir);
	if (!mem_is_dir(dir))
		return -ENOTDIR;
	while (first < dir->entries_n &&
	       dir->entries[first].cookie <= c->cookie)
		first++;
	c->entries_n = page_size(m, c, dir, first, &name_bytes);
	c->entries = mem_alloc(c->entries_n * sizeof(*c->entries) + name_bytes);
	names = (char *)(c->entries + c->entries_n);
	for (size_t i = 0; i < c->entries_n; i++) {
		const struct mem_entry *e = &dir->entries[first + i];

		give_entry(m, &c->entries[i], e);
		c->entries[i].name = strcpy(names, e->name);
		names += strlen(names) + 1;
	}
	c->eof = first + c->entries_n == dir->entries_n;
	memset(c->verf, 0, sizeof(c->verf));
	return 0;
}

static int op_fsstat(struct remote_mem *m, struct remote_call *c)
{
	const uint64_t total = UINT64_C(1) << 40, inodes = total / 4096;
	struct mem_node *n;
	uint64_t used = 0, files = 0;
	int r = node_begin(m, c, &n);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n->fs->slots_n; i++) {
		if (!n->fs->slots[i])
			continue;
		used += n->fs->slots[i]->attr.used;
		files++;
	}
	c->fsstat = (struct remote_fsstat){ .bytes_total = total,
					    .files_total = inodes,
					    .files_free = inodes - files,
					    .files_avail = inodes - files };
	if (!m->o.full)
		c->fsstat.bytes_free = c->fsstat.bytes_avail = total - used;
	return 0;
}

static int op_fsinfo(struct remote_mem *m, struct remote_call *c)
{
	struct mem_node *n;
	uint64_t unit = m->tree.granularity_ns;
	int r = node_begin(m, c, &n);

	if (r < 0)
		return r;
	c->fsinfo = (struct remote_fsinfo){
		.read_max = 1 << 20,
		.write_max = 1 << 20,
		.readdir_pref = 1 << 16,
		.file_size_max = INT64_MAX,
		.time_delta = { .tv_sec = (time_t)(unit / 1000000000),
				.tv_nsec = (long)(unit % 1000000000) },
		.has_links = true,
		.has_symlinks = true,
		.can_set_time = true,
	};
	return 0;
}

static int op_pathconf(struct remote_mem *m, struct remote_call *c)
{
	struct mem_node *n;
	int r = node_begin(m, c, &n);

	if (r < 0)
		return r;
	c->pathconf = (struct remote_pathconf){ .link_max = m->tree.link_max,
						.name_max = NAME_BYTES_MAX,
						.no_trunc = true,
						.chown_restricted = true };
	return 0;
}

/* ---- executing a call ---- */

enum { CHANGES = 1, NEEDS_SPACE = 2 };

static const struct {
	int (*fn)(struct remote_mem *m, struct remote_call *c);
	unsigned flags;
} procedures[REMOTE_OPS] = {
	[REMOTE_NULL] = { op_null, 0 },
	[REMOTE_GETATTR] = { op_getattr, 0 },
	[REMOTE_SETATTR] = { op_setattr, CHANGES },
	[REMOTE_LOOKUP] = { op_lookup, 0 },
	[REMOTE_ACCESS] = { op_access, 0 },
	[REMOTE_READLINK] = { op_readlink, 0 },
	[REMOTE_READ] = { op_read, 0 },
	[REMOTE_WRITE] = { op_write, CHANGES | NEEDS_SPACE },
	[REMOTE_COMMIT] = { op_commit, 0 },
	[REMOTE_CREATE] = { op_make, CHANGES | NEEDS_SPACE },
	[REMOTE_MKDIR] = { op_make, CHANGES | NEEDS_SPACE },
	[REMOTE_SYMLINK] = { op_make, CHANGES | NEEDS_SPACE },
	[REMOTE_MKNOD] = { op_make, CHANGES | NEEDS_SPACE },
	[REMOTE_REMOVE] = { op_remove, CHANGES },
	[REMOTE_RMDIR] = { op_remove, CHANGES },
	[REMOTE_RENAME] = { op_rename, CHANGES },
	[REMOTE_LINK] = { op_link, CHANGES | NEEDS_SPACE },
	[REMOTE_READDIRPLUS] = { op_readdirplus, 0 },
	[REMOTE_FSSTAT] = { op_fsstat, 0 },
	[REMOTE_FSINFO] = { op_fsinfo, 0 },
	[REMOTE_PATHCONF] = { op_pathconf, 0 },
};

void mem_execute(struct remote_mem *m, struct remote_call *c)
{
	unsigned flags = procedures[c->op].flags;

	mutex_lock(&m->lock);
	m->calls[c->op]++;
	if ((flags & CHANGES) && m->o.read_only)
		c->status = -EROFS;
	else if ((flags & NEEDS_SPACE) && m->o.full)
		c->status = -ENOSPC;
	else
		c->status = procedures[c->op].fn(m, c);
	mutex_unlock(&m->lock);
}

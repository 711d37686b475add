/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sim.h: what a simulation (sim_fs.c) has, how it tells what it did, and how it
 * compares the filesystem, and the server, with its model.
 */
#pragma once

#include <dirent.h>
#include <sys/sendfile.h>

#include "sim_model.h"
#include "vfs_fixture.h"

#include "../cache/meta_int.h"
#include "../cache/wback_int.h"

struct sim {
	struct fixture f;
	struct model m;
	uint64_t rng, seed;
	bool tell, refuses;
	bool fills; /* the local disk, now and then, for the metadata cache */
	uint64_t disk_rng;
	bool sparing; /* a server that tells little: numbers may change */
	unsigned life;
	uint64_t clock; /* of mtimes that are set */
	char trace[64 * 1024];
	size_t trace_n;
};

static struct total {
	uint64_t seeds, ops, deaths, faults, mounts;
} total;
static struct sim *current;

/* ---- telling ---- */

static void say(struct sim *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void say(struct sim *s, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(s->trace + s->trace_n, sizeof(s->trace) - s->trace_n, fmt,
		      args);
	va_end(args);
	if (s->tell)
		fputs(s->trace + s->trace_n, stdout);
	s->trace_n = MIN(s->trace_n + (size_t)n, sizeof(s->trace) - 1);
}

/* What is pending, for whoever must find out why. */
static void tell_log(struct wback *wb)
{
	static const char *const kinds[] = { "MAKE", "LINK", "REMOVE", "RENAME",
					     "STORE" };
	struct op *op;

	if (!wb)
		return;
	mutex_lock(&wb->lock);
	TAILQ_FOREACH(op, &wb->ops, link)
		fprintf(stdout, "op %llu %s inode %llu %s in %llu state %d%s%s\n",
			(unsigned long long)op->id, kinds[op->kind],
			(unsigned long long)op->obj->ref.ino,
			op->name ? op->name->text : "",
			(unsigned long long)(op->dir ? op->dir->ref.ino : 0),
			op->state, op->again ? " again" : "",
			op->heap_at ? " ready" : "");
	mutex_unlock(&wb->lock);
}

static void bad(struct sim *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void bad(struct sim *s, const char *fmt, ...)
{
	va_list args;
	char *dump;

	if (!s->tell)
		fputs(s->trace, stdout);
	va_start(args, fmt);
	fputs("FAILED: ", stdout);
	vfprintf(stdout, fmt, args);
	va_end(args);
	fputc('\n', stdout);
	tell_log(s->f.wback);
	dump = remote_mem_dump(s->f.mem, true);
	fprintf(stdout, "\nserver:\n%s\nto repeat: SEED=%llu sim_fs\n", dump,
		(unsigned long long)s->seed);
	free(dump);
	exit(EXIT_FAILURE);
}

/* Some assertion of the fixture's ended us. */
static void at_exit(void)
{
	if (current)
		fprintf(stdout, "seed %llu did not end\n",
			(unsigned long long)current->seed);
}

static unsigned chance(struct sim *s, unsigned n)
{
	return (unsigned)(run_random(&s->rng) >> 33) % n;
}

static void expect(struct sim *s, const char *what, int r, int want)
{
	if (r != want)
		bad(s, "%s: %s, not %s", what, strerror(-r), strerror(-want));
}

/* ---- names to inodes, as the kernel does ---- */

static uint64_t ino_of(struct sim *s, int node);

static int look_up(struct sim *s, int dir, int name)
{
	int node = s->m.n[dir].child[name];
	struct node *n = node == ABSENT ? NULL : &s->m.n[node];
	struct vfs_entry e;

	expect(s, "lookup", vfs_lookup(s->f.v, &root_user, ino_of(s, dir),
				       model_name(name), &e), 0);
	if (!n && e.ino)
		bad(s, "lookup: %s is there in %d", model_name(name), dir);
	if (n && !e.ino)
		bad(s, "lookup: %s is not there in %d", model_name(name), dir);
	if (!n)
		return ABSENT;
	if (n->ino && n->ino != e.ino)
		bad(s, "lookup: %s in %d is %llu, was %llu", model_name(name),
		     dir, (unsigned long long)e.ino,
		     (unsigned long long)n->ino);
	n->ino = e.ino;
	n->refs++;
	return node;
}

/* The kernel names nothing that it has not looked up, and holds it meanwhile. */
static void know(struct sim *s, int dir, int name)
{
	int node = s->m.n[dir].child[name];

	if ((node != ABSENT && !s->m.n[node].refs) || chance(s, 3) == 0)
		(void)look_up(s, dir, name);
}

static uint64_t ino_of(struct sim *s, int node)
{
	struct node *n = &s->m.n[node];
	int dir, name;

	if (node == TOP)
		return META_ROOT;
	if (!n->refs) {
		if (!model_place(&s->m, node, &dir, &name))
			bad(s, "node %d has no name", node);
		(void)look_up(s, dir, name);
	}
	return n->ino;
}

/* ---- comparing ---- */

static bool is_earlier(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec :
					a->tv_nsec < b->tv_nsec;
}

static void compare_attr(struct sim *s, int node, const struct attr *a,
			 const char *where)
{
	const struct node *n = &s->m.n[node];

	if (a->mode != n->mode || a->uid != n->uid || a->gid != n->gid ||
	    a->nlink != n->nlink)
		bad(s, "%s: node %d is %o %u:%u %u links, not %o %u:%u %u",
		     where, node, a->mode, a->uid, a->gid, a->nlink, n->mode,
		     n->uid, n->gid, n->nlink);
	if (!S_ISDIR(n->mode) && a->size != n->size)
		bad(s, "%s: node %d has %llu bytes, not %llu", where, node,
		     (unsigned long long)a->size, (unsigned long long)n->size);
	if ((!S_ISDIR(n->mode) || n->has_mtime) && n->nlink &&
	    !timespec_equal(&a->mtime, &n->mtime))
		bad(s, "%s: node %d has mtime %lld.%09ld, not %lld.%09ld",
		     where, node, (long long)a->mtime.tv_sec, a->mtime.tv_nsec,
		     (long long)n->mtime.tv_sec, n->mtime.tv_nsec);
}

/* Its time is that of the write, which began at @from. */
static void written(struct sim *s, int node, const struct timespec *from)
{
	struct node *n = &s->m.n[node];
	struct timespec now;
	struct vfs_entry e;

	expect(s, "getattr", vfs_getattr(s->f.v, &root_user, ino_of(s, node),
					 &e), 0);
	(void)clock_gettime(CLOCK_REALTIME, &now);
	n->mtime = e.attr.mtime;
	if (n->nlink && (is_earlier(&n->mtime, from) ||
			 is_earlier(&now, &n->mtime)))
		bad(s, "write: node %d has mtime %lld.%09ld", node,
		    (long long)n->mtime.tv_sec, n->mtime.tv_nsec);
}

static void compare_bytes(struct sim *s, int node, const char *data,
			  uint64_t len, const char *where)
{
	const struct node *n = &s->m.n[node];

	if (len != n->size)
		bad(s, "%s: read %llu bytes of node %d, not %llu", where,
		     (unsigned long long)len, node,
		     (unsigned long long)n->size);
	for (uint64_t k = 0; k < len; k++)
		if (data[k] != n->data[k])
			bad(s, "%s: byte %llu of node %d is %d, not %d", where,
			     (unsigned long long)k, node, data[k], n->data[k]);
}

static void compare_contents(struct sim *s, int node)
{
	struct node *n = &s->m.n[node];
	uint64_t ino = ino_of(s, node);
	struct slice data;
	char *target;

	if (!n->nlink && (S_ISLNK(n->mode) || s->refuses)) {
		return; /* nobody has it open; it could not be held */
	} else if (S_ISLNK(n->mode)) {
		expect(s, "readlink", vfs_readlink(s->f.v, &root_user, ino,
						   &target), 0);
		if (strcmp(target, n->target) != 0)
			bad(s, "node %d leads to %s, not %s", node, target,
			     n->target);
		free(target);
	} else if (S_ISREG(n->mode)) {
		expect(s, "read", vfs_read(s->f.v, &root_user, ino, 0, DATA,
					   &data), 0);
		compare_bytes(s, node, (const char *)data.at, data.len,
			      "read");
		slice_done(&data);
	}
}

static void compare_node(struct sim *s, int node)
{
	struct vfs_entry e;

	expect(s, "getattr", vfs_getattr(s->f.v, &root_user, ino_of(s, node),
					 &e), 0);
	if (node != TOP)
		compare_attr(s, node, &e.attr, "stat");
	compare_contents(s, node);
}

struct listing {
	struct sim *s;
	int dir;
	bool seen[NAMES];
};

static int list_entry(void *arg, const char *name, uint64_t offset,
		      const struct vfs_entry *e, bool with_attr)
{
	struct listing *l = arg;
	struct sim *s = l->s;
	int k = 0, node;

	(void)offset;
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return 0;
	while (k < NAMES && strcmp(model_name(k), name) != 0)
		k++;
	if (k == NAMES || l->seen[k] || s->m.n[l->dir].child[k] == ABSENT)
		bad(s, "readdir: unexpected \"%s\" in node %d", name, l->dir);
	l->seen[k] = true;
	node = s->m.n[l->dir].child[k];
	if (with_attr) {
		if (s->m.n[node].ino && s->m.n[node].ino != e->ino)
			bad(s, "readdir: %s has another number", name);
		s->m.n[node].ino = e->ino;
		s->m.n[node].refs++;
		compare_attr(s, node, &e->attr, "readdir");
	} else if (e->attr.mode & S_IFMT && (e->attr.mode ^ s->m.n[node].mode) &
						    S_IFMT) {
		bad(s, "readdir: %s has another type", name);
	}
	return 0;
}

static void compare_dir(struct sim *s, int dir, bool plus)
{
	struct listing l = { .s = s, .dir = dir };
	uint64_t ino = ino_of(s, dir);

	expect(s, "readdir", vfs_readdir(s->f.v, &root_user, ino, 0, plus,
					 list_entry, &l), 0);
	for (int k = 0; k < NAMES; k++)
		if (!l.seen[k] && s->m.n[dir].child[k] != ABSENT)
			bad(s, "readdir: no \"%s\" in node %d", model_name(k),
			     dir);
}

static void compare_below(struct sim *s, int dir)
{
	compare_dir(s, dir, chance(s, 2));
	for (int k = 0; k < NAMES; k++) {
		int node = s->m.n[dir].child[k];

		if (look_up(s, dir, k) == ABSENT)
			continue;
		compare_node(s, node);
		if (S_ISDIR(s->m.n[node].mode))
			compare_below(s, node);
	}
}

static void compare_all(struct sim *s)
{
	compare_below(s, TOP);
	for (int k = 1; k < NODES; k++)
		if (s->m.n[k].used && !s->m.n[k].nlink)
			compare_node(s, k);
}

/* ---- the server, when everything was sent ---- */

static unsigned compare_server_below(struct sim *s, int dir)
{
	unsigned found = 0;

	for (int k = 0; k < NAMES; k++) {
		int node = s->m.n[dir].child[k];
		char path[1024], *data;
		struct attr a;
		size_t len;

		if (node == ABSENT)
			continue;
		found++;
		model_path(&s->m, dir, k, path, sizeof(path));
		expect(s, path, remote_mem_stat(s->f.mem, path, &a), 0);
		compare_attr(s, node, &a, "server");
		if (S_ISREG(a.mode)) {
			expect(s, path, remote_mem_read_file(s->f.mem, path,
							     &data, &len), 0);
			compare_bytes(s, node, data, len, "server");
			free(data);
		}
		if (S_ISDIR(a.mode))
			found += compare_server_below(s, node);
	}
	return found;
}

static void compare_server(struct sim *s)
{
	unsigned found = compare_server_below(s, TOP), there = 0;
	char *dump = remote_mem_dump(s->f.mem, false);

	for (char *line = dump; line && *line;) {
		char *end = strchr(line, '\n');

		if (strncmp(line, "/.nfsrootfs", 11) != 0 &&
		    strncmp(line, "/ ", 2) != 0)
			there++;
		line = end ? end + 1 : NULL;
	}
	free(dump);
	if (there != found)
		bad(s, "the server has %u names, not %u", there, found);
}

/* ---- files ---- */

enum { COPY_MAX = 1 << 20 };

static void copy_dir(struct sim *s, const char *from, const char *to)
{
	DIR *d = opendir(from);
	struct dirent *e;
	char path[900];

	if (!d || mkdir(to, 0700) < 0)
		bad(s, "cannot copy %s to %s", from, to);
	while ((e = readdir(d))) {
		struct stat st;
		off_t size;
		int in, out;

		if (e->d_name[0] == '.')
			continue;
		in = openat(dirfd(d), e->d_name, O_RDONLY | O_CLOEXEC);
		if (in < 0 && errno == ENOENT)
			continue; /* an old segment that was to be deleted */
		(void)snprintf(path, sizeof(path), "%s/%s", to, e->d_name);
		out = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		if (in < 0 || out < 0 || fstat(in, &st) < 0)
			bad(s, "cannot copy %s", e->d_name);
		/* The cache's file is longer than what is in it. */
		size = MIN(st.st_size, (off_t)COPY_MAX);
		if (sendfile(out, in, NULL, (size_t)size) != size ||
		    ftruncate(out, st.st_size) < 0)
			bad(s, "cannot copy %s", e->d_name);
		(void)close(in);
		(void)close(out);
	}
	(void)closedir(d);
}

static void dir_of(struct sim *s, const char *name, char ret[600])
{
	(void)snprintf(ret, 600, "%s/%s", s->f.dir->path, name);
}

static void remove_tree(const char *path)
{
	(void)nftw(path, run_remove, 8, FTW_DEPTH | FTW_PHYS);
}

static void move_dir(struct sim *s, const char *from, const char *to)
{
	remove_tree(to);
	if (rename(from, to) < 0)
		bad(s, "cannot rename %s", from);
}

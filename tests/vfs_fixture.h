/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vfs_fixture.h: a filesystem over the server in memory, with faults between
 * them, and shorthands to use it; what the test_vfs_* share. Changes go through,
 * unless the test is a BACK_TEST: then a write-back log and a flusher are there,
 * the log in dir/log and the metadata cache in dir/meta.
 */
#pragma once

#include "run.h"

#include "../cache/blob.h"
#include "../fs/flush.h"
#include "../fs/vfs.h"
#include "remote_fault.h"
#include "remote_mem.h"

/* ---- a mount ---- */

struct fixture {
	struct run_dir *dir;
	struct remote_mem *mem;
	struct remote *fault, *remote;
	struct config config;
	struct meta *meta;
	bool keep; /* contents, in dir/blob; not between mounts otherwise */
	struct blob *blob;
	struct stats stats;
	struct vfs *v;
	bool back;
	struct wback *wback;
	struct flush *flush;
	struct remote_retry_options retry;
	uint64_t segment_bytes;
};

static const struct caller root_user = { 0 };

static inline uint64_t fixture_offset(void *meta, const char *name)
{
	return meta_offset(meta, name);
}

static inline void open_back(struct fixture *f)
{
	struct wback_options o = { .bytes_max = f->config.log_bytes_max,
				   .interval_ms = 1000,
				   .segment_bytes = f->segment_bytes,
				   .name_offset = fixture_offset,
				   .arg = f->meta };
	char path[600], *why = NULL;

	(void)snprintf(path, sizeof(path), "%s/log", f->dir->path);
	assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
	assert_int_equal(wback_open(path, "mem:/", &o, &f->wback, &why), 0);
}

static inline void open_blob(struct fixture *f)
{
	const struct blob_options o = { .bytes_max = 256 << 20 };
	char path[600], owner[32];

	(void)snprintf(path, sizeof(path), "%s/blob", f->dir->path);
	(void)snprintf(owner, sizeof(owner), "%llu",
		       (unsigned long long)meta_life(f->meta));
	assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
	assert_int_equal(blob_open(path, owner, &o, &f->blob), 0);
}

static inline void mount_fs(struct fixture *f)
{
	struct handle root;
	char path[600];

	f->fault = remote_fault_open(remote_mem_connect(f->mem), run_seed());
	assert_int_equal(remote_retry_open(f->fault, &f->retry, &f->remote), 0);
	remote_mem_root(f->mem, &root);
	(void)snprintf(path, sizeof(path), "%s/meta", f->dir->path);
	assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
	assert_int_equal(meta_open(path, "mem:/", &f->meta), 0);
	if (f->keep)
		open_blob(f);
	if (f->back)
		open_back(f);
	memset(&f->stats, 0, sizeof(f->stats));
	assert_int_equal(vfs_open(&f->config, f->meta, f->blob, f->wback, f->remote,
				  &root, &f->stats, &f->v), 0);
	if (f->back)
		assert_int_equal(flush_open(f->v, NULL, NULL, &f->flush), 0);
}

/* What is pending stays in the log. */
static inline void unmount_fs(struct fixture *f)
{
	flush_close(f->flush);
	f->flush = NULL;
	vfs_close(f->v);
	wback_close(f->wback);
	f->wback = NULL;
	blob_close(f->blob);
	f->blob = NULL;
	meta_close(f->meta);
	remote_close(f->remote);
}

/* Between mounts: the metadata cache is nothing but a cache. */
static inline void delete_meta(struct fixture *f)
{
	char path[600];

	(void)snprintf(path, sizeof(path), "%s/meta", f->dir->path);
	assert_int_equal(nftw(path, run_remove, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static inline void remount_fs(struct fixture *f)
{
	unmount_fs(f);
	mount_fs(f);
}

static inline struct fixture *fixture_new(void)
{
	struct fixture *f = calloc(1, sizeof(*f));
	void *dir;

	if (!f || run_dir_setup(&dir) < 0)
		return NULL;
	f->dir = dir;
	config_init(&f->config);
	f->retry.timeo_ms = 60000;
	f->mem = remote_mem_new(NULL);
	return f;
}

static inline int setup(void **state)
{
	struct fixture *f = fixture_new();

	if (!f)
		return -1;
	mount_fs(f);
	*state = f;
	return 0;
}

/* Nothing is sent by its age alone. */
static inline int setup_back(void **state)
{
	struct fixture *f = fixture_new();

	if (!f)
		return -1;
	f->back = true;
	f->config.delay_ms = 3600 * 1000;
	f->config.log_bytes_max = 32 << 20;
	mount_fs(f);
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;
	void *dir = f->dir;

	fault_release(f->fault); /* a test that failed may hold some */
	unmount_fs(f);
	remote_mem_free(f->mem);
	config_done(&f->config);
	free(f);
	return run_dir_teardown(&dir);
}

/* ---- shorthands ---- */

/* The trust window from now on; threads of the vfs may be looking at it. */
static inline void set_ac(struct fixture *f, unsigned ms)
{
	__atomic_store_n(&f->config.ac_ms, ms, __ATOMIC_RELAXED);
}

static inline uint64_t look(struct fixture *f, uint64_t dir, const char *name)
{
	struct vfs_entry e;

	assert_int_equal(vfs_lookup(f->v, &root_user, dir, name, &e), 0);
	return e.ino;
}

static inline uint64_t look_path(struct fixture *f, const char *path)
{
	char *copy = strdup(path), *rest = copy, *name;
	uint64_t ino = META_ROOT;

	while ((name = strsep(&rest, "/")) && ino)
		if (*name)
			ino = look(f, ino, name);
	free(copy);
	return ino;
}

static inline uint64_t make(struct fixture *f, uint64_t dir, const char *name,
		     mode_t mode)
{
	struct vfs_entry e;

	assert_int_equal(vfs_mknod(f->v, &root_user, dir, name, mode, 0, &e),
			 0);
	return e.ino;
}

static inline uint64_t make_dir(struct fixture *f, uint64_t dir, const char *name)
{
	struct vfs_entry e;

	assert_int_equal(vfs_mkdir(f->v, &root_user, dir, name, 0755, &e), 0);
	return e.ino;
}

static inline void put(struct fixture *f, uint64_t ino, const char *text)
{
	assert_int_equal(vfs_write(f->v, &root_user, ino, 0, text,
				   (uint32_t)strlen(text)), 0);
}

static inline void expect_contents(struct fixture *f, uint64_t ino, const char *text)
{
	struct slice data;

	assert_int_equal(vfs_read(f->v, &root_user, ino, 0, 4096, &data), 0);
	assert_int_equal(data.len, strlen(text));
	assert_memory_equal(data.at, text, data.len);
	slice_done(&data);
}

static inline void expect_server(struct fixture *f, const char *path, const char *text)
{
	char *bytes;
	size_t len;

	assert_int_equal(remote_mem_read_file(f->mem, path, &bytes, &len), 0);
	assert_string_equal(bytes, text);
	free(bytes);
}

static inline bool on_server(struct fixture *f, const char *path)
{
	struct attr a;

	return remote_mem_stat(f->mem, path, &a) == 0;
}

static inline void admin_file(struct fixture *f, const char *path, const char *text)
{
	assert_int_equal(remote_mem_write_file(f->mem, path, text,
					       strlen(text)), 0);
}

static inline struct vfs_entry stat_of(struct fixture *f, uint64_t ino)
{
	struct vfs_entry e;

	assert_int_equal(vfs_getattr(f->v, &root_user, ino, &e), 0);
	return e;
}

static inline uint64_t calls(struct fixture *f)
{
	return remote_mem_calls(f->mem, REMOTE_OPS);
}

/* Names of a directory, one after another; counts them and walks down. */
struct walk {
	struct fixture *f;
	unsigned entries, dirs;
	uint64_t subdirs[512];
	unsigned subdirs_n;
	char names[4096];
};

static inline int walk_emit(void *arg, const char *name, uint64_t offset,
		     const struct vfs_entry *e, bool with_attr)
{
	struct walk *w = arg;

	(void)offset;
	(void)with_attr;
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return 0;
	w->entries++;
	if (strlen(w->names) + strlen(name) + 2 < sizeof(w->names)) {
		strcat(w->names, name);
		strcat(w->names, " ");
	}
	if (S_ISDIR(e->attr.mode)) {
		w->dirs++;
		if (w->subdirs_n < ARRAY_LEN(w->subdirs))
			w->subdirs[w->subdirs_n++] = e->ino;
	}
	return 0;
}

static inline unsigned list(struct fixture *f, uint64_t dir, struct walk *w)
{
	memset(w, 0, sizeof(*w));
	w->f = f;
	assert_int_equal(vfs_readdir(f->v, &root_user, dir, 0, true, walk_emit,
				     w), 0);
	return w->entries;
}

/* As find(1) does: read a directory, look at each subdirectory, go down. */
static inline unsigned find(struct fixture *f, uint64_t dir)
{
	struct walk *w = malloc(sizeof(*w));
	unsigned n = list(f, dir, w);

	for (unsigned k = 0; k < w->subdirs_n; k++) {
		(void)stat_of(f, w->subdirs[k]);
		n += find(f, w->subdirs[k]);
	}
	free(w);
	return n;
}

/* @dirs directories of @files files each, on the server. */
static inline void admin_tree(struct fixture *f, unsigned dirs, unsigned files)
{
	char path[64];

	for (unsigned d = 0; d < dirs; d++) {
		(void)snprintf(path, sizeof(path), "/tree/d%u", d);
		assert_int_equal(remote_mem_mkdir(f->mem, path), 0);
		for (unsigned k = 0; k < files; k++) {
			(void)snprintf(path, sizeof(path), "/tree/d%u/f%u", d,
				       k);
			admin_file(f, path, path);
		}
	}
	remote_mem_reset_calls(f->mem);
}

/* ---- what is asked of the server ---- */

static inline uint64_t listings(struct fixture *f)
{
	return remote_mem_calls(f->mem, REMOTE_READDIRPLUS);
}

static inline uint64_t getattrs(struct fixture *f)
{
	return remote_mem_calls(f->mem, REMOTE_GETATTR);
}

static inline void reset(struct fixture *f)
{
	vfs_settle(f->v);
	remote_mem_reset_calls(f->mem);
}

/* ---- a listing by another thread ---- */

struct lister {
	struct fixture *f;
	uint64_t dir;
	struct walk w;
};

static inline void *list_thread(void *arg)
{
	struct lister *l = arg;

	(void)list(l->f, l->dir, &l->w);
	return NULL;
}

/* What is on the server is from long ago, and we can tell: only then may it be
 * kept. */
static inline void age(struct fixture *f)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	remote_mem_set_clock(f->mem, (uint64_t)now.tv_sec * 1000000000, 1000);
	admin_file(f, "/now", "now");
	remote_mem_reset_calls(f->mem);
}

/* Everything is sent; -errno of what is stuck. */
static inline int send_all(struct fixture *f)
{
	return flush_wait(f->flush, flush_force(f->flush), NULL,
			  clock_ms() + 20000);
}

/* With a content cache, and trusted for ever. */
static inline int setup_keep_as(void **state, bool back)
{
	struct fixture *f = fixture_new();

	if (!f)
		return -1;
	f->keep = true;
	f->back = back;
	set_ac(f, CONFIG_AC_FOREVER);
	f->config.delay_ms = 3600 * 1000;
	mount_fs(f);
	*state = f;
	return 0;
}

static inline int setup_keep(void **state)
{
	return setup_keep_as(state, false);
}

static inline int setup_keep_back(void **state)
{
	return setup_keep_as(state, true);
}

#define KEEP_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup_keep, teardown)
#define BACK_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup_back, teardown)
#define FS_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

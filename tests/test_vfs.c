/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_vfs.c: the filesystem over the server in memory: what it answers, what
 * it leaves on the server, and how many calls it takes.
 */
#include "run.h"

#include <linux/falloc.h>
#include <sys/sysmacros.h>

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
	struct stats stats;
	struct vfs *v;
};

static const struct caller root_user = { 0 };

static void mount_fs(struct fixture *f)
{
	const struct remote_retry_options o = { .timeo_ms = 60000 };
	struct handle root;

	f->fault = remote_fault_open(remote_mem_connect(f->mem), run_seed());
	assert_int_equal(remote_retry_open(f->fault, &o, &f->remote), 0);
	remote_mem_root(f->mem, &root);
	assert_int_equal(meta_open(f->dir->path, "mem:/", &f->meta), 0);
	memset(&f->stats, 0, sizeof(f->stats));
	assert_int_equal(vfs_open(&f->config, f->meta, f->remote, &root,
				  &f->stats, &f->v), 0);
}

static void unmount_fs(struct fixture *f)
{
	vfs_close(f->v);
	meta_close(f->meta);
	remote_close(f->remote);
}

static void remount_fs(struct fixture *f)
{
	unmount_fs(f);
	mount_fs(f);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	void *dir;

	if (!f || run_dir_setup(&dir) < 0)
		return -1;
	f->dir = dir;
	config_init(&f->config);
	f->mem = remote_mem_new(NULL);
	mount_fs(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	void *dir = f->dir;

	unmount_fs(f);
	remote_mem_free(f->mem);
	config_done(&f->config);
	free(f);
	return run_dir_teardown(&dir);
}

/* ---- shorthands ---- */

static uint64_t look(struct fixture *f, uint64_t dir, const char *name)
{
	struct vfs_entry e;

	assert_int_equal(vfs_lookup(f->v, &root_user, dir, name, &e), 0);
	return e.ino;
}

static uint64_t look_path(struct fixture *f, const char *path)
{
	char *copy = strdup(path), *rest = copy, *name;
	uint64_t ino = META_ROOT;

	while ((name = strsep(&rest, "/")) && ino)
		if (*name)
			ino = look(f, ino, name);
	free(copy);
	return ino;
}

static uint64_t make(struct fixture *f, uint64_t dir, const char *name,
		     mode_t mode)
{
	struct vfs_entry e;

	assert_int_equal(vfs_mknod(f->v, &root_user, dir, name, mode, 0, &e),
			 0);
	return e.ino;
}

static uint64_t make_dir(struct fixture *f, uint64_t dir, const char *name)
{
	struct vfs_entry e;

	assert_int_equal(vfs_mkdir(f->v, &root_user, dir, name, 0755, &e), 0);
	return e.ino;
}

static void put(struct fixture *f, uint64_t ino, const char *text)
{
	assert_int_equal(vfs_write(f->v, &root_user, ino, 0, text,
				   (uint32_t)strlen(text)), 0);
}

static void expect_contents(struct fixture *f, uint64_t ino, const char *text)
{
	uint32_t len;
	void *data;

	assert_int_equal(vfs_read(f->v, &root_user, ino, 0, 4096, &data, &len),
			 0);
	assert_int_equal(len, strlen(text));
	assert_memory_equal(data, text, len);
	free(data);
}

static void expect_server(struct fixture *f, const char *path, const char *text)
{
	char *bytes;
	size_t len;

	assert_int_equal(remote_mem_read_file(f->mem, path, &bytes, &len), 0);
	assert_string_equal(bytes, text);
	free(bytes);
}

static bool on_server(struct fixture *f, const char *path)
{
	struct attr a;

	return remote_mem_stat(f->mem, path, &a) == 0;
}

static void admin_file(struct fixture *f, const char *path, const char *text)
{
	assert_int_equal(remote_mem_write_file(f->mem, path, text,
					       strlen(text)), 0);
}

static struct vfs_entry stat_of(struct fixture *f, uint64_t ino)
{
	struct vfs_entry e;

	assert_int_equal(vfs_getattr(f->v, &root_user, ino, &e), 0);
	return e;
}

static uint64_t calls(struct fixture *f)
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

static int walk_emit(void *arg, const char *name, uint64_t offset,
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

static unsigned list(struct fixture *f, uint64_t dir, struct walk *w)
{
	memset(w, 0, sizeof(*w));
	w->f = f;
	assert_int_equal(vfs_readdir(f->v, &root_user, dir, 0, true, walk_emit,
				     w), 0);
	return w->entries;
}

/* As find(1) does: read a directory, look at each subdirectory, go down. */
static unsigned find(struct fixture *f, uint64_t dir)
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
static void admin_tree(struct fixture *f, unsigned dirs, unsigned files)
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

/* ---- reading ---- */

static void test_absent_names_in_a_listed_directory_cost_nothing(void **state)
{
	struct fixture *f = *state;
	uint64_t dir;
	char name[32];

	admin_tree(f, 1, 10);
	dir = look_path(f, "/tree/d0");
	assert_int_equal(look(f, dir, "absent"), 0);
	remote_mem_reset_calls(f->mem);
	for (unsigned k = 0; k < 1000; k++) {
		(void)snprintf(name, sizeof(name), "absent%u", k);
		assert_int_equal(look(f, dir, name), 0);
	}
	assert_int_equal(calls(f), 0);
}

static void test_find_cold_warm_and_after_remount(void **state)
{
	struct fixture *f = *state;
	const unsigned dirs = 40 + 2; /* and /tree, and the root */

	admin_tree(f, 40, 20);
	assert_int_equal(find(f, META_ROOT), 1 + 40 + 40 * 20);
	assert_int_equal(remote_mem_calls(f->mem, REMOTE_READDIRPLUS), dirs);
	assert_int_equal(remote_mem_calls(f->mem, REMOTE_GETATTR), 0);

	remote_mem_reset_calls(f->mem);
	assert_int_equal(find(f, META_ROOT), 1 + 40 + 40 * 20);
	assert_int_equal(calls(f), 0);

	remount_fs(f);
	remote_mem_reset_calls(f->mem);
	assert_int_equal(find(f, META_ROOT), 1 + 40 + 40 * 20);
	assert_int_equal(remote_mem_calls(f->mem, REMOTE_READDIRPLUS), 0);
	assert_true(calls(f) <= dirs);
}

static void test_inode_numbers_survive_a_remount(void **state)
{
	struct fixture *f = *state;
	uint64_t before, file;

	admin_tree(f, 2, 2);
	before = look_path(f, "/tree/d1/f1");
	file = make(f, look_path(f, "/tree"), "new", S_IFREG | 0600);
	remount_fs(f);
	assert_int_equal(look_path(f, "/tree/d1/f1"), before);
	assert_int_equal(look_path(f, "/tree/new"), file);
}

static void test_caches_may_be_deleted_between_mounts(void **state)
{
	struct fixture *f = *state;
	char *dump;
	char command[600];

	put(f, make(f, make_dir(f, META_ROOT, "d"), "a", S_IFREG | 0644), "x");
	unmount_fs(f);
	dump = remote_mem_dump(f->mem, true);
	(void)snprintf(command, sizeof(command), "rm -r '%s'/*", f->dir->path);
	assert_int_equal(system(command), 0);
	mount_fs(f);
	expect_contents(f, look_path(f, "/d/a"), "x");
	free(dump);
}

static void test_change_on_the_server_is_seen(void **state)
{
	struct fixture *f = *state;
	uint64_t a;

	f->config.ac_ms = 0; /* ask every time */
	admin_tree(f, 1, 2);
	a = look_path(f, "/tree/d0/f0");
	expect_contents(f, a, "/tree/d0/f0");
	admin_file(f, "/tree/d0/f0", "changed");
	assert_int_equal(stat_of(f, a).attr.size, 7);
	expect_contents(f, a, "changed");

	assert_int_equal(look_path(f, "/tree/d0/added"), 0);
	admin_file(f, "/tree/d0/added", "new");
	assert_int_not_equal(look_path(f, "/tree/d0/added"), 0);
	assert_int_equal(remote_mem_remove(f->mem, "/tree/d0/f1"), 0);
	assert_int_equal(look_path(f, "/tree/d0/f1"), 0);

	/* replaced by another type under the same name */
	assert_int_equal(remote_mem_remove(f->mem, "/tree/d0/f0"), 0);
	assert_int_equal(remote_mem_mkdir(f->mem, "/tree/d0/f0"), 0);
	assert_true(S_ISDIR(
		stat_of(f, look_path(f, "/tree/d0/f0")).attr.mode));
}

static void test_changed_contents_get_a_new_generation(void **state)
{
	struct fixture *f = *state;
	struct vfs_entry before, after;
	uint64_t dir;

	f->config.ac_ms = 0;
	admin_tree(f, 1, 1);
	dir = look_path(f, "/tree/d0");
	assert_int_equal(vfs_lookup(f->v, &root_user, dir, "f0", &before), 0);
	/* our own changes are no reason */
	put(f, before.ino, "mine");
	assert_int_equal(vfs_lookup(f->v, &root_user, dir, "f0", &after), 0);
	assert_int_equal(after.generation, before.generation);
	admin_file(f, "/tree/d0/f0", "theirs");
	assert_int_equal(vfs_lookup(f->v, &root_user, dir, "f0", &after), 0);
	assert_int_equal(after.ino, before.ino);
	assert_int_not_equal(after.generation, before.generation);
}

static void test_stale_handle_is_looked_up_again(void **state)
{
	struct fixture *f = *state;
	uint64_t old;

	f->config.ac_ms = 0;
	admin_tree(f, 1, 1);
	old = look_path(f, "/tree/d0/f0");
	assert_int_equal(remote_mem_remove(f->mem, "/tree/d0/f0"), 0);
	admin_file(f, "/tree/d0/f0", "another");
	/* by name: another file; by number: gone */
	assert_int_not_equal(look_path(f, "/tree/d0/f0"), old);
	expect_contents(f, look_path(f, "/tree/d0/f0"), "another");
	struct vfs_entry e;
	assert_int_equal(vfs_getattr(f->v, &root_user, old, &e), -ESTALE);
}

static void test_a_passing_estale_is_not_seen(void **state)
{
	struct fixture *f = *state;
	const struct fault_rule once = { .kind = FAULT_STALE,
					 .op = REMOTE_READ, .times = 1 };

	admin_tree(f, 1, 1);
	uint64_t a = look_path(f, "/tree/d0/f0");
	(void)fault_add(f->fault, &once);
	expect_contents(f, a, "/tree/d0/f0");
}

static void test_known_keeps_working_while_the_server_is_away(void **state)
{
	struct fixture *f = *state;
	uint64_t dir;

	admin_tree(f, 3, 3);
	(void)find(f, META_ROOT);
	dir = look_path(f, "/tree/d0");
	f->config.ac_ms = 0; /* would ask */
	fault_set_away(f->fault, true);
	remote_mem_reset_calls(f->mem);
	assert_int_equal(find(f, META_ROOT), 1 + 3 + 9);
	assert_int_not_equal(look(f, dir, "f1"), 0);
	assert_int_equal(look(f, dir, "absent"), 0);
	assert_int_equal(calls(f), 0);
	fault_set_away(f->fault, false);
}

static void test_huge_directory_does_not_delay_lookups(void **state)
{
	struct fixture *f = *state;
	const struct remote_mem_options small = { .page_entries = 2 };
	struct walk w;

	remote_mem_set_options(f->mem, &small);
	admin_tree(f, 1, 100);
	assert_int_not_equal(look_path(f, "/tree/d0/f42"), 0);
	assert_int_equal(look_path(f, "/tree/d0/absent"), 0);
	assert_int_equal(list(f, look_path(f, "/tree/d0"), &w), 100);
	remote_mem_reset_calls(f->mem);
	assert_int_not_equal(look_path(f, "/tree/d0/f99"), 0);
	assert_int_equal(calls(f), 0);
}

static void test_another_filesystem_below_the_export(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(remote_mem_mkdir(f->mem, "/usr/portage"), 0);
	assert_int_equal(remote_mem_new_fs(f->mem, "/usr/portage"), 0);
	admin_file(f, "/usr/portage/a", "1");
	expect_contents(f, look_path(f, "/usr/portage/a"), "1");
	assert_int_not_equal(
		stat_of(f, look_path(f, "/usr/portage")).attr.fsid,
		stat_of(f, look_path(f, "/usr")).attr.fsid);
	/* an open file there is held there */
	uint64_t dir = look_path(f, "/usr/portage"), a = look(f, dir, "a");
	assert_int_equal(vfs_unlink(f->v, &root_user, dir, "a"), 0);
	expect_contents(f, a, "1");
}

/* ---- changing ---- */

static void test_unpacking_a_file_takes_four_calls(void **state)
{
	struct fixture *f = *state;
	struct remote_sattr times = { .valid = REMOTE_SET_MTIME,
				      .mtime = { 1000000000, 123456789 } };
	struct remote_sattr owner = { .valid = REMOTE_SET_UID | REMOTE_SET_GID };
	struct remote_sattr mode = { .valid = REMOTE_SET_MODE, .mode = 0644 };
	struct remote_sattr now = { .valid = REMOTE_SET_MTIME };
	uint64_t dir = make_dir(f, META_ROOT, "d"), a;
	struct vfs_entry e;
	struct attr attr;

	(void)clock_gettime(CLOCK_REALTIME, &now.mtime);
	remote_mem_reset_calls(f->mem);
	assert_int_equal(look(f, dir, "a"), 0);
	a = make(f, dir, "a", S_IFREG | 0600);
	put(f, a, "contents");
	/* the kernel's own after the flush, then tar's three */
	assert_int_equal(vfs_setattr(f->v, &root_user, a, &now, &e), 0);
	assert_int_equal(vfs_setattr(f->v, &root_user, a, &times, &e), 0);
	assert_int_equal(vfs_setattr(f->v, &root_user, a, &owner, &e), 0);
	assert_int_equal(vfs_setattr(f->v, &root_user, a, &mode, &e), 0);
	assert_int_equal(calls(f), 4);
	assert_int_equal(remote_mem_stat(f->mem, "/d/a", &attr), 0);
	assert_int_equal(attr.mode, S_IFREG | 0644);
	assert_true(timespec_equal(&attr.mtime, &times.mtime));
	expect_server(f, "/d/a", "contents");
}

static void test_time_of_a_write_reaches_the_server_later(void **state)
{
	struct fixture *f = *state;
	struct remote_sattr now = { .valid = REMOTE_SET_MTIME };
	uint64_t a = make(f, META_ROOT, "a", S_IFREG | 0600);
	struct vfs_entry e;
	struct attr attr;

	put(f, a, "x");
	(void)clock_gettime(CLOCK_REALTIME, &now.mtime);
	remote_mem_reset_calls(f->mem);
	assert_int_equal(vfs_setattr(f->v, &root_user, a, &now, &e), 0);
	assert_int_equal(calls(f), 0);
	assert_true(timespec_equal(&e.attr.mtime, &now.mtime));
	e = stat_of(f, a);
	assert_true(timespec_equal(&e.attr.mtime, &now.mtime));
	assert_int_equal(vfs_fsync(f->v, &root_user, a), 0);
	assert_int_equal(remote_mem_stat(f->mem, "/a", &attr), 0);
	assert_true(timespec_equal(&attr.mtime, &now.mtime));

	/* and at the latest when unmounting */
	put(f, a, "y");
	now.mtime.tv_nsec = (now.mtime.tv_nsec + 1) % 1000000000;
	assert_int_equal(vfs_setattr(f->v, &root_user, a, &now, &e), 0);
	remount_fs(f);
	assert_int_equal(remote_mem_stat(f->mem, "/a", &attr), 0);
	assert_true(timespec_equal(&attr.mtime, &now.mtime));
}

static void test_nothing_is_asked_after_own_changes(void **state)
{
	struct fixture *f = *state;
	uint64_t d = make_dir(f, META_ROOT, "d");
	struct walk w;

	(void)make(f, d, "a", S_IFREG | 0644);
	(void)make(f, d, "b", S_IFREG | 0644);
	assert_int_equal(vfs_unlink(f->v, &root_user, d, "a"), 0);
	remote_mem_reset_calls(f->mem);
	assert_int_equal(look(f, d, "a"), 0);
	assert_int_not_equal(look(f, d, "b"), 0);
	assert_int_equal(list(f, d, &w), 1);
	assert_string_equal(w.names, "b ");
	assert_int_equal(calls(f), 0);
}

static void test_foreign_change_beside_our_own_is_noticed(void **state)
{
	struct fixture *f = *state;
	uint64_t d = make_dir(f, META_ROOT, "d");

	admin_file(f, "/d/theirs", "1");
	assert_int_equal(look(f, d, "theirs"), 0); /* trusted for a while */
	(void)make(f, d, "ours", S_IFREG | 0644);  /* its reply tells */
	assert_int_not_equal(look(f, d, "theirs"), 0);
	assert_int_not_equal(look(f, d, "ours"), 0);
}

static void test_unlinked_file_stays_usable(void **state)
{
	struct fixture *f = *state;
	uint64_t d = make_dir(f, META_ROOT, "d");
	uint64_t a = make(f, d, "a", S_IFREG | 0600);
	char *dump;

	put(f, a, "kept");
	assert_int_equal(vfs_unlink(f->v, &root_user, d, "a"), 0);
	assert_int_equal(look(f, d, "a"), 0);
	assert_false(on_server(f, "/d/a"));
	expect_contents(f, a, "kept");
	put(f, a, "more");
	expect_contents(f, a, "more");
	assert_int_equal(stat_of(f, a).attr.nlink, 0);
	/* its directory is empty: no .nfsXXXX */
	assert_int_equal(vfs_rmdir(f->v, &root_user, META_ROOT, "d"), 0);
	/* the holding directory is not to be seen */
	struct walk w;
	assert_int_equal(list(f, META_ROOT, &w), 0);
	assert_int_equal(look(f, META_ROOT, ".nfsrootfs"), 0);

	vfs_forget(f->v, a, 1);
	unmount_fs(f);
	dump = remote_mem_dump(f->mem, false);
	assert_null(strstr(dump, ".nfsrootfs"));
	free(dump);
	mount_fs(f);
}

static void test_replaced_file_stays_usable(void **state)
{
	struct fixture *f = *state;
	uint64_t old = make(f, META_ROOT, "lib", S_IFREG | 0755), new;

	put(f, old, "old");
	new = make(f, META_ROOT, "lib.new", S_IFREG | 0755);
	put(f, new, "new");
	assert_int_equal(vfs_rename(f->v, &root_user, META_ROOT, "lib.new",
				    META_ROOT, "lib", 0), 0);
	expect_contents(f, old, "old");
	expect_contents(f, look(f, META_ROOT, "lib"), "new");
	expect_server(f, "/lib", "new");
	assert_int_equal(look(f, META_ROOT, "lib.new"), 0);
}

static void test_crash_leaves_no_held_file_for_long(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make(f, META_ROOT, "a", S_IFREG | 0600);
	char host[64], path[256];

	/* as if the daemon had died: the held file is still there */
	assert_int_equal(vfs_unlink(f->v, &root_user, META_ROOT, "a"), 0);
	(void)a;
	(void)gethostname(host, sizeof(host));
	unmount_fs(f);
	assert_int_equal(remote_mem_mkdir(f->mem, "/.nfsrootfs"), 0);
	(void)snprintf(path, sizeof(path), "/.nfsrootfs/%s.0000000000000042",
		       host);
	admin_file(f, path, "left");
	admin_file(f, "/.nfsrootfs/another.42", "not ours");
	mount_fs(f);
	remount_fs(f); /* waits for what was submitted */
	assert_false(on_server(f, path));
	assert_true(on_server(f, "/.nfsrootfs/another.42"));
}

static void test_hard_links_are_one_inode(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make(f, META_ROOT, "a", S_IFREG | 0644);
	struct vfs_entry e;

	assert_int_equal(vfs_link(f->v, &root_user, a, META_ROOT, "b", &e), 0);
	assert_int_equal(e.ino, a);
	assert_int_equal(e.attr.nlink, 2);
	assert_int_equal(vfs_unlink(f->v, &root_user, META_ROOT, "a"), 0);
	assert_int_equal(stat_of(f, a).attr.nlink, 1);
	assert_int_equal(look(f, META_ROOT, "b"), a);
	remount_fs(f);
	assert_int_equal(look(f, META_ROOT, "b"), a);
}

static void test_rename(void **state)
{
	struct fixture *f = *state;
	uint64_t d = make_dir(f, META_ROOT, "d"), e = make_dir(f, META_ROOT, "e");
	uint64_t a = make(f, d, "a", S_IFREG | 0644);
	uint64_t sub = make_dir(f, d, "sub");

	(void)make(f, sub, "x", S_IFREG | 0644);
	assert_int_equal(vfs_rename(f->v, &root_user, d, "a", e, "b", 0), 0);
	assert_int_equal(look(f, d, "a"), 0);
	assert_int_equal(look(f, e, "b"), a);
	assert_int_equal(vfs_rename(f->v, &root_user, d, "sub", e, "sub", 0), 0);
	assert_int_equal(look_path(f, "/e/sub"), sub);
	assert_int_not_equal(look_path(f, "/e/sub/x"), 0);
	/* not onto a name that is there, when asked not to */
	(void)make(f, d, "c", S_IFREG | 0644);
	assert_int_equal(vfs_rename(f->v, &root_user, d, "c", e, "b", 1),
			 -EEXIST);
	assert_int_equal(vfs_rename(f->v, &root_user, d, "c", e, "b", 2),
			 -EINVAL);
	/* a directory that is not empty is not replaced */
	(void)make_dir(f, d, "sub");
	assert_int_equal(vfs_rename(f->v, &root_user, d, "sub", e, "sub", 0),
			 -ENOTEMPTY);
}

static void test_new_objects_have_owner_mode_and_group(void **state)
{
	struct fixture *f = *state;
	const struct caller user = { .uid = 250, .gid = 251 };
	struct remote_sattr sgid = { .valid = REMOTE_SET_MODE | REMOTE_SET_GID,
				     .mode = 02775, .gid = 77 };
	uint64_t d = make_dir(f, META_ROOT, "d");
	struct vfs_entry e;
	struct attr a;

	assert_int_equal(vfs_setattr(f->v, &root_user, d, &sgid, &e), 0);
	assert_int_equal(vfs_mknod(f->v, &user, d, "su", S_IFREG | 04755, 0,
				   &e), 0);
	assert_int_equal(remote_mem_stat(f->mem, "/d/su", &a), 0);
	assert_int_equal(a.mode, S_IFREG | 04755);
	assert_int_equal(a.uid, 250);
	assert_int_equal(a.gid, 77);
	assert_int_equal(vfs_mkdir(f->v, &user, d, "sub", 0755, &e), 0);
	assert_int_equal(remote_mem_stat(f->mem, "/d/sub", &a), 0);
	assert_int_equal(a.mode, S_IFDIR | 02755);
	assert_int_equal(a.gid, 77);
	assert_int_equal(vfs_mknod(f->v, &user, d, "null", S_IFCHR | 0666,
				   makedev(1, 3), &e), 0);
	assert_int_equal(e.attr.rdev_major, 1);
	assert_int_equal(e.attr.rdev_minor, 3);
	assert_int_equal(vfs_mknod(f->v, &user, d, "fifo", S_IFIFO | 0600, 0,
				   &e), 0);
	assert_int_equal(vfs_symlink(f->v, &user, d, "link", "../target", &e),
			 0);
	char *target;
	assert_int_equal(vfs_readlink(f->v, &root_user, e.ino, &target), 0);
	assert_string_equal(target, "../target");
	free(target);
}

static void test_fallocate(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make(f, META_ROOT, "a", S_IFREG | 0644);

	put(f, a, "0123456789");
	assert_int_equal(vfs_fallocate(f->v, &root_user, a, 0, 0, 20), 0);
	assert_int_equal(stat_of(f, a).attr.size, 20);
	assert_int_equal(vfs_fallocate(f->v, &root_user, a,
				       FALLOC_FL_KEEP_SIZE, 0, 4096), 0);
	assert_int_equal(stat_of(f, a).attr.size, 20);
	assert_int_equal(vfs_fallocate(f->v, &root_user, a,
				       FALLOC_FL_KEEP_SIZE |
					       FALLOC_FL_PUNCH_HOLE,
				       2, 3), 0);
	uint32_t len;
	char *data;
	assert_int_equal(vfs_read(f->v, &root_user, a, 0, 10, (void **)&data,
				  &len), 0);
	assert_memory_equal(data, "01\0\0\0" "56789", 10);
	free(data);
	assert_int_equal(vfs_fallocate(f->v, &root_user, a,
				       FALLOC_FL_COLLAPSE_RANGE, 0, 4096),
			 -EOPNOTSUPP);
}

static void test_server_without_weak_cache_data(void **state)
{
	struct fixture *f = *state;
	const struct remote_mem_options sparing = {
		.omit = REMOTE_MEM_OMIT_PRE | REMOTE_MEM_OMIT_POST |
			REMOTE_MEM_OMIT_HANDLE
	};
	uint64_t d;
	struct walk w;

	remote_mem_set_options(f->mem, &sparing);
	d = make_dir(f, META_ROOT, "d");
	put(f, make(f, d, "a", S_IFREG | 0644), "1");
	put(f, make(f, d, "b", S_IFREG | 0644), "22");
	assert_int_equal(vfs_unlink(f->v, &root_user, d, "a"), 0);
	assert_int_equal(vfs_rename(f->v, &root_user, d, "b", META_ROOT, "c",
				    0), 0);
	assert_int_equal(look(f, d, "a"), 0);
	expect_contents(f, look(f, META_ROOT, "c"), "22");
	remote_mem_set_options(f->mem, &(struct remote_mem_options){ 0 });
	assert_int_equal(list(f, d, &w), 0);
	assert_int_equal(list(f, META_ROOT, &w), 2);
}

/* ---- races ---- */

struct lister {
	struct fixture *f;
	uint64_t dir;
	struct walk w;
};

static void *list_thread(void *arg)
{
	struct lister *l = arg;

	(void)list(l->f, l->dir, &l->w);
	return NULL;
}

/* A listing's reply is on its way while we create and remove: what we did
 * counts, not what the reply says. */
static void test_listing_does_not_undo_own_changes(void **state)
{
	struct fixture *f = *state;
	struct lister l = { .f = f };
	pthread_t t;
	struct walk w;

	admin_tree(f, 1, 3);
	l.dir = look_path(f, "/tree/d0");
	fault_hold_reply(f->fault, REMOTE_READDIRPLUS);
	assert_int_equal(pthread_create(&t, NULL, list_thread, &l), 0);
	assert_true(fault_wait_held(f->fault, 1));
	(void)make(f, l.dir, "new", S_IFREG | 0644);
	fault_release(f->fault);
	(void)pthread_join(t, NULL);
	assert_int_not_equal(look(f, l.dir, "new"), 0);
	assert_int_equal(list(f, l.dir, &w), 4);
	assert_int_equal(vfs_unlink(f->v, &root_user, l.dir, "f0"), 0);
	assert_int_equal(list(f, l.dir, &w), 3);
}

static void *look_thread(void *arg)
{
	struct lister *l = arg;

	assert_int_not_equal(look(l->f, l->dir, "f42"), 0);
	return NULL;
}

/* The reply to a LOOKUP comes when a listing, begun before, has landed. */
static void test_late_lookup_does_not_hide_a_listed_name(void **state)
{
	struct fixture *f = *state;
	const struct remote_mem_options small = { .page_entries = 2 };
	struct lister l = { .f = f };
	pthread_t t;
	struct walk w;

	admin_tree(f, 1, 100);
	l.dir = look_path(f, "/tree/d0");
	remote_mem_set_options(f->mem, &small);
	fault_hold_reply(f->fault, REMOTE_LOOKUP);
	assert_int_equal(pthread_create(&t, NULL, look_thread, &l), 0);
	assert_true(fault_wait_held(f->fault, 1));
	assert_int_equal(list(f, l.dir, &w), 100);
	fault_release(f->fault);
	(void)pthread_join(t, NULL);
	assert_int_not_equal(look(f, l.dir, "f42"), 0);
	assert_int_equal(list(f, l.dir, &w), 100);
}

static void *stat_thread(void *arg)
{
	struct lister *l = arg;
	struct vfs_entry e;

	assert_int_equal(vfs_getattr(l->f->v, &root_user, l->dir, &e), 0);
	return NULL;
}

static void test_late_attributes_do_not_undo_a_change(void **state)
{
	struct fixture *f = *state;
	struct remote_sattr mode = { .valid = REMOTE_SET_MODE, .mode = 0700 };
	struct lister l = { .f = f };
	struct vfs_entry e;
	pthread_t t;

	admin_tree(f, 1, 1);
	l.dir = look_path(f, "/tree/d0/f0");
	f->config.ac_ms = 0;
	fault_hold_reply(f->fault, REMOTE_GETATTR);
	assert_int_equal(pthread_create(&t, NULL, stat_thread, &l), 0);
	assert_true(fault_wait_held(f->fault, 1));
	f->config.ac_ms = CONFIG_AC_FOREVER;
	assert_int_equal(vfs_setattr(f->v, &root_user, l.dir, &mode, &e), 0);
	fault_release(f->fault);
	(void)pthread_join(t, NULL);
	assert_int_equal(stat_of(f, l.dir).attr.mode, S_IFREG | 0700);
}

static void test_pinned_name_never_vanishes(void **state)
{
	struct fixture *f = *state;
	uint64_t ino;

	f->config.ac_ms = 0;
	assert_int_equal(remote_mem_mkdir(f->mem, "/var/tmp"), 0);
	assert_int_equal(vfs_pin_path(f->v, "/var/tmp"), 0);
	ino = look_path(f, "/var/tmp");
	assert_int_equal(remote_mem_remove(f->mem, "/var/tmp"), 0);
	admin_file(f, "/var/x", "1");
	assert_int_equal(look_path(f, "/var/tmp"), ino);
}

#define FS_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

RUN_TESTS(FS_TEST(test_absent_names_in_a_listed_directory_cost_nothing),
	  FS_TEST(test_find_cold_warm_and_after_remount),
	  FS_TEST(test_inode_numbers_survive_a_remount),
	  FS_TEST(test_caches_may_be_deleted_between_mounts),
	  FS_TEST(test_change_on_the_server_is_seen),
	  FS_TEST(test_changed_contents_get_a_new_generation),
	  FS_TEST(test_stale_handle_is_looked_up_again),
	  FS_TEST(test_a_passing_estale_is_not_seen),
	  FS_TEST(test_known_keeps_working_while_the_server_is_away),
	  FS_TEST(test_huge_directory_does_not_delay_lookups),
	  FS_TEST(test_another_filesystem_below_the_export),
	  FS_TEST(test_unpacking_a_file_takes_four_calls),
	  FS_TEST(test_time_of_a_write_reaches_the_server_later),
	  FS_TEST(test_nothing_is_asked_after_own_changes),
	  FS_TEST(test_foreign_change_beside_our_own_is_noticed),
	  FS_TEST(test_unlinked_file_stays_usable),
	  FS_TEST(test_replaced_file_stays_usable),
	  FS_TEST(test_crash_leaves_no_held_file_for_long),
	  FS_TEST(test_hard_links_are_one_inode), FS_TEST(test_rename),
	  FS_TEST(test_new_objects_have_owner_mode_and_group),
	  FS_TEST(test_fallocate), FS_TEST(test_server_without_weak_cache_data),
	  FS_TEST(test_listing_does_not_undo_own_changes),
	  FS_TEST(test_late_lookup_does_not_hide_a_listed_name),
	  FS_TEST(test_late_attributes_do_not_undo_a_change),
	  FS_TEST(test_pinned_name_never_vanishes))

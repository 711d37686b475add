/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_vfs_read.c: what the filesystem answers, and how many calls that takes. */
#include <poll.h>

#include "vfs_fixture.h"

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
	/* what the kernel holds: each entry, and the root */
	assert_int_equal(f->stats.nodes, 2 + 40 + 40 * 20);

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

	set_ac(f, 0); /* ask every time */
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

/* What the kernel is told. */
struct kernel {
	uint64_t dropped[4]; /* atomic */
	unsigned n;          /* atomic */
	bool slow;
};

static void kernel_attr(void *arg, uint64_t ino)
{
	(void)arg;
	(void)ino;
}

static void kernel_name(void *arg, uint64_t dir, const char *name)
{
	(void)arg;
	(void)dir;
	(void)name;
}

static void kernel_contents(void *arg, uint64_t ino)
{
	struct kernel *k = arg;

	if (k->slow)
		(void)poll(NULL, 0, 20);
	k->dropped[__atomic_load_n(&k->n, __ATOMIC_ACQUIRE)] = ino;
	(void)__atomic_add_fetch(&k->n, 1, __ATOMIC_ACQ_REL);
}

static void tell(struct fixture *f, struct kernel *k)
{
	vfs_set_kernel(f->v, &(struct vfs_kernel){ .attr = kernel_attr,
						   .contents = kernel_contents,
						   .name = kernel_name,
						   .arg = k });
}

/* Before it is told that there are others. */
static void test_kernel_drops_contents_that_others_changed(void **state)
{
	struct fixture *f = *state;
	struct kernel k = { .slow = true };
	uint64_t dir, ino;

	set_ac(f, 0);
	admin_tree(f, 1, 1);
	tell(f, &k);
	dir = look_path(f, "/tree/d0");
	ino = look(f, dir, "f0");
	/* our own changes are no reason */
	put(f, ino, "mine");
	assert_int_equal(look(f, dir, "f0"), ino);
	assert_int_equal(__atomic_load_n(&k.n, __ATOMIC_ACQUIRE), 0);
	admin_file(f, "/tree/d0/f0", "theirs");
	assert_int_equal(look(f, dir, "f0"), ino);
	assert_int_equal(__atomic_load_n(&k.n, __ATOMIC_ACQUIRE), 1);
	assert_int_equal(k.dropped[0], ino);
	admin_file(f, "/tree/d0/f0", "others");
	(void)stat_of(f, ino);
	assert_int_equal(__atomic_load_n(&k.n, __ATOMIC_ACQUIRE), 2);
	/* It holds none of what it has forgotten. */
	vfs_forget(f->v, ino, 3);
	admin_file(f, "/tree/d0/f0", "more");
	(void)look(f, dir, "f0");
	assert_int_equal(__atomic_load_n(&k.n, __ATOMIC_ACQUIRE), 2);
	vfs_set_kernel(f->v, NULL);
}

static void test_stale_handle_is_looked_up_again(void **state)
{
	struct fixture *f = *state;
	uint64_t old;

	set_ac(f, 0);
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
	set_ac(f, 0); /* would ask */
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

RUN_TESTS(FS_TEST(test_absent_names_in_a_listed_directory_cost_nothing),
	  FS_TEST(test_find_cold_warm_and_after_remount),
	  FS_TEST(test_inode_numbers_survive_a_remount),
	  FS_TEST(test_caches_may_be_deleted_between_mounts),
	  FS_TEST(test_change_on_the_server_is_seen),
	  FS_TEST(test_kernel_drops_contents_that_others_changed),
	  FS_TEST(test_stale_handle_is_looked_up_again),
	  FS_TEST(test_a_passing_estale_is_not_seen),
	  FS_TEST(test_known_keeps_working_while_the_server_is_away),
	  FS_TEST(test_huge_directory_does_not_delay_lookups),
	  FS_TEST(test_another_filesystem_below_the_export))

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_vfs_ahead.c: what is asked before it is needed, by the number of calls,
 * and that nothing of it shows but in the time that things take.
 */
#include "vfs_fixture.h"

#include <poll.h>

#include "../fs/ahead_int.h"

/* As `ls -l` does: read a directory, and look at each file by its name. */
static void list_and_stat(struct fixture *f, uint64_t dir, unsigned files)
{
	struct walk w;
	char name[32];

	(void)list(f, dir, &w);
	for (unsigned k = 0; k < files; k++) {
		(void)snprintf(name, sizeof(name), "f%u", k);
		assert_int_not_equal(look(f, dir, name), 0);
	}
}

/* Two levels below /tree: @n directories of @n each. */
static void admin_deep(struct fixture *f, unsigned n)
{
	char path[64];

	for (unsigned a = 0; a < n; a++)
		for (unsigned b = 0; b < n; b++) {
			(void)snprintf(path, sizeof(path), "/tree/a%u/b%u", a,
				       b);
			assert_int_equal(remote_mem_mkdir(f->mem, path), 0);
		}
	remote_mem_reset_calls(f->mem);
}

/* ---- walking ---- */

static void test_children_of_a_read_directory_are_listed(void **state)
{
	struct fixture *f = *state;
	struct walk w, d;
	uint64_t tree;

	admin_tree(f, 10, 3);
	tree = look_path(f, "/tree");
	reset(f);
	(void)list(f, tree, &w);
	vfs_settle(f->v);
	assert_int_equal(listings(f), 1 + 10);
	assert_int_equal(f->stats.ahead_asked, 10);
	assert_int_equal(f->stats.ahead_used, 0);

	/* who comes there then finds them */
	reset(f);
	for (unsigned k = 0; k < 10; k++)
		assert_int_equal(list(f, w.subdirs[k], &d), 3);
	assert_int_equal(calls(f), 0);
}

static void test_use_is_counted(void **state)
{
	struct fixture *f = *state;
	struct walk w, d;

	admin_tree(f, 10, 3);
	(void)list(f, look_path(f, "/tree"), &w);
	vfs_settle(f->v);
	for (unsigned k = 0; k < 5; k++)
		(void)list(f, w.subdirs[k], &d);
	/* a name looked up in it is a use, too; a second one is no other */
	(void)look(f, w.subdirs[5], "f0");
	(void)look(f, w.subdirs[5], "f1");
	vfs_settle(f->v);
	assert_int_equal(f->stats.ahead_used, 6);
	assert_int_equal(f->stats.ahead_wasted, 0);
}

/* Lookups alone are no walk: a compiler that opens /usr/include/stdio.h does
 * not want all of /usr. */
static void test_lookups_list_nothing_ahead(void **state)
{
	struct fixture *f = *state;

	admin_deep(f, 4);
	assert_int_not_equal(look_path(f, "/tree/a0/b0"), 0);
	vfs_settle(f->v);
	assert_int_equal(f->stats.ahead_asked, 0);
}

static void test_window_bounds_what_is_not_used(void **state)
{
	struct fixture *f = *state;
	struct walk w;
	uint64_t tree;

	admin_deep(f, 40); /* 1,640 directories */
	tree = look_path(f, "/tree");
	reset(f);
	(void)list(f, tree, &w);
	vfs_settle(f->v);
	assert_int_equal(f->stats.ahead_asked, WINDOW_MIN);
	/* it grows with each use */
	(void)list(f, w.subdirs[0], &w);
	vfs_settle(f->v);
	assert_int_equal(f->stats.ahead_asked,
			 1 + WINDOW_MIN + WINDOW_MIN / 8);
}

static void test_a_walk_is_ahead_in_the_order_of_the_walk(void **state)
{
	struct fixture *f = *state;
	struct walk w, d;
	uint64_t tree;

	admin_deep(f, 40);
	tree = look_path(f, "/tree");
	(void)list(f, tree, &w);
	vfs_settle(f->v);
	(void)list(f, w.subdirs[0], &d);
	vfs_settle(f->v);
	/* its 40 children come first, before those of later directories: who
	 * walks them finds them all, after the first few */
	for (unsigned k = 0; k < 40; k++) {
		reset(f);
		assert_int_equal(list(f, d.subdirs[k], &w), 0);
		vfs_settle(f->v);
	}
	assert_int_equal(f->stats.ahead_used, 1 + 40);
}

static void test_find_after_remount_confirms_ahead(void **state)
{
	struct fixture *f = *state;
	struct walk w;
	unsigned n;

	admin_deep(f, 12);
	n = find(f, META_ROOT);
	remount_fs(f);
	reset(f);
	(void)list(f, look_path(f, "/tree"), &w);
	vfs_settle(f->v);
	assert_int_equal(find(f, META_ROOT), n);
	vfs_settle(f->v);
	assert_int_equal(listings(f), 0);
	/* one a directory, the root's came with the mount */
	assert_true(calls(f) <= 1 + 12 + 12 * 12);
	assert_true(f->stats.ahead_used >= 12);
}

static void test_changed_directory_is_listed_ahead(void **state)
{
	struct fixture *f = *state;
	struct walk w;
	unsigned n;
	uint64_t tree;

	admin_tree(f, 5, 2);
	n = find(f, META_ROOT);
	unmount_fs(f);
	admin_file(f, "/tree/d3/new", "x");
	mount_fs(f);
	tree = look_path(f, "/tree");
	reset(f);
	(void)list(f, tree, &w);
	vfs_settle(f->v);
	assert_int_equal(listings(f), 1);
	reset(f);
	assert_int_equal(find(f, META_ROOT), n + 1);
	assert_int_equal(calls(f), 0);
}

static void test_nothing_ahead_when_every_use_asks(void **state)
{
	struct fixture *f = *state;
	struct walk w;

	set_ac(f, 0);
	admin_tree(f, 10, 3);
	(void)list(f, look_path(f, "/tree"), &w);
	vfs_settle(f->v);
	assert_int_equal(f->stats.ahead_asked, 0);
}

static void test_nothing_ahead_while_the_server_is_away(void **state)
{
	struct fixture *f = *state;
	struct walk w;
	struct vfs_entry e;
	uint64_t tree, d0;

	admin_tree(f, 10, 3);
	tree = look_path(f, "/tree");
	d0 = look_path(f, "/tree/d0");
	(void)look(f, tree, "absent"); /* it is complete */
	fault_set_away(f->fault, true);
	set_ac(f, 0); /* this one asks, and finds it away */
	assert_int_equal(vfs_getattr(f->v, &root_user, d0, &e), 0);
	set_ac(f, 30000);
	assert_true(remote_retry_is_away(f->remote));
	(void)list(f, tree, &w);
	assert_int_equal(f->stats.ahead_asked, 0);
	fault_set_away(f->fault, false);
}

static void test_what_is_not_used_is_wasted_and_the_window_shrinks(void **state)
{
	struct fixture *f = *state;
	struct walk w;

	admin_tree(f, 10, 1);
	set_ac(f, 200);
	(void)list(f, look_path(f, "/tree"), &w);
	vfs_settle(f->v);
	assert_int_equal(f->stats.ahead_asked, 10);
	while (stats_get(&f->stats.ahead_wasted) < 10)
		vfs_settle(f->v);
	mutex_lock(&f->v->ahead->lock);
	assert_int_equal(f->v->ahead->road_n, 0);
	assert_int_equal(f->v->ahead->window, WINDOW_MIN);
	mutex_unlock(&f->v->ahead->lock);
}

/* ---- the attributes of files ---- */

static void test_files_of_one_directory_come_with_its_listing(void **state)
{
	struct fixture *f = *state;
	uint64_t dir;

	admin_tree(f, 1, 100);
	(void)find(f, META_ROOT);
	remount_fs(f);
	dir = look_path(f, "/tree/d0");
	reset(f);
	for (unsigned k = 0; k < 100; k++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "f%u", k);
		assert_int_not_equal(look(f, dir, name), 0);
	}
	/* the first by itself */
	assert_int_equal(getattrs(f), 1);
	assert_int_equal(listings(f), 1);
}

static void test_one_file_is_asked_for_by_itself(void **state)
{
	struct fixture *f = *state;

	admin_tree(f, 5, 100);
	(void)find(f, META_ROOT);
	remount_fs(f);
	reset(f);
	for (unsigned k = 0; k < 5; k++) {
		char path[32];

		(void)snprintf(path, sizeof(path), "/tree/d%u/f7", k);
		assert_int_not_equal(look_path(f, path), 0);
	}
	assert_int_equal(listings(f), 0);
}

static void test_habit_of_wanting_files_lists_ahead(void **state)
{
	struct fixture *f = *state;
	struct walk w;
	uint64_t tree;
	unsigned n;

	admin_tree(f, 30, 5);
	(void)find(f, META_ROOT);
	remount_fs(f);
	tree = look_path(f, "/tree");
	reset(f);
	n = list(f, tree, &w);
	assert_int_equal(n, 30);
	for (unsigned k = 0; k < 30; k++) {
		list_and_stat(f, w.subdirs[k], 5);
		vfs_settle(f->v);
		if (k == 3) {
			/* by now all others are listed, or will be */
			assert_int_equal(listings(f), 30);
			remote_mem_reset_calls(f->mem);
		}
	}
	assert_int_equal(calls(f), 0);
}

static void test_habit_ends_when_nobody_wants_files(void **state)
{
	struct fixture *f = *state;
	struct walk w, d;
	uint64_t tree;

	admin_tree(f, 200, 3);
	(void)find(f, META_ROOT);
	remount_fs(f);
	tree = look_path(f, "/tree");
	(void)list(f, tree, &w);
	for (unsigned k = 0; k < 4; k++)
		list_and_stat(f, w.subdirs[k], 3);
	vfs_settle(f->v);
	assert_true(f->v->ahead->wants_files >= 2);
	for (unsigned k = 4; k < 200; k++)
		(void)list(f, w.subdirs[k], &d);
	vfs_settle(f->v);
	assert_true(f->v->ahead->wants_files < 2);
}

/* ---- renewing ---- */

static void test_what_is_in_use_is_renewed_and_never_waited_for(void **state)
{
	struct fixture *f = *state;
	uint64_t dir, file, end, misses;

	admin_tree(f, 1, 20);
	dir = look_path(f, "/tree/d0");
	file = look(f, dir, "f3");
	set_ac(f, 1000);
	(void)stat_of(f, file);
	vfs_settle(f->v);
	misses = stats_get(&f->stats.attr_misses);
	reset(f);
	/* used for three windows */
	end = clock_ms() + 3000;
	while (clock_ms() < end) {
		(void)look_path(f, "/tree/d0/f3");
		(void)stat_of(f, file);
		(void)poll(NULL, 0, 20);
	}
	assert_int_equal(stats_get(&f->stats.attr_misses), misses);
	/* the root, two directories, a file; twice a window */
	assert_in_range(getattrs(f), 4 * 3, 4 * 8);
	assert_int_equal(listings(f), 0);
	/* and when it is not used any more, silence */
	(void)poll(NULL, 0, 1500);
	reset(f);
	(void)poll(NULL, 0, 700);
	assert_int_equal(calls(f), 0);
}

static void test_many_files_in_use_are_renewed_by_a_listing(void **state)
{
	struct fixture *f = *state;
	uint64_t dir, end;

	admin_tree(f, 1, 20);
	dir = look_path(f, "/tree/d0");
	set_ac(f, 1000);
	(void)list(f, dir, &(struct walk){ 0 });
	end = clock_ms() + 3000;
	reset(f);
	while (clock_ms() < end) {
		list_and_stat(f, dir, 20);
		(void)poll(NULL, 0, 20);
	}
	assert_in_range(listings(f), 3, 8);
	/* the root and /tree are not looked at; d0 comes with its listing */
	assert_true(getattrs(f) <= 8);
}

/* Have the worker look at all that is in use, now. */
static void pass(struct fixture *f)
{
	mutex_lock(&f->v->ahead->lock);
	f->v->ahead->pass_ms = 1;
	mutex_unlock(&f->v->ahead->lock);
	vfs_stir(f->v);
	vfs_settle(f->v);
}

/* What we made ourselves was never listed; its attributes are as fresh. */
static void test_what_is_trusted_is_not_renewed(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = make_dir(f, META_ROOT, "ours");
	char name[16];

	for (unsigned k = 0; k < 20; k++) {
		(void)snprintf(name, sizeof(name), "f%u", k);
		(void)make(f, dir, name, S_IFREG | 0644);
	}
	reset(f);
	list_and_stat(f, dir, 20);
	pass(f);
	list_and_stat(f, dir, 20);
	pass(f);
	assert_int_equal(calls(f), 0);
}

static void test_nothing_is_renewed_when_trusted_for_ever(void **state)
{
	struct fixture *f = *state;

	set_ac(f, CONFIG_AC_FOREVER);
	admin_tree(f, 1, 3);
	(void)find(f, META_ROOT);
	reset(f);
	pass(f);
	(void)find(f, META_ROOT);
	pass(f);
	assert_int_equal(calls(f), 0);
}

/* The table is bounded, whatever is used. */
static void test_table_is_bounded(void **state)
{
	struct fixture *f = *state;
	struct meta_inode i = { .attr.mode = S_IFREG | 0644,
				.handle.len = 8 };

	for (uint64_t ino = 1000; ino < 1000 + 3 * SPOTS_MAX; ino++) {
		i.ino = ino;
		i.parent = ino / 7;
		i.checked = meta_now(f->meta);
		ahead_used(f->v, &i, USE_ATTR);
	}
	mutex_lock(&f->v->ahead->lock);
	assert_true(f->v->ahead->n <= SPOTS_MAX);
	mutex_unlock(&f->v->ahead->lock);
	vfs_settle(f->v);
}

RUN_TESTS(FS_TEST(test_children_of_a_read_directory_are_listed),
	  FS_TEST(test_use_is_counted),
	  FS_TEST(test_lookups_list_nothing_ahead),
	  FS_TEST(test_window_bounds_what_is_not_used),
	  FS_TEST(test_a_walk_is_ahead_in_the_order_of_the_walk),
	  FS_TEST(test_find_after_remount_confirms_ahead),
	  FS_TEST(test_changed_directory_is_listed_ahead),
	  FS_TEST(test_nothing_ahead_when_every_use_asks),
	  FS_TEST(test_nothing_ahead_while_the_server_is_away),
	  FS_TEST(test_what_is_not_used_is_wasted_and_the_window_shrinks),
	  FS_TEST(test_files_of_one_directory_come_with_its_listing),
	  FS_TEST(test_one_file_is_asked_for_by_itself),
	  FS_TEST(test_habit_of_wanting_files_lists_ahead),
	  FS_TEST(test_habit_ends_when_nobody_wants_files),
	  FS_TEST(test_what_is_in_use_is_renewed_and_never_waited_for),
	  FS_TEST(test_many_files_in_use_are_renewed_by_a_listing),
	  FS_TEST(test_what_is_trusted_is_not_renewed),
	  FS_TEST(test_nothing_is_renewed_when_trusted_for_ever),
	  FS_TEST(test_table_is_bounded))

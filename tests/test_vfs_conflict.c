/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_vfs_conflict.c: pending changes that meet those of others, and changes that
 * the server refuses.
 */
#include "back_fixture.h"

/* ---- others ---- */

static void test_file_changed_on_the_server_too(void **state)
{
	struct fixture *f = *state;
	uint64_t a;

	admin_file(f, "/a", "base");
	a = look(f, META_ROOT, "a");
	put(f, a, "ours");
	admin_file(f, "/a", "theirs!");
	set_ac(f, 0);
	assert_int_equal(send_all(f), 0);
	expect_server(f, "/a", "oursrs!"); /* our four bytes over theirs */
	assert_true(server_has_like(f, "a.conflict-"));
	assert_int_equal(log_stats(f).copies, 1);
	assert_int_equal(log_stats(f).ops, 0);
}

static void test_name_taken_on_the_server(void **state)
{
	struct fixture *f = *state;
	uint64_t a, d;

	trust_all(f);
	a = make(f, META_ROOT, "a", FILE_MODE);
	put(f, a, "ours");
	d = make_dir(f, META_ROOT, "d");
	(void)make(f, d, "x", FILE_MODE);
	admin_file(f, "/a", "theirs");
	assert_int_equal(remote_mem_mkdir(f->mem, "/d"), 0);
	admin_file(f, "/d/y", "theirs");
	assert_int_equal(send_all(f), 0);
	expect_server(f, "/a", "ours");
	assert_true(server_has_like(f, "a.conflict-"));
	assert_true(on_server(f, "/d/x")); /* two directories are one */
	assert_true(on_server(f, "/d/y"));
	assert_false(server_has_like(f, "d.conflict-"));
	set_ac(f, 0);
	expect_names(f, d, "x y");
	assert_int_equal(look(f, META_ROOT, "a"), a);
}

/* A name that we believed free, to which we rename: with what others put there
 * seen meanwhile, or not. */
static void rename_to_taken(struct fixture *f, bool seen)
{
	struct walk w;
	uint64_t a, d;

	assert_int_equal(remote_mem_mkdir(f->mem, "/d"), 0);
	d = look(f, META_ROOT, "d");
	a = make(f, d, "tmp", FILE_MODE);
	put(f, a, "ours");
	assert_int_equal(vfs_rename(f->v, &root_user, d, "tmp", d, "final", 0),
			 0);
	admin_file(f, "/d/final", "theirs");
	set_ac(f, 0);
	if (seen)
		(void)list(f, d, &w);
	set_ac(f, seen ? CONFIG_AC_FOREVER : 0);
	assert_int_equal(send_all(f), 0);
	expect_server(f, "/d/final", "ours");
	assert_true(server_has_like(f, "final.conflict-"));
	assert_int_equal(log_stats(f).copies, 1);
	set_ac(f, 0);
	assert_int_equal(look(f, d, "final"), a);
	assert_int_equal(list(f, d, &w), 2);
}

static void test_renamed_to_a_name_taken_unseen(void **state)
{
	rename_to_taken(*state, false);
}

static void test_renamed_to_a_name_taken_and_seen(void **state)
{
	rename_to_taken(*state, true);
}

/* What the reply to the creation said of the directory is new enough. */
static void test_published_without_a_look(void **state)
{
	struct fixture *f = *state;
	uint64_t d;

	assert_int_equal(remote_mem_mkdir(f->mem, "/d"), 0);
	d = look(f, META_ROOT, "d");
	(void)make(f, d, "tmp", FILE_MODE);
	assert_int_equal(vfs_rename(f->v, &root_user, d, "tmp", d, "final", 0),
			 0);
	remote_mem_reset_calls(f->mem);
	assert_int_equal(send_all(f), 0);
	assert_int_equal(calls(f), 2); /* CREATE, RENAME */
	assert_true(on_server(f, "/d/final"));
}

static void test_removed_directory_is_not_empty(void **state)
{
	struct fixture *f = *state;
	uint64_t d;

	assert_int_equal(remote_mem_mkdir(f->mem, "/d"), 0);
	d = look(f, META_ROOT, "d");
	assert_int_equal(vfs_rmdir(f->v, &root_user, META_ROOT, "d"), 0);
	vfs_forget(f->v, d, 1);
	admin_file(f, "/d/theirs", "x");
	assert_int_equal(send_all(f), 0);
	assert_false(on_server(f, "/d"));
	assert_true(server_has_like(f, "d.conflict-"));
}

static void test_replaced_directory_is_not_empty(void **state)
{
	struct fixture *f = *state;
	uint64_t d;

	assert_int_equal(remote_mem_mkdir(f->mem, "/d"), 0);
	(void)look(f, META_ROOT, "d");
	d = make_dir(f, META_ROOT, "e");
	(void)make(f, d, "ours", FILE_MODE);
	assert_int_equal(vfs_rename(f->v, &root_user, META_ROOT, "e", META_ROOT,
				    "d", 0), 0);
	admin_file(f, "/d/theirs", "x");
	assert_int_equal(send_all(f), 0);
	assert_true(on_server(f, "/d/ours"));
	assert_false(on_server(f, "/d/theirs"));
	assert_true(server_has_like(f, "d.conflict-"));
	assert_false(server_has_like(f, "e.conflict-"));
}

static void test_removed_file_was_changed(void **state)
{
	struct fixture *f = *state;
	uint64_t a;

	admin_file(f, "/a", "base");
	a = look(f, META_ROOT, "a");
	vfs_forget(f->v, a, 1);
	assert_int_equal(vfs_unlink(f->v, &root_user, META_ROOT, "a"), 0);
	admin_file(f, "/a", "theirs");
	set_ac(f, 0);
	assert_int_equal(send_all(f), 0);
	assert_false(on_server(f, "/a"));
	assert_true(server_has_like(f, "a.conflict-"));
}

/* Another file has the name by now: that one was not to be removed. */
static void test_removed_file_was_replaced(void **state)
{
	struct fixture *f = *state;
	uint64_t a;

	admin_file(f, "/a", "base");
	a = look(f, META_ROOT, "a");
	vfs_forget(f->v, a, 1);
	assert_int_equal(vfs_unlink(f->v, &root_user, META_ROOT, "a"), 0);
	assert_int_equal(remote_mem_remove(f->mem, "/a"), 0);
	admin_file(f, "/a", "theirs");
	set_ac(f, 0);
	assert_int_equal(send_all(f), 0);
	expect_server(f, "/a", "theirs");
	expect_contents(f, look(f, META_ROOT, "a"), "theirs");
}

static void test_written_file_was_removed_on_the_server(void **state)
{
	struct fixture *f = *state;
	struct remote_sattr cut = { .valid = REMOTE_SET_SIZE };
	struct vfs_entry e;
	uint64_t a;

	admin_file(f, "/a", "base");
	a = look(f, META_ROOT, "a");
	assert_int_equal(vfs_setattr(f->v, &root_user, a, &cut, &e), 0);
	put(f, a, "whole");
	assert_int_equal(remote_mem_remove(f->mem, "/a"), 0);
	assert_int_equal(send_all(f), 0);
	expect_server(f, "/a", "whole");
	expect_contents(f, a, "whole");
}

/* ---- the directory was removed under what is to be made in it ---- */

/* /p/d, to which a, s/b and a link are added; with d or with p it is removed on
 * the server. Returns d. */
static uint64_t change_removed_dir(struct fixture *f, const char *removed)
{
	uint64_t d, a, s, old;
	struct vfs_entry e;

	assert_int_equal(remote_mem_mkdir(f->mem, "/p/d"), 0);
	assert_int_equal(remote_mem_chmod(f->mem, "/p/d", 01770), 0);
	admin_file(f, "/p/d/old", "old");
	admin_file(f, "/kept", "kept");
	trust_all(f);
	d = look_path(f, "/p/d");
	old = look_path(f, "/kept");
	a = make(f, d, "a", FILE_MODE);
	put(f, a, "ours");
	s = make_dir(f, d, "s");
	(void)make(f, s, "b", FILE_MODE);
	assert_int_equal(vfs_link(f->v, &root_user, old, d, "link", &e), 0);
	assert_int_equal(vfs_rename(f->v, &root_user, META_ROOT, "kept", d,
				    "moved", 0), 0);
	assert_int_equal(remote_mem_remove(f->mem, removed), 0);
	return d;
}

static void expect_made_anew(struct fixture *f, uint64_t d, const char *names)
{
	struct attr at;

	assert_int_equal(send_all(f), 0);
	expect_server(f, "/p/d/a", "ours");
	expect_server(f, "/p/d/moved", "kept");
	assert_true(on_server(f, "/p/d/s/b") && on_server(f, "/p/d/link"));
	assert_int_equal(log_stats(f).ops, 0);
	assert_int_equal(look_path(f, "/p/d"), d);
	expect_names(f, d, names);
	assert_int_equal(remote_mem_stat(f->mem, "/p/d", &at), 0);
	assert_int_equal(stat_of(f, d).attr.nlink, at.nlink);
	assert_int_equal(stat_of(f, d).attr.mode, at.mode);
	set_ac(f, 0);
	expect_names(f, d, names);
	remount_fs(f);
	assert_int_equal(look_path(f, "/p/d"), d);
	expect_names(f, d, names);
}

static void test_changes_in_a_removed_directory(void **state)
{
	struct fixture *f = *state;
	uint64_t d = change_removed_dir(f, "/p/d");

	expect_made_anew(f, d, "a s link moved");
	assert_int_equal(stat_of(f, d).attr.mode, S_IFDIR | 01770);
}

static void test_attributes_of_a_removed_directory(void **state)
{
	const struct remote_sattr mode = { .valid = REMOTE_SET_MODE,
					   .mode = 0711 };
	struct fixture *f = *state;
	uint64_t d = change_removed_dir(f, "/p");
	struct vfs_entry e;

	assert_int_equal(vfs_setattr(f->v, &root_user, d, &mode, &e), 0);
	expect_made_anew(f, d, "a s link moved");
	assert_int_equal(stat_of(f, d).attr.mode, S_IFDIR | 0711);
}

static void test_changes_in_a_removed_tree(void **state)
{
	struct fixture *f = *state;
	uint64_t d = change_removed_dir(f, "/p");

	expect_made_anew(f, d, "a s link moved");
}

static void test_changes_in_a_replaced_directory(void **state)
{
	struct fixture *f = *state;
	uint64_t d = change_removed_dir(f, "/p/d");

	admin_file(f, "/p/d", "theirs");
	expect_made_anew(f, d, "a s link moved");
	assert_true(server_has_like(f, "d.conflict-"));
}

/* Theirs is as good as ours. */
static void test_changes_in_a_directory_made_anew(void **state)
{
	struct fixture *f = *state;
	uint64_t d = change_removed_dir(f, "/p/d");

	assert_int_equal(remote_mem_mkdir(f->mem, "/p/d/sub"), 0);
	expect_made_anew(f, d, "a s link moved sub");
}

static void test_both_removed_it(void **state)
{
	struct fixture *f = *state;

	admin_file(f, "/a", "base");
	vfs_forget(f->v, look(f, META_ROOT, "a"), 1);
	assert_int_equal(vfs_unlink(f->v, &root_user, META_ROOT, "a"), 0);
	assert_int_equal(remote_mem_remove(f->mem, "/a"), 0);
	assert_int_equal(send_all(f), 0);
	assert_int_equal(log_stats(f).stuck, 0);
}

/* ---- what the server refuses ---- */

static void test_server_is_full(void **state)
{
	struct fixture *f = *state;
	struct remote_mem_options o = { .full = true };
	uint64_t a, b;

	b = make(f, META_ROOT, "b", FILE_MODE);
	assert_int_equal(send_all(f), 0);
	remote_mem_set_options(f->mem, &o);
	a = make(f, META_ROOT, "a", FILE_MODE);
	put(f, a, "kept");
	put(f, b, "kept, too");
	assert_int_equal(send_all(f), -ENOSPC);
	assert_int_equal(log_stats(f).stuck, 2);
	assert_int_equal(vfs_fsync(f->v, &root_user, b), -ENOSPC);
	expect_contents(f, a, "kept");
	remount_fs(f);
	assert_int_equal(log_stats(f).stuck, 2);
	expect_contents(f, look(f, META_ROOT, "a"), "kept");
	o.full = false;
	remote_mem_set_options(f->mem, &o);
	wback_retry_all(f->wback);
	assert_int_equal(send_all(f), 0);
	expect_server(f, "/a", "kept");
	expect_server(f, "/b", "kept, too");
	assert_int_equal(log_stats(f).ops, 0);
}

static void note_trouble(void *arg, const struct wback_trouble *t)
{
	uint64_t *id = arg;

	*id = t->id;
}

static void test_refused_change_is_given_up(void **state)
{
	struct fixture *f = *state;
	struct fault_rule rule = { .kind = FAULT_ERROR, .op = REMOTE_CREATE,
				   .error = -EACCES };
	uint64_t id = 0;

	put(f, make(f, META_ROOT, "a", FILE_MODE), "x");
	(void)fault_add(f->fault, &rule);
	assert_int_equal(send_all(f), -EACCES);
	wback_troubles(f->wback, note_trouble, &id);
	assert_int_equal(vfs_drop_change(f->v, id), 0);
	assert_int_equal(vfs_drop_change(f->v, id), -ENOENT);
	assert_int_equal(look(f, META_ROOT, "a"), 0);
	expect_names(f, META_ROOT, "");
	assert_int_equal(log_stats(f).inodes, 0);
}

RUN_TESTS(BACK_TEST(test_file_changed_on_the_server_too),
	  BACK_TEST(test_name_taken_on_the_server),
	  BACK_TEST(test_renamed_to_a_name_taken_unseen),
	  BACK_TEST(test_renamed_to_a_name_taken_and_seen),
	  BACK_TEST(test_published_without_a_look),
	  BACK_TEST(test_removed_directory_is_not_empty),
	  BACK_TEST(test_replaced_directory_is_not_empty),
	  BACK_TEST(test_removed_file_was_changed),
	  BACK_TEST(test_removed_file_was_replaced),
	  BACK_TEST(test_written_file_was_removed_on_the_server),
	  BACK_TEST(test_changes_in_a_removed_directory),
	  BACK_TEST(test_attributes_of_a_removed_directory),
	  BACK_TEST(test_changes_in_a_removed_tree),
	  BACK_TEST(test_changes_in_a_replaced_directory),
	  BACK_TEST(test_changes_in_a_directory_made_anew),
	  BACK_TEST(test_both_removed_it),
	  BACK_TEST(test_server_is_full),
	  BACK_TEST(test_refused_change_is_given_up))

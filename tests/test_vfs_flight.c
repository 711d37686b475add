/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_vfs_flight.c: questions to the server: asked once for all who need the
 * answer; symlinks' targets, which are kept; directories listed again that did not
 * change.
 */
#include <poll.h>

#include "vfs_fixture.h"

#include "../fs/flight.h"

/* ---- symlinks ---- */

/* @dirs directories of @n symlinks each. */
static void admin_links(struct fixture *f, unsigned dirs, unsigned n)
{
	char path[64];

	for (unsigned d = 0; d < dirs; d++)
		for (unsigned k = 0; k < n; k++) {
			(void)snprintf(path, sizeof(path), "/tree/d%u", d);
			assert_int_equal(remote_mem_mkdir(f->mem, path), 0);
			(void)snprintf(path, sizeof(path), "/tree/d%u/l%u", d,
				       k);
			assert_int_equal(remote_mem_symlink(f->mem, path,
							    path), 0);
		}
	remote_mem_reset_calls(f->mem);
}

static void expect_target(struct fixture *f, const char *path)
{
	char *target;

	assert_int_equal(vfs_readlink(f->v, &root_user, look_path(f, path),
				      &target), 0);
	assert_string_equal(target, path);
	free(target);
}

static uint64_t readlinks(struct fixture *f)
{
	return remote_mem_calls(f->mem, REMOTE_READLINK);
}

static void test_a_target_is_asked_for_once(void **state)
{
	struct fixture *f = *state;

	set_ac(f, CONFIG_AC_FOREVER);
	admin_links(f, 1, 1);
	expect_target(f, "/tree/d0/l0");
	expect_target(f, "/tree/d0/l0");
	assert_int_equal(readlinks(f), 1);
	remount_fs(f);
	reset(f);
	expect_target(f, "/tree/d0/l0");
	assert_int_equal(calls(f), 0);
}

static void test_a_replaced_symlink_has_its_own_target(void **state)
{
	struct fixture *f = *state;
	char *target;

	set_ac(f, 0);
	admin_links(f, 1, 1);
	expect_target(f, "/tree/d0/l0");
	assert_int_equal(remote_mem_remove(f->mem, "/tree/d0/l0"), 0);
	assert_int_equal(remote_mem_symlink(f->mem, "other", "/tree/d0/l0"),
			 0);
	assert_int_equal(vfs_readlink(f->v, &root_user,
				      look_path(f, "/tree/d0/l0"), &target),
			 0);
	assert_string_equal(target, "other");
	free(target);
}

static void test_targets_are_asked_for_ahead(void **state)
{
	struct fixture *f = *state;
	struct walk w;
	char path[64];

	admin_links(f, 20, 10);
	(void)list(f, look_path(f, "/tree"), &w);
	(void)list(f, w.subdirs[0], &(struct walk){ 0 });
	vfs_settle(f->v);
	assert_int_equal(readlinks(f), 0);
	expect_target(f, "/tree/d0/l0");
	vfs_settle(f->v);
	assert_int_equal(readlinks(f), 1);
	expect_target(f, "/tree/d0/l1");
	vfs_settle(f->v);
	/* all beside them */
	assert_int_equal(readlinks(f), 10);
	reset(f);
	for (unsigned k = 0; k < 10; k++) {
		(void)snprintf(path, sizeof(path), "/tree/d0/l%u", k);
		expect_target(f, path);
	}
	assert_int_equal(calls(f), 0);
}

static void test_a_target_that_cannot_be_kept_is_read_all_the_same(void **state)
{
	struct fixture *f = *state;
	const struct fault_rule once = { .kind = FAULT_STALE,
					 .op = REMOTE_READLINK, .times = 1 };

	admin_links(f, 1, 1);
	(void)look_path(f, "/tree/d0/l0");
	(void)fault_add(f->fault, &once);
	expect_target(f, "/tree/d0/l0");
}

/* ---- names that come while a listing is about to set out ---- */

struct asking {
	struct fixture *f;
	struct meta_inode dir; /* as it was a while ago */
};

static void *asking_main(void *arg)
{
	struct asking *a = arg;

	assert_int_equal(flight_start(a->f->v, ASK_LIST, &a->dir, FOR_AHEAD),
			 0);
	return NULL;
}

static bool any_flight(struct vfs *v)
{
	bool any = false;

	mutex_lock(&v->lock);
	for (size_t k = 0; k < ARRAY_LEN(v->flights); k++)
		any |= v->flights[k] != NULL;
	mutex_unlock(&v->lock);
	return any;
}

/* Whoever asks for a listing read the directory before another one landed. */
static void test_name_recorded_before_a_listing_sets_out(void **state)
{
	struct fixture *f = *state;
	struct asking a = { .f = f };
	struct meta_inode d, i;
	struct meta_name n;
	struct walk w;
	pthread_t t;

	admin_tree(f, 1, 3);
	d.ino = look_path(f, "/tree/d0");
	meta_begin(f->meta);
	assert_int_equal(meta_get(f->meta, d.ino, &a.dir), 0);
	meta_end(f->meta);
	(void)list(f, d.ino, &w);
	reset(f);
	meta_begin(f->meta);
	assert_int_equal(pthread_create(&t, NULL, asking_main, &a), 0);
	while (!any_flight(f->v)) /* it waits for the bracket then */
		(void)sched_yield();
	assert_int_equal(meta_get(f->meta, d.ino, &d), 0);
	assert_int_equal(meta_get(f->meta, META_ROOT, &i), 0);
	assert_true(d.flags & META_COMPLETE && d.epoch != a.dir.epoch);
	assert_int_equal(vfs_name_set(f->v, &d, "new", &i), 0);
	assert_int_equal(meta_name_get(f->meta, d.ino, "new", &n), 0);
	assert_int_equal(n.epoch, d.epoch);
	meta_end(f->meta);
	assert_int_equal(pthread_join(t, NULL), 0);
	reset(f);
}

/* ---- a directory that is complete is listed again ---- */

static struct meta_inode inode_of(struct fixture *f, uint64_t ino)
{
	struct meta_inode i;

	meta_begin(f->meta);
	assert_int_equal(meta_get(f->meta, ino, &i), 0);
	meta_end(f->meta);
	return i;
}

/* Names f0 to f19 of "/tree/d0", which is complete, not quite believed, and
 * listed again: the first page is on its way. */
static uint64_t list_again(struct fixture *f)
{
	const struct remote_mem_options small = { .page_entries = 7 };
	struct meta_inode d;
	struct walk w;
	uint64_t dir;

	remote_mem_set_options(f->mem, &small);
	set_ac(f, CONFIG_AC_FOREVER);
	admin_tree(f, 1, 20);
	dir = look_path(f, "/tree/d0");
	(void)list(f, dir, &w);
	reset(f);
	d = inode_of(f, dir);
	assert_true(d.flags & META_COMPLETE);
	d.flags |= META_RELIST;
	meta_begin(f->meta);
	assert_int_equal(meta_put(f->meta, &d), 0);
	meta_end(f->meta);
	fault_hold_reply(f->fault, REMOTE_READDIRPLUS);
	assert_int_equal(flight_start(f->v, ASK_LIST, &d, FOR_AHEAD), 0);
	assert_true(fault_wait_held(f->fault, 1));
	return dir;
}

/* All but f3, and "made". */
static void expect_changed(struct fixture *f, uint64_t dir, uint64_t made)
{
	char name[8];

	for (int k = 0; k < 20; k++) {
		(void)snprintf(name, sizeof(name), "f%d", k);
		assert_int_equal(look(f, dir, name) == 0, k == 3);
	}
	assert_int_equal(look(f, dir, "made"), made);
}

static void test_names_stay_while_a_directory_is_listed_again(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = list_again(f), made;

	made = make(f, dir, "made", S_IFREG | 0644);
	assert_int_equal(vfs_unlink(f->v, &root_user, dir, "f3"), 0);
	expect_changed(f, dir, made);
	fault_hold(f->fault, REMOTE_READDIRPLUS);
	fault_release(f->fault);
	assert_true(fault_wait_held(f->fault, 1)); /* at the second page */
	expect_changed(f, dir, made);
	assert_int_equal(remote_mem_calls(f->mem, REMOTE_LOOKUP), 0);
	fault_release(f->fault);
	vfs_settle(f->v);
	expect_changed(f, dir, made);
}

static void test_names_stay_when_listing_again_fails(void **state)
{
	const struct fault_rule rule = { .kind = FAULT_ERROR, .error = -EACCES,
					 .op = REMOTE_READDIRPLUS, .times = 1 };
	struct fixture *f = *state;
	uint64_t dir = list_again(f), made;

	made = make(f, dir, "made", S_IFREG | 0644);
	assert_int_equal(vfs_unlink(f->v, &root_user, dir, "f3"), 0);
	(void)fault_add(f->fault, &rule);
	fault_release(f->fault);
	vfs_settle(f->v);
	expect_changed(f, dir, made);
}

/* ---- listing again what did not change ---- */

static void test_renewed_listing_keeps_the_epoch(void **state)
{
	struct fixture *f = *state;
	const struct remote_mem_options small = { .page_entries = 7 };
	struct meta_inode before, after;
	struct walk w;
	uint64_t dir;

	remote_mem_set_options(f->mem, &small);
	admin_tree(f, 1, 20);
	dir = look_path(f, "/tree/d0");
	(void)list(f, dir, &w);
	meta_begin(f->meta);
	assert_int_equal(meta_get(f->meta, dir, &before), 0);
	meta_end(f->meta);
	reset(f);
	assert_int_equal(flight_wait(f->v, &root_user, ASK_LIST, &before,
				     META_ROOT + 99999, 0, true), 0);
	assert_int_equal(listings(f), 3);
	meta_begin(f->meta);
	assert_int_equal(meta_get(f->meta, dir, &after), 0);
	meta_end(f->meta);
	assert_int_equal(after.epoch, before.epoch);
	assert_true(after.flags & META_COMPLETE);
	assert_true(after.checked > before.checked);
	assert_int_equal(list(f, dir, &w), 20);
	assert_int_equal(listings(f), 3);
}

struct relist {
	struct fixture *f;
	struct meta_inode dir;
};

static void *relist_thread(void *arg)
{
	struct relist *r = arg;

	assert_int_equal(flight_wait(r->f->v, &root_user, ASK_LIST, &r->dir,
				     META_ROOT + 99999, 0, true), 0);
	return NULL;
}

/* Our own changes while the directory is being renewed are neither lost nor
 * invisible; somebody else's makes it a listing like any other. */
static void renew_and_change(struct fixture *f, bool others)
{
	struct relist r = { .f = f };
	pthread_t t;
	struct walk w;
	uint64_t d;

	admin_tree(f, 1, 5);
	d = look_path(f, "/tree/d0");
	(void)list(f, d, &w);
	meta_begin(f->meta);
	assert_int_equal(meta_get(f->meta, d, &r.dir), 0);
	meta_end(f->meta);
	if (others)
		admin_file(f, "/tree/d0/theirs", "x");
	fault_hold_reply(f->fault, REMOTE_READDIRPLUS);
	assert_int_equal(pthread_create(&t, NULL, relist_thread, &r), 0);
	assert_true(fault_wait_held(f->fault, 1));
	(void)make(f, d, "ours", S_IFREG | 0600);
	if (!others) { /* seen at once, though the listing is under way */
		assert_int_equal(vfs_unlink(f->v, &root_user, d, "f0"), 0);
		assert_int_not_equal(look(f, d, "ours"), 0);
		assert_int_equal(look(f, d, "f0"), 0);
	}
	fault_release(f->fault);
	(void)pthread_join(t, NULL);
	assert_int_not_equal(look(f, d, "ours"), 0);
	assert_int_equal(look(f, d, "f0") != 0, others);
	set_ac(f, 0);
	assert_int_equal(list(f, d, &w), others ? 7 : 5);
	assert_int_equal(look(f, d, "theirs") != 0, others);
}

static void test_own_changes_while_a_directory_is_renewed(void **state)
{
	renew_and_change(*state, false);
}

static void test_changes_of_both_while_a_directory_is_renewed(void **state)
{
	renew_and_change(*state, true);
}

/* ---- joining ---- */

struct asker {
	struct fixture *f;
	uint64_t ino;
};

static void *stat_thread(void *arg)
{
	struct asker *a = arg;

	(void)stat_of(a->f, a->ino);
	return NULL;
}

static void test_the_same_question_is_asked_once(void **state)
{
	struct fixture *f = *state;
	struct asker a = { .f = f };
	pthread_t t[8];

	admin_tree(f, 1, 1);
	a.ino = look_path(f, "/tree/d0");
	remount_fs(f);
	reset(f);
	fault_hold_reply(f->fault, REMOTE_GETATTR);
	assert_int_equal(pthread_create(&t[0], NULL, stat_thread, &a), 0);
	assert_true(fault_wait_held(f->fault, 1));
	for (unsigned k = 1; k < ARRAY_LEN(t); k++)
		assert_int_equal(pthread_create(&t[k], NULL, stat_thread, &a),
				 0);
	fault_release(f->fault);
	for (unsigned k = 0; k < ARRAY_LEN(t); k++)
		(void)pthread_join(t[k], NULL);
	assert_int_equal(getattrs(f), 1);
}

/* While somebody waits for the server, it is not given much else to do. */
static void test_few_are_under_way_while_somebody_waits(void **state)
{
	struct fixture *f = *state;
	struct asker a = { .f = f };
	pthread_t t;

	admin_tree(f, 1, 1);
	a.ino = look_path(f, "/tree/d0");
	remount_fs(f);
	while (!flights_have_room(f->v, 200, 256))
		(void)poll(NULL, 0, 1);
	fault_hold(f->fault, REMOTE_GETATTR);
	assert_int_equal(pthread_create(&t, NULL, stat_thread, &a), 0);
	assert_true(fault_wait_held(f->fault, 1));
	assert_false(flights_have_room(f->v, 200, 256));
	assert_false(flights_have_room(f->v, 20, 256));
	assert_true(flights_have_room(f->v, 10, 256));
	fault_release(f->fault);
	(void)pthread_join(t, NULL);
	while (!flights_have_room(f->v, 200, 256))
		(void)poll(NULL, 0, 1);
	assert_false(flights_have_room(f->v, 256, 256));
}

/* Whoever needs what is asked for ahead waits for that. */
static void test_a_reader_joins_what_is_asked_ahead(void **state)
{
	struct fixture *f = *state;
	struct walk w, d;
	struct asker a = { .f = f };
	pthread_t t;

	admin_tree(f, 1, 3);
	a.ino = look_path(f, "/tree");
	(void)look(f, a.ino, "absent");
	reset(f);
	fault_hold(f->fault, REMOTE_READDIRPLUS);
	(void)list(f, a.ino, &w);
	assert_true(fault_wait_held(f->fault, 1));
	a.ino = w.subdirs[0];
	assert_int_equal(pthread_create(&t, NULL, stat_thread, &a), 0);
	fault_release(f->fault);
	assert_int_equal(list(f, w.subdirs[0], &d), 3);
	(void)pthread_join(t, NULL);
	vfs_settle(f->v);
	assert_int_equal(listings(f), 1);
	assert_int_equal(calls(f), 1);
}

RUN_TESTS(FS_TEST(test_a_target_is_asked_for_once),
	  FS_TEST(test_a_replaced_symlink_has_its_own_target),
	  FS_TEST(test_targets_are_asked_for_ahead),
	  FS_TEST(test_a_target_that_cannot_be_kept_is_read_all_the_same),
	  FS_TEST(test_name_recorded_before_a_listing_sets_out),
	  FS_TEST(test_names_stay_while_a_directory_is_listed_again),
	  FS_TEST(test_names_stay_when_listing_again_fails),
	  FS_TEST(test_renewed_listing_keeps_the_epoch),
	  FS_TEST(test_own_changes_while_a_directory_is_renewed),
	  FS_TEST(test_changes_of_both_while_a_directory_is_renewed),
	  FS_TEST(test_the_same_question_is_asked_once),
	  FS_TEST(test_few_are_under_way_while_somebody_waits),
	  FS_TEST(test_a_reader_joins_what_is_asked_ahead))

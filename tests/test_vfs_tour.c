/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_vfs_tour.c: tours of the tree: all of it known by one call a directory,
 * or nothing of it believed any more.
 */
#include <poll.h>

#include "vfs_fixture.h"

#include "../fs/tour.h"
#include "../fs/vfs_int.h"

static uint64_t begin(struct fixture *f, enum tour_kind kind, uint64_t ino)
{
	uint64_t id;

	assert_int_equal(tour_start(f->v, kind, ino, UINT64_MAX, &id), 0);
	return id;
}

static struct tour_progress finish(struct fixture *f, uint64_t id)
{
	uint64_t end = clock_ms() + 20000;
	struct tour_progress p;

	do {
		vfs_settle(f->v);
		assert_int_equal(tour_look(f->v, id, &p), 0);
		assert_true(clock_ms() < end);
	} while (!p.over);
	vfs_settle(f->v);
	assert_int_equal(tour_look(f->v, id, &(struct tour_progress){ 0 }),
			 -ENOENT);
	return p;
}

static struct tour_progress tour(struct fixture *f, enum tour_kind kind,
				 uint64_t ino)
{
	return finish(f, begin(f, kind, ino));
}

static void test_warm_costs_one_call_a_directory(void **state)
{
	struct fixture *f = *state;
	struct tour_progress p;

	admin_tree(f, 300, 10);
	p = tour(f, TOUR_META, META_ROOT);
	assert_int_equal(p.dirs, 302);
	assert_int_equal(p.entries, 1 + 300 + 3000);
	assert_int_equal(p.asked, 302);
	assert_int_equal(p.failed, 0);
	assert_int_equal(listings(f), 302);
	assert_int_equal(calls(f), 302);
	/* and all is known */
	remote_mem_reset_calls(f->mem);
	assert_int_equal(find(f, META_ROOT), 1 + 300 + 3000);
	assert_int_not_equal(look_path(f, "/tree/d299/f9"), 0);
	assert_int_equal(look_path(f, "/tree/d299/absent"), 0);
	assert_int_equal(calls(f), 0);
}

static void test_second_warm_asks_only_for_what_is_missing(void **state)
{
	struct fixture *f = *state;
	struct tour_progress p;
	struct meta_inode i;
	uint64_t file;

	set_ac(f, CONFIG_AC_FOREVER);
	admin_tree(f, 20, 3);
	assert_int_equal(tour(f, TOUR_META, META_ROOT).asked, 22);
	remote_mem_reset_calls(f->mem);
	p = tour(f, TOUR_META, META_ROOT);
	assert_int_equal(p.asked, 0);
	assert_int_equal(p.entries, 1 + 20 + 60);
	assert_int_equal(calls(f), 0);

	/* a file that is not trusted: its directory is asked for */
	file = look_path(f, "/tree/d7/f1");
	meta_begin(f->meta);
	assert_int_equal(meta_get(f->meta, file, &i), 0);
	i.checked = STAMP_DOUBTED;
	assert_int_equal(meta_put(f->meta, &i), 0);
	meta_end(f->meta);
	assert_int_equal(tour(f, TOUR_META, META_ROOT).asked, 1);
	assert_int_equal(calls(f), 1);
}

static void test_warm_of_a_part(void **state)
{
	struct fixture *f = *state;
	struct tour_progress p;
	uint64_t d;

	admin_tree(f, 5, 4);
	d = look_path(f, "/tree/d3");
	vfs_settle(f->v);
	remote_mem_reset_calls(f->mem);
	p = tour(f, TOUR_META, d);
	assert_int_equal(p.dirs, 1);
	assert_int_equal(p.entries, 4);
	assert_int_equal(listings(f), 1);
	/* a file by itself */
	set_ac(f, 0);
	remote_mem_reset_calls(f->mem);
	p = tour(f, TOUR_META, look_path(f, "/tree/d3/f0"));
	assert_int_equal(p.dirs, 0);
	assert_int_equal(p.failed, 0);
	assert_int_equal(tour_start(f->v, TOUR_META, 999999, 0,
				    &(uint64_t){ 0 }),
			 -ENOENT);
}

static void test_warm_knows_where_symlinks_lead(void **state)
{
	struct fixture *f = *state;
	struct tour_progress p;
	char *target;

	admin_tree(f, 3, 2);
	assert_int_equal(remote_mem_symlink(f->mem, "../d1", "/tree/d0/to"), 0);
	assert_int_equal(remote_mem_symlink(f->mem, "f0", "/tree/d2/to"), 0);
	p = tour(f, TOUR_META, META_ROOT);
	assert_int_equal(p.dirs, 2 + 3);
	assert_int_equal(p.entries, 1 + 3 + 6 + 2);
	assert_int_equal(p.asked, 2 + 3 + 2);
	remote_mem_reset_calls(f->mem);
	assert_int_equal(vfs_readlink(f->v, &root_user,
				      look_path(f, "/tree/d0/to"), &target), 0);
	assert_string_equal(target, "../d1");
	free(target);
	assert_int_equal(tour(f, TOUR_META, META_ROOT).asked, 0);
	assert_int_equal(calls(f), 0);
}

static void test_huge_directories_and_pages(void **state)
{
	struct fixture *f = *state;
	const struct remote_mem_options small = { .page_entries = 100 };
	struct tour_progress p;

	remote_mem_set_options(f->mem, &small);
	admin_tree(f, 3, 1500);
	p = tour(f, TOUR_META, META_ROOT);
	assert_int_equal(p.entries, 1 + 3 + 4500);
	assert_int_equal(listings(f), 2 + 3 * 15);
}

static void test_what_cannot_be_listed_is_counted(void **state)
{
	struct fixture *f = *state;
	const struct fault_rule refuse = { .kind = FAULT_ERROR,
					   .op = REMOTE_READDIRPLUS,
					   .skip = 2, .times = 1,
					   .error = -EACCES };
	struct tour_progress p;

	admin_tree(f, 5, 2);
	(void)fault_add(f->fault, &refuse);
	p = tour(f, TOUR_META, META_ROOT);
	assert_int_equal(p.failed, 1);
	assert_int_equal(p.error, -EACCES);
	assert_int_equal(p.dirs, 2 + 4);
}

static void test_a_tour_can_be_ended(void **state)
{
	struct fixture *f = *state;
	struct tour_progress p;
	uint64_t id;

	admin_tree(f, 50, 2);
	fault_hold(f->fault, REMOTE_READDIRPLUS);
	id = begin(f, TOUR_META, META_ROOT);
	assert_true(fault_wait_held(f->fault, 1));
	assert_int_equal(tour_look(f->v, id, &p), 0);
	assert_false(p.over);
	tour_stop(f->v, id);
	fault_release(f->fault);
	vfs_settle(f->v);
	assert_int_equal(tour_look(f->v, id, &p), -ENOENT);
	assert_true(listings(f) <= 1);
}

static void test_two_tours_share_their_questions(void **state)
{
	struct fixture *f = *state;
	uint64_t a, b;

	admin_tree(f, 100, 2);
	a = begin(f, TOUR_META, META_ROOT);
	b = begin(f, TOUR_META, META_ROOT);
	assert_int_equal(finish(f, a).dirs, 102);
	assert_int_equal(finish(f, b).dirs, 102);
	/* one that came later may not believe what was asked before it began */
	assert_true(listings(f) <= 2 * 102);
}

static void test_too_many_tours(void **state)
{
	struct fixture *f = *state;
	uint64_t id, ids[64];
	unsigned n = 0;
	int r;

	admin_tree(f, 2, 2);
	fault_hold(f->fault, REMOTE_READDIRPLUS);
	while ((r = tour_start(f->v, TOUR_META, META_ROOT, 0, &id)) == 0 &&
	       n < ARRAY_LEN(ids))
		ids[n++] = id;
	assert_int_equal(r, -EBUSY);
	assert_true(fault_wait_held(f->fault, 1));
	fault_release(f->fault);
	while (n-- > 0)
		(void)finish(f, ids[n]);
}

/* ---- refresh ---- */

struct told {
	unsigned attrs, names;
	uint64_t dir;
	char name[64];
};

static void tell_attr(void *arg, uint64_t ino)
{
	struct told *t = arg;

	(void)ino;
	t->attrs++;
}

static void tell_name(void *arg, uint64_t dir, const char *name)
{
	struct told *t = arg;

	t->names++;
	t->dir = dir;
	(void)snprintf(t->name, sizeof(t->name), "%s", name);
}

static void test_refreshed_is_asked_for_again_though_trusted_for_ever(
	void **state)
{
	struct fixture *f = *state;
	struct tour_progress p;
	unsigned n;

	set_ac(f, CONFIG_AC_FOREVER);
	admin_tree(f, 4, 3);
	n = find(f, META_ROOT);
	vfs_settle(f->v);
	admin_file(f, "/tree/d2/f1", "longer than it was before");
	admin_file(f, "/tree/d2/new", "x");
	assert_int_equal(look_path(f, "/tree/d2/new"), 0);
	p = tour(f, TOUR_REFRESH, META_ROOT);
	assert_int_equal(p.dirs, 2 + 4);
	assert_int_equal(p.entries, n);
	assert_int_equal(p.asked, 0);
	assert_int_not_equal(look_path(f, "/tree/d2/new"), 0);
	assert_int_equal(stat_of(f, look_path(f, "/tree/d2/f1")).attr.size,
			 strlen("longer than it was before"));
	assert_int_equal(find(f, META_ROOT), n + 1);
	/* and then trusted again */
	vfs_settle(f->v);
	remote_mem_reset_calls(f->mem);
	assert_int_equal(find(f, META_ROOT), n + 1);
	assert_int_equal(calls(f), 0);
}

static void test_refresh_of_a_part_and_across_a_remount(void **state)
{
	struct fixture *f = *state;
	uint64_t d2;

	set_ac(f, CONFIG_AC_FOREVER);
	admin_tree(f, 4, 3);
	(void)find(f, META_ROOT);
	d2 = look_path(f, "/tree/d2");
	(void)tour(f, TOUR_REFRESH, d2);
	remount_fs(f);
	remote_mem_reset_calls(f->mem);
	(void)look_path(f, "/tree/d1/f1");
	assert_int_equal(calls(f), 0);
	(void)look_path(f, "/tree/d2/f1");
	assert_in_range(calls(f), 1, 2);
}

static void test_refresh_tells_the_kernel_what_it_holds(void **state)
{
	struct fixture *f = *state;
	struct told told = { 0 };
	const struct vfs_kernel k = { .attr = tell_attr, .name = tell_name,
				      .arg = &told };
	uint64_t d, file;

	admin_tree(f, 2, 5);
	d = look_path(f, "/tree/d0");
	file = look(f, d, "f3");
	(void)tour(f, TOUR_META, META_ROOT); /* known to us, not to it */
	vfs_set_kernel(f->v, &k);
	(void)tour(f, TOUR_REFRESH, d);
	vfs_set_kernel(f->v, NULL);
	assert_int_equal(told.attrs, 2);
	assert_int_equal(told.names, 1);
	assert_int_equal(told.dir, d);
	assert_string_equal(told.name, "f3");
	vfs_forget(f->v, file, 1);
}

/* A reply from before the refresh is not believed after it. */
static void test_refresh_while_a_listing_is_under_way(void **state)
{
	struct fixture *f = *state;
	const struct remote_mem_options small = { .page_entries = 2 };
	struct lister l = { .f = f };
	struct vfs_entry e;
	pthread_t t;

	set_ac(f, CONFIG_AC_FOREVER);
	admin_tree(f, 1, 5);
	l.dir = look_path(f, "/tree/d0");
	remote_mem_set_options(f->mem, &small);
	fault_hold_reply(f->fault, REMOTE_READDIRPLUS);
	assert_int_equal(pthread_create(&t, NULL, list_thread, &l), 0);
	assert_true(fault_wait_held(f->fault, 1));
	assert_int_equal(remote_mem_chmod(f->mem, "/tree/d0", 0700), 0);
	(void)tour_start(f->v, TOUR_REFRESH, l.dir, 0, &(uint64_t){ 0 });
	while (meta_begin(f->meta), true) {
		struct meta_inode i;
		int r = meta_get(f->meta, l.dir, &i);

		meta_end(f->meta);
		assert_int_equal(r, 0);
		if (i.checked == STAMP_DOUBTED)
			break;
		(void)poll(NULL, 0, 1);
	}
	fault_release(f->fault);
	(void)pthread_join(t, NULL);
	assert_int_equal(vfs_getattr(f->v, &root_user, l.dir, &e), 0);
	assert_int_equal(e.attr.mode, S_IFDIR | 0700);
}

static void test_warm_with_data_fetches_all_contents(void **state)
{
	struct fixture *f = *state;
	struct tour_progress p;
	char path[64], *large;
	uint64_t id;

	admin_tree(f, 20, 30);
	large = calloc(1, 5000000);
	assert_int_equal(remote_mem_write_file(f->mem, "/tree/large", large,
					       5000000), 0);
	age(f);
	assert_int_equal(tour_start(f->v, TOUR_DATA, META_ROOT, 1000000, &id),
			 0);
	p = finish(f, id);
	assert_int_equal(p.failed, 0);
	assert_int_equal(p.files, 600); /* "/now" is of now: not kept */
	assert_int_equal(remote_mem_calls(f->mem, REMOTE_READ), 600);
	p = tour(f, TOUR_DATA, META_ROOT);
	assert_int_equal(p.files, 1);
	assert_int_equal(p.bytes, 5000000);
	remount_fs(f);
	remote_mem_reset_calls(f->mem);
	for (unsigned k = 0; k < 600; k++) {
		(void)snprintf(path, sizeof(path), "/tree/d%u/f%u", k / 30,
			       k % 30);
		expect_contents(f, look_path(f, path), path);
	}
	p = tour(f, TOUR_DATA, look_path(f, "/tree/d3/f4"));
	assert_int_equal(p.files, 0);
	assert_int_equal(calls(f), 0);
	free(large);
}

RUN_TESTS(KEEP_TEST(test_warm_with_data_fetches_all_contents),
	  FS_TEST(test_warm_costs_one_call_a_directory),
	  FS_TEST(test_second_warm_asks_only_for_what_is_missing),
	  FS_TEST(test_warm_of_a_part),
	  FS_TEST(test_warm_knows_where_symlinks_lead),
	  FS_TEST(test_huge_directories_and_pages),
	  FS_TEST(test_what_cannot_be_listed_is_counted),
	  FS_TEST(test_a_tour_can_be_ended),
	  FS_TEST(test_two_tours_share_their_questions),
	  FS_TEST(test_too_many_tours),
	  FS_TEST(test_refreshed_is_asked_for_again_though_trusted_for_ever),
	  FS_TEST(test_refresh_of_a_part_and_across_a_remount),
	  FS_TEST(test_refresh_tells_the_kernel_what_it_holds),
	  FS_TEST(test_refresh_while_a_listing_is_under_way))

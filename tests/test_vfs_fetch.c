/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_vfs_fetch.c: contents: what is fetched, how often; and what the content
 * cache gives back, which must never be of another version.
 */
#include "fetch_fixture.h"

#include "../fs/fetch.h"

static void test_each_small_file_is_read_once_and_then_never_again(void **state)
{
	struct fixture *f = *state;

	old_tree(f, 10, 20);
	read_all(f, 10);
	assert_int_equal(reads(f), 200);
	read_all(f, 10);
	assert_int_equal(reads(f), 200);
	remount_fs(f);
	read_all(f, 10);
	assert_int_equal(reads(f), 200);
}

static void test_changed_contents_are_never_taken_from_the_cache(void **state)
{
	struct fixture *f = *state;
	uint64_t a;

	set_ac(f, 0);
	old_tree(f, 1, 1);
	a = look_path(f, "/tree/d0/f0");
	expect_contents(f, a, "/tree/d0/f0");
	admin_file(f, "/tree/d0/f0", "/tree/d0/XX"); /* the same size */
	expect_contents(f, look_path(f, "/tree/d0/f0"), "/tree/d0/XX");
	set_ac(f, CONFIG_AC_FOREVER);
	remount_fs(f);
	expect_contents(f, look_path(f, "/tree/d0/f0"), "/tree/d0/XX");
}

/* rsync -t and others put the mtime back; size and mtime then say nothing. */
static void test_changed_contents_of_the_same_mtime_are_seen(void **state)
{
	struct fixture *f = *state;
	struct attr a;

	set_ac(f, 0);
	old_tree(f, 1, 1);
	expect_contents(f, look_path(f, "/tree/d0/f0"), "/tree/d0/f0");
	assert_int_equal(remote_mem_stat(f->mem, "/tree/d0/f0", &a), 0);
	admin_file(f, "/tree/d0/f0", "/tree/d0/XX");
	assert_int_equal(remote_mem_set_mtime(f->mem, "/tree/d0/f0", &a.mtime),
			 0);
	expect_contents(f, look_path(f, "/tree/d0/f0"), "/tree/d0/XX");
}

/* A clock that stands still: the second version looks like the first. */
static void test_what_may_change_unseen_is_not_kept(void **state)
{
	struct fixture *f = *state;
	struct timespec now;

	set_ac(f, 0);
	old_tree(f, 1, 1);
	(void)clock_gettime(CLOCK_REALTIME, &now);
	remote_mem_set_clock(f->mem, (uint64_t)now.tv_sec * 1000000000, 0);
	admin_file(f, "/tree/d0/f0", "/tree/d0/11");
	expect_contents(f, look_path(f, "/tree/d0/f0"), "/tree/d0/11");
	admin_file(f, "/tree/d0/f0", "/tree/d0/22");
	expect_contents(f, look_path(f, "/tree/d0/f0"), "/tree/d0/22");
}

static void test_contents_of_a_removed_cache_are_not_given_to_others(void **state)
{
	struct fixture *f = *state;

	old_tree(f, 1, 30);
	read_all(f, 1);
	unmount_fs(f);
	delete_meta(f); /* its numbers start anew */
	assert_int_equal(remote_mem_remove(f->mem, "/tree/d0/f3"), 0);
	mount_fs(f);
	for (unsigned k = 29; k > 3; k--) {
		char path[64];

		(void)snprintf(path, sizeof(path), "/tree/d0/f%u", k);
		expect_contents(f, look_path(f, path), path);
	}
}

static void test_what_was_written_is_not_fetched_back(void **state)
{
	struct fixture *f = *state;
	struct remote_sattr mode = { .valid = REMOTE_SET_MODE, .mode = 0600 };
	struct vfs_entry e;
	uint64_t dir = make_dir(f, META_ROOT, "d");
	uint64_t a = make(f, dir, "a#new", S_IFREG | 0644);

	put(f, a, "contents");
	assert_int_equal(send_all(f), 0);
	/* as a package manager puts it in place */
	assert_int_equal(vfs_rename(f->v, &root_user, dir, "a#new", dir, "a",
				    0), 0);
	assert_int_equal(send_all(f), 0);
	assert_int_equal(vfs_setattr(f->v, &root_user, a, &mode, &e), 0);
	assert_int_equal(send_all(f), 0);
	remount_fs(f);
	assert_int_equal(look_path(f, "/d/a"), a);
	(void)stat_of(f, a);
	expect_contents(f, a, "contents");
	expect_server(f, "/d/a", "contents");
	assert_int_equal(reads(f), 0);
}

static void test_targets_of_symlinks_are_kept(void **state)
{
	struct fixture *f = *state;
	struct vfs_entry e;
	char *target;

	assert_int_equal(remote_mem_symlink(f->mem, "far/away", "/theirs"), 0);
	assert_int_equal(vfs_symlink(f->v, &root_user, META_ROOT, "ours",
				     "quite/near", &e), 0);
	assert_int_equal(send_all(f), 0);
	for (unsigned k = 0; k < 2; k++) {
		assert_int_equal(vfs_readlink(f->v, &root_user,
					      look_path(f, "/theirs"),
					      &target), 0);
		assert_string_equal(target, "far/away");
		free(target);
		assert_int_equal(vfs_readlink(f->v, &root_user,
					      look_path(f, "/ours"), &target),
				 0);
		assert_string_equal(target, "quite/near");
		free(target);
		assert_int_equal(remote_mem_calls(f->mem, REMOTE_READLINK), 1);
		remount_fs(f);
	}
}

static void test_what_is_written_over_is_read_as_it_is_now(void **state)
{
	struct fixture *f = *state;
	uint64_t a;

	old_tree(f, 1, 1);
	a = look_path(f, "/tree/d0/f0");
	expect_contents(f, a, "/tree/d0/f0");
	put(f, a, "/TREE");
	expect_contents(f, a, "/TREE/d0/f0");
	assert_int_equal(send_all(f), 0);
	expect_contents(f, a, "/TREE/d0/f0");
	remount_fs(f);
	expect_contents(f, a, "/TREE/d0/f0");
}

static void test_what_goes_through_is_read_as_it_is_now(void **state)
{
	struct fixture *f = *state;
	uint64_t a;

	old_tree(f, 1, 1);
	a = look_path(f, "/tree/d0/f0");
	expect_contents(f, a, "/tree/d0/f0");
	put(f, a, "/TREE");
	expect_contents(f, a, "/TREE/d0/f0");
	put(f, a, "/trEE");
	expect_contents(f, a, "/trEE/d0/f0");
}

static void test_cached_contents_are_there_while_the_server_is_away(void **state)
{
	struct fixture *f = *state;

	old_tree(f, 2, 5);
	read_all(f, 2);
	remount_fs(f);
	(void)find(f, META_ROOT);
	set_ac(f, 0);
	fault_set_away(f->fault, true);
	read_all(f, 2);
	fault_set_away(f->fault, false);
}

/* ---- large files ---- */

/* More than the content cache takes at once. */
static void test_what_was_written_is_kept_however_large(void **state)
{
	struct fixture *f = *state;
	const size_t len = 128 * MIB;
	uint64_t *bytes = malloc(len), rnd = run_seed(), a;

	assert_non_null(bytes);
	unmount_fs(f);
	f->config.log_bytes_max = 256 << 20;
	mount_fs(f);
	a = make(f, META_ROOT, "a", S_IFREG | 0644);
	for (size_t k = 0; k < len / 8; k++)
		bytes[k] = run_random(&rnd);
	for (size_t at = 0; at < len; at += MIB)
		assert_int_equal(vfs_write(f->v, &root_user, a, at,
					   (char *)bytes + at, MIB), 0);
	assert_int_equal(send_all(f), 0);
	remote_mem_reset_calls(f->mem);
	for (size_t at = 0; at < len; at += MIB)
		expect_range(f, a, (char *)bytes, len, at, MIB);
	assert_int_equal(reads(f), 0);
	free(bytes);
}

static void test_small_rsize_and_odd_ranges(void **state)
{
	struct fixture *f = *state;
	const size_t len = 700001;
	char *bytes = admin_large(f, len);
	uint64_t rnd = run_seed(), ino;

	f->config.read_bytes_max = 10000;
	remount_fs(f);
	ino = look_path(f, "/large");
	for (unsigned k = 0; k < 300; k++) {
		rnd = rnd * 6364136223846793005u + 1442695040888963407u;
		expect_range(f, ino, bytes, len, (rnd >> 33) % (len + 1000),
			     1 + (uint32_t)(rnd >> 13) % 200000);
	}
	free(bytes);
}

struct reader {
	struct fixture *f;
	uint64_t ino;
	const char *bytes;
	size_t len;
	struct remote_intr *intr;
	int r;
};

static void *reader_main(void *arg)
{
	struct reader *rd = arg;
	struct caller c = { .intr = rd->intr };
	struct slice data;

	rd->r = vfs_read(rd->f->v, &c, rd->ino, 0, 100000, &data);
	if (rd->r == 0) {
		assert_int_equal(data.len, 100000);
		assert_memory_equal(data.at, rd->bytes, data.len);
		slice_done(&data);
	}
	return NULL;
}

static void test_readers_of_one_range_share_one_read(void **state)
{
	struct fixture *f = *state;
	const size_t len = MIB;
	char *bytes = admin_large(f, len);
	struct reader rd[8];
	pthread_t t[8];

	fault_hold(f->fault, REMOTE_READ);
	for (size_t k = 0; k < ARRAY_LEN(t); k++) {
		rd[k] = (struct reader){ f, look_path(f, "/large"), bytes, len,
					 NULL, 0 };
		assert_int_equal(pthread_create(&t[k], NULL, reader_main,
						&rd[k]), 0);
	}
	assert_true(fault_wait_held(f->fault, 1));
	fault_release(f->fault);
	for (size_t k = 0; k < ARRAY_LEN(t); k++)
		(void)pthread_join(t[k], NULL);
	assert_int_equal(reads(f), 1);
	free(bytes);
}

static void test_waiting_reader_can_be_interrupted(void **state)
{
	struct fixture *f = *state;
	const size_t len = MIB;
	char *bytes = admin_large(f, len);
	struct remote_intr intr = { 0 };
	struct reader rd = { f, look_path(f, "/large"), bytes, len, &intr, 0 };
	pthread_t t;

	fault_hold(f->fault, REMOTE_READ);
	assert_int_equal(pthread_create(&t, NULL, reader_main, &rd), 0);
	assert_true(fault_wait_held(f->fault, 1));
	remote_intr_raise(&intr);
	(void)pthread_join(t, NULL);
	assert_int_equal(rd.r, -EINTR);
	fault_release(f->fault);
	expect_range(f, rd.ino, bytes, len, 0, 100000); /* and goes on */
	free(bytes);
}

static void test_reply_of_another_version_is_not_kept(void **state)
{
	struct fixture *f = *state;
	struct reader rd = { .f = f };
	char *bytes = admin_large(f, 100000), *other = strdup("other");
	pthread_t t;

	rd.ino = look_path(f, "/large");
	rd.bytes = bytes;
	fault_hold_reply(f->fault, REMOTE_READ);
	assert_int_equal(pthread_create(&t, NULL, reader_main, &rd), 0);
	assert_true(fault_wait_held(f->fault, 1));
	admin_file(f, "/large", other);
	fault_release(f->fault);
	(void)pthread_join(t, NULL);
	set_ac(f, 0);
	expect_contents(f, look_path(f, "/large"), other);
	free(bytes);
	free(other);
}

/* ---- fetched for later ---- */

struct stored {
	struct mutex lock;
	struct cond cond;
	unsigned n;
	int status;
};

static void stored(void *arg, int status, uint64_t bytes)
{
	struct stored *s = arg;

	(void)bytes;
	mutex_lock(&s->lock);
	s->n++;
	if (status < 0)
		s->status = status;
	cond_broadcast(&s->cond);
	mutex_unlock(&s->lock);
}

/* Returns what was told of all @n, or that nothing was to be told. */
static int store_all(struct fixture *f, const uint64_t *inos, unsigned n)
{
	struct stored s = { .lock = MUTEX_INIT };
	unsigned started = 0;

	cond_init(&s.cond);
	for (unsigned k = 0; k < n; k++) {
		int r = fetch_store(f->v->fetch, inos[k], 64 * MIB, stored, &s);

		assert_true(r >= 0);
		started += r == 0;
	}
	mutex_lock(&s.lock);
	while (s.n < started)
		cond_wait(&s.cond, &s.lock);
	mutex_unlock(&s.lock);
	cond_destroy(&s.cond);
	return started ? s.status : 1;
}

static void test_what_was_fetched_for_later_is_here(void **state)
{
	struct fixture *f = *state;
	const size_t len = 20 * MIB + 4321;
	uint64_t inos[31];
	char *bytes, path[64];

	admin_tree(f, 1, 30);
	bytes = admin_large(f, len);
	for (unsigned k = 0; k < 30; k++) {
		(void)snprintf(path, sizeof(path), "/tree/d0/f%u", k);
		inos[k] = look_path(f, path);
	}
	inos[30] = look_path(f, "/large");
	assert_int_equal(store_all(f, inos, 31), 0);
	assert_int_equal(reads(f), 30 + 21);
	assert_int_equal(store_all(f, inos, 31), 1);
	remount_fs(f);
	remote_mem_reset_calls(f->mem);
	read_all(f, 1);
	expect_range(f, inos[30], bytes, len, 0, MIB);
	expect_range(f, inos[30], bytes, len, len - 1000, 5000);
	free(bytes);
	assert_int_equal(calls(f), 0);
}

static void test_what_changes_while_it_is_fetched_is_not_kept(void **state)
{
	struct fixture *f = *state;
	uint64_t ino;

	old_tree(f, 1, 1);
	ino = look_path(f, "/tree/d0/f0");
	admin_file(f, "/tree/d0/f0", "/tree/d0/XX");
	assert_int_equal(store_all(f, &ino, 1), -ESTALE);
	set_ac(f, 0);
	expect_contents(f, look_path(f, "/tree/d0/f0"), "/tree/d0/XX");
}

#define KEEP_BACK_TEST(fn) \
	cmocka_unit_test_setup_teardown(fn, setup_keep_back, teardown)

RUN_TESTS(KEEP_TEST(test_each_small_file_is_read_once_and_then_never_again),
	  KEEP_TEST(test_changed_contents_are_never_taken_from_the_cache),
	  KEEP_TEST(test_changed_contents_of_the_same_mtime_are_seen),
	  KEEP_TEST(test_what_may_change_unseen_is_not_kept),
	  KEEP_TEST(test_contents_of_a_removed_cache_are_not_given_to_others),
	  KEEP_BACK_TEST(test_what_was_written_is_not_fetched_back),
	  KEEP_BACK_TEST(test_what_was_written_is_kept_however_large),
	  KEEP_BACK_TEST(test_targets_of_symlinks_are_kept),
	  KEEP_BACK_TEST(test_what_is_written_over_is_read_as_it_is_now),
	  KEEP_TEST(test_what_goes_through_is_read_as_it_is_now),
	  KEEP_TEST(test_cached_contents_are_there_while_the_server_is_away),
	  KEEP_TEST(test_small_rsize_and_odd_ranges),
	  KEEP_TEST(test_readers_of_one_range_share_one_read),
	  KEEP_TEST(test_waiting_reader_can_be_interrupted),
	  KEEP_TEST(test_reply_of_another_version_is_not_kept),
	  KEEP_TEST(test_what_was_fetched_for_later_is_here),
	  KEEP_TEST(test_what_changes_while_it_is_fetched_is_not_kept),
	  FS_TEST(test_small_rsize_and_odd_ranges))

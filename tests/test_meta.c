/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_meta.c: the metadata cache as its callers see it: what it keeps over
 * reopening and crashes, identity, names. The sweep is in test_meta_sweep.c;
 * damage, lack of room and threads in test_meta_damage.c; bytes in
 * test_meta_key.c.
 */
#include "test_meta.h"

/* ---- what is kept ---- */

static void test_keeps_over_reopen(void **state)
{
	struct meta_inode in = meta_test_inode(5, S_IFREG), out;
	struct meta_name name = { .ino = 5, .epoch = 7, .type = DT_REG }, got;
	struct meta *m = meta_test_open(*state);

	in.flags = META_RELIST;
	in.epoch = 9;
	meta_begin(m);
	assert_int_equal(meta_put(m, &in), 0);
	assert_int_equal(meta_name_put(m, META_ROOT, "a", &name), 0);
	assert_int_equal(meta_get(m, 5, &out), 0); /* before any commit */
	meta_end(m);
	meta_close(m);

	m = meta_test_open(*state);
	meta_begin(m);
	assert_int_equal(meta_get(m, 5, &out), 0);
	assert_memory_equal(&in, &out, sizeof(in));
	assert_int_equal(meta_name_get(m, META_ROOT, "a", &got), 0);
	assert_int_equal(got.ino, 5);
	assert_int_equal(got.epoch, 7);
	assert_int_equal(got.type, DT_REG);
	assert_false(got.absent);
	assert_int_equal(meta_get(m, 6, &out), -ENOENT);
	assert_int_equal(meta_name_get(m, META_ROOT, "b", &got), -ENOENT);
	meta_end(m);
	meta_close(m);
}

static void crash_after_sync(const char *dir)
{
	struct meta *m = meta_test_open(dir);

	meta_test_put(m, 5, S_IFREG);
	assert_int_equal(meta_sync(m), 0);
	meta_test_put(m, 6, S_IFREG);
}

static void test_keeps_what_was_synced_over_a_crash(void **state)
{
	struct meta_inode out;
	struct meta *m;

	meta_test_crash(crash_after_sync, *state);
	m = meta_test_open(*state);
	meta_begin(m);
	assert_int_equal(meta_get(m, 5, &out), 0);
	meta_end(m);
	meta_close(m);
}

/* Nobody calls sync or close: the committer has to do it, and in time. */
static void crash_after_commit(const char *dir)
{
	struct meta *m = meta_test_open(dir);
	struct timespec tick = { .tv_nsec = 10 * 1000 * 1000 };
	uint64_t start = clock_ms();
	struct meta_stats before, now;

	meta_get_stats(m, &before);
	meta_test_put(m, 5, S_IFREG);
	do {
		(void)nanosleep(&tick, NULL);
		meta_get_stats(m, &now);
		assert_true(clock_ms() - start < 20 * META_COMMIT_MS);
	} while (now.commits == before.commits);
}

static void test_commits_by_itself(void **state)
{
	struct meta_inode out;
	struct meta *m;

	meta_test_crash(crash_after_commit, *state);
	m = meta_test_open(*state);
	meta_begin(m);
	assert_int_equal(meta_get(m, 5, &out), 0);
	meta_end(m);
	meta_close(m);
}

/* ---- numbers and time ---- */

/* The last number or stamp a child was given: memory shared with it. */
static uint64_t *last;

static void crash_after_numbers(const char *dir)
{
	struct meta *m = meta_test_open(dir);
	uint64_t n = 0;

	meta_begin(m);
	for (int i = 0; i < 3 * META_INO_RESERVE / 2; i++)
		n = meta_new_ino(m);
	meta_end(m);
	*last = n;
}

static void test_never_gives_a_number_twice(void **state)
{
	struct meta *m;
	uint64_t n;

	last = mmap(NULL, sizeof(*last), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(last != MAP_FAILED);
	for (int i = 0; i < 3; i++) {
		uint64_t before = *last;

		meta_test_crash(crash_after_numbers, *state);
		assert_true(*last > before);
	}
	for (int i = 0; i < 3; i++) {
		m = meta_test_open(*state);
		meta_begin(m);
		n = meta_new_ino(m);
		meta_end(m);
		meta_close(m);
		assert_true(n > *last);
		if (i > 0) /* a clean end wastes none */
			assert_int_equal(n, *last + 1);
		*last = n;
	}
	assert_true(n > META_ROOT);
	(void)munmap(last, sizeof(*last));
}

static void crash_at_once(const char *dir)
{
	struct meta *m = meta_test_open(dir);

	*last = meta_now(m);
}

static void test_stamps_grow_over_mounts(void **state)
{
	uint64_t here = 0;

	last = mmap(NULL, sizeof(*last), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(last != MAP_FAILED);
	for (int i = 0; i < 3; i++) {
		struct meta *m = meta_test_open(*state);

		assert_true(meta_session_start(m) > here);
		assert_true(meta_now(m) >= meta_session_start(m));
		here = meta_now(m);
		meta_close(m);
		meta_test_crash(crash_at_once, *state);
		assert_true(*last > here);
		here = *last;
	}
	(void)munmap(last, sizeof(*last));
}

static void test_counts(void **state)
{
	struct meta_name name = { .ino = 5, .type = DT_REG };
	struct meta *m = meta_test_open(*state);
	struct meta_stats s;

	meta_test_put(m, 5, S_IFREG);
	meta_begin(m);
	assert_int_equal(meta_name_put(m, META_ROOT, "a", &name), 0);
	assert_int_equal(meta_name_put(m, META_ROOT, "b", &name), 0);
	meta_end(m);
	meta_get_stats(m, &s);
	assert_int_equal(s.inodes, 1);
	assert_int_equal(s.names, 2);
	assert_true(s.bytes_on_disk > 0);
	meta_close(m);
}

/* ---- identity ---- */

static void test_finds_by_handle(void **state)
{
	struct meta_inode in = meta_test_inode(5, S_IFREG), out;
	struct handle old = in.handle;
	struct meta *m = meta_test_open(*state);

	meta_begin(m);
	assert_int_equal(meta_put(m, &in), 0);
	assert_int_equal(meta_find(m, &old, NULL, &out), 0);
	assert_int_equal(out.ino, 5);
	in.handle.data[0] ^= 1;
	assert_int_equal(meta_find(m, &in.handle, NULL, &out), -ENOENT);
	assert_int_equal(meta_put(m, &in), 0);
	assert_int_equal(meta_find(m, &in.handle, NULL, &out), 0);
	assert_int_equal(meta_find(m, &old, NULL, &out), -ENOENT);
	assert_int_equal(meta_forget(m, 5), 0);
	assert_int_equal(meta_find(m, &in.handle, &in.attr, &out), -ENOENT);
	assert_int_equal(meta_forget(m, 5), 0); /* nothing to do */
	meta_end(m);
	meta_close(m);
}

static void test_finds_by_alternate_handle(void **state)
{
	struct meta_inode in = meta_test_inode(5, S_IFREG), out;
	struct handle other = { .len = 3, .data = "xyz" };
	struct meta *m = meta_test_open(*state);
	struct attr a = in.attr;

	meta_begin(m);
	assert_int_equal(meta_put(m, &in), 0);
	assert_int_equal(meta_find(m, &other, NULL, &out), -ENOENT);
	assert_int_equal(meta_find(m, &other, &a, &out), 0);
	assert_int_equal(out.ino, 5);
	a.ctime.tv_nsec++; /* another file with the same number */
	assert_int_equal(meta_find(m, &other, &a, &out), -ENOENT);
	a = in.attr;
	a.mode = S_IFLNK | 0777;
	assert_int_equal(meta_find(m, &other, &a, &out), -ENOENT);
	a = in.attr;
	a.fsid++;
	assert_int_equal(meta_find(m, &other, &a, &out), -ENOENT);
	in.flags = META_REMOVED;
	assert_int_equal(meta_put(m, &in), 0);
	assert_int_equal(meta_find(m, &other, &in.attr, &out), -ENOENT);

	in = meta_test_inode(6, S_IFDIR); /* times of a directory may differ */
	assert_int_equal(meta_put(m, &in), 0);
	in.attr.ctime.tv_sec++;
	in.attr.mtime.tv_sec++;
	assert_int_equal(meta_find(m, &other, &in.attr, &out), 0);
	assert_int_equal(out.ino, 6);
	meta_end(m);
	meta_close(m);
}

/* The server used a fileid again: the new inode has it, whatever becomes of
 * the old one. */
static void test_index_goes_with_the_last_put(void **state)
{
	struct meta_inode old = meta_test_inode(5, S_IFREG), new, out;
	struct handle other = { .len = 3, .data = "xyz" };
	struct meta *m = meta_test_open(*state);

	new = meta_test_inode(6, S_IFREG);
	new.attr.fileid = old.attr.fileid;
	meta_begin(m);
	assert_int_equal(meta_put(m, &old), 0);
	assert_int_equal(meta_put(m, &new), 0);
	old.flags = META_REMOVED;
	assert_int_equal(meta_put(m, &old), 0);
	assert_int_equal(meta_find(m, &other, &new.attr, &out), 0);
	assert_int_equal(out.ino, 6);
	assert_int_equal(meta_forget(m, 5), 0);
	assert_int_equal(meta_find(m, &other, &new.attr, &out), 0);
	assert_int_equal(out.ino, 6);
	meta_end(m);
	meta_close(m);
}

static void test_does_not_index_without_handle(void **state)
{
	struct meta_inode in = meta_test_inode(5, S_IFREG), out;
	struct handle other = { .len = 3, .data = "xyz" }, none = { .len = 0 };
	struct meta *m = meta_test_open(*state);

	meta_begin(m);
	in.handle.len = 0;
	assert_int_equal(meta_put(m, &in), 0);
	assert_int_equal(meta_find(m, &other, &in.attr, &out), -ENOENT);
	assert_int_equal(meta_find(m, &none, NULL, &out), -ENOENT);
	in = meta_test_inode(5, S_IFREG); /* now the server knows it */
	assert_int_equal(meta_put(m, &in), 0);
	assert_int_equal(meta_find(m, &in.handle, NULL, &out), 0);
	in.handle.len = HANDLE_BYTES_MAX + 1;
	assert_int_equal(meta_put(m, &in), -EINVAL);
	meta_end(m);
	meta_close(m);
}

/* ---- names ---- */

/* What a walk saw. */
struct seen {
	uint64_t offset[4096];
	char name[4096][16];
	size_t n, stop_at;
};

static int see(void *arg, uint64_t offset, const char *name,
	       const struct meta_name *n)
{
	struct seen *s = arg;

	assert_true(s->n < ARRAY_LEN(s->offset));
	assert_true(offset >= META_OFFSET_MIN && offset <= INT64_MAX);
	s->offset[s->n] = offset;
	(void)snprintf(s->name[s->n], sizeof(s->name[0]), "%s", name);
	s->n++;
	return s->stop_at && s->n == s->stop_at;
}

static struct seen *walk(struct meta *m, uint64_t dir, uint64_t after,
			 size_t stop_at)
{
	struct seen *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	s->stop_at = stop_at;
	meta_begin(m);
	assert_int_equal(meta_names(m, dir, after, see, s), stop_at ? 1 : 0);
	meta_end(m);
	return s;
}

static void put_names(struct meta *m, uint64_t dir, int from, int to,
		      uint32_t epoch)
{
	meta_begin(m);
	for (int i = from; i < to; i++) {
		struct meta_name n = { .ino = 100u + (unsigned)i,
				       .epoch = epoch,
				       .type = DT_REG };
		char name[16];

		(void)snprintf(name, sizeof(name), "n%d", i);
		assert_int_equal(meta_name_put(m, dir, name, &n), 0);
	}
	meta_end(m);
}

static void test_names_walk(void **state)
{
	struct meta *m = meta_test_open(*state);
	struct seen *s, *half;

	put_names(m, 7, 0, 1000, 1);
	put_names(m, 6, 0, 3, 1); /* neighbours, not to be seen */
	put_names(m, 8, 0, 3, 1);
	s = walk(m, 7, 0, 0);
	assert_int_equal(s->n, 1000);
	for (size_t i = 1; i < s->n; i++)
		assert_true(s->offset[i] > s->offset[i - 1]);
	half = walk(m, 7, s->offset[499], 0);
	assert_int_equal(half->n, 500);
	assert_string_equal(half->name[0], s->name[500]);
	free(half);
	half = walk(m, 7, 0, 10);
	assert_int_equal(half->n, 10);
	free(half);
	half = walk(m, 7, INT64_MAX, 0);
	assert_int_equal(half->n, 0);
	free(half);
	half = walk(m, 9, 0, 0);
	assert_int_equal(half->n, 0);
	free(half);
	free(s);
	meta_close(m);
}

/* A reader is in the middle; names come and go; those that stay are seen once,
 * in the same order, also after reopening. */
static void test_names_order_is_stable(void **state)
{
	struct meta *m = meta_test_open(*state);
	struct seen *before, *first, *rest;
	char name[16];

	put_names(m, 7, 0, 1000, 1);
	before = walk(m, 7, 0, 0);
	first = walk(m, 7, 0, 400);
	meta_begin(m);
	for (int i = 0; i < 1000; i += 2) {
		(void)snprintf(name, sizeof(name), "n%d", i);
		assert_int_equal(meta_name_del(m, 7, name), 0);
		assert_int_equal(meta_name_del(m, 7, name), -ENOENT);
	}
	meta_end(m);
	put_names(m, 7, 2000, 3000, 1);
	meta_close(m);
	m = meta_test_open(*state);
	rest = walk(m, 7, first->offset[399], 0);
	for (size_t i = 400, j = 0; i < before->n; i++) {
		if (strtol(before->name[i] + 1, NULL, 10) % 2 == 0)
			continue; /* deleted */
		while (strtol(rest->name[j] + 1, NULL, 10) >= 2000)
			j++; /* new */
		assert_string_equal(rest->name[j], before->name[i]);
		assert_int_equal(rest->offset[j], before->offset[i]);
		j++;
	}
	free(before);
	free(first);
	free(rest);
	meta_close(m);
}

static uint64_t few_offsets(const struct meta_keys *k, const char *name,
			    size_t len)
{
	return META_OFFSET_MIN + (uint64_t)name[len - 1] % 3;
}

static void test_names_with_equal_offsets(void **state)
{
	struct meta *m = meta_test_open(*state);
	struct meta_name got;
	struct seen *s, *rest;
	size_t i;

	m->name_offset = few_offsets;
	put_names(m, 7, 0, 30, 1);
	s = walk(m, 7, 0, 0);
	assert_int_equal(s->n, 30);
	for (i = 1; i < s->n; i++)
		assert_true(s->offset[i] >= s->offset[i - 1]);
	for (i = 0; s->offset[i] == s->offset[0]; i++)
		;
	rest = walk(m, 7, s->offset[0], 0);
	assert_int_equal(rest->n, s->n - i);
	meta_begin(m);
	assert_int_equal(meta_name_get(m, 7, "n3", &got), 0);
	assert_int_equal(got.ino, 103);
	assert_int_equal(meta_name_del(m, 7, "n3"), 0);
	assert_int_equal(meta_name_get(m, 7, "n3", &got), -ENOENT);
	assert_int_equal(meta_name_get(m, 7, "n6", &got), 0);
	assert_int_equal(got.ino, 106);
	meta_end(m);
	free(s);
	free(rest);
	meta_close(m);
}

static void test_names_purge(void **state)
{
	struct meta *m = meta_test_open(*state);
	struct seen *s;

	put_names(m, 7, 0, 4000, 1);
	put_names(m, 6, 0, 3, 1);
	put_names(m, 8, 0, 3, 1);
	put_names(m, 7, 100, 200, 2); /* confirmed */
	meta_begin(m);
	assert_int_equal(meta_names_purge(m, 7, 2), 0);
	meta_end(m);
	s = walk(m, 7, 0, 0);
	assert_int_equal(s->n, 100);
	for (size_t i = 0; i < s->n; i++)
		assert_in_range(strtol(s->name[i] + 1, NULL, 10), 100, 199);
	free(s);
	s = walk(m, 6, 0, 0);
	assert_int_equal(s->n, 3);
	free(s);
	s = walk(m, 8, 0, 0);
	assert_int_equal(s->n, 3);
	free(s);
	meta_close(m);
}

static void test_negative_entries(void **state)
{
	struct meta_name in = { .epoch = 4, .absent = true }, out;
	struct meta *m = meta_test_open(*state);

	meta_begin(m);
	assert_int_equal(meta_name_put(m, 7, "none", &in), 0);
	assert_int_equal(meta_name_get(m, 7, "none", &out), 0);
	assert_true(out.absent);
	assert_int_equal(out.epoch, 4);
	in = (struct meta_name){ .ino = 9, .epoch = 5, .type = DT_DIR };
	assert_int_equal(meta_name_put(m, 7, "none", &in), 0);
	assert_int_equal(meta_name_get(m, 7, "none", &out), 0);
	assert_false(out.absent);
	assert_int_equal(out.ino, 9);
	meta_end(m);
	meta_close(m);
}

static void test_name_lengths(void **state)
{
	struct meta_name in = { .ino = 9, .type = DT_REG }, out;
	struct meta *m = meta_test_open(*state);
	char longest[NAME_BYTES_MAX + 2];

	memset(longest, 'x', sizeof(longest));
	longest[NAME_BYTES_MAX + 1] = '\0';
	meta_begin(m);
	assert_int_equal(meta_name_put(m, 7, "", &in), -EINVAL);
	assert_int_equal(meta_name_put(m, 7, longest, &in), -ENAMETOOLONG);
	longest[NAME_BYTES_MAX] = '\0';
	assert_int_equal(meta_name_put(m, 7, longest, &in), 0);
	assert_int_equal(meta_name_get(m, 7, longest, &out), 0);
	longest[NAME_BYTES_MAX - 1] = '\0';
	assert_int_equal(meta_name_get(m, 7, longest, &out), -ENOENT);
	meta_end(m);
	meta_close(m);
}

/* More names than fit a transaction, in one bracket. */
static void test_forgets_a_directory(void **state)
{
	struct meta *m = meta_test_open(*state);
	struct meta_inode out;
	struct seen *s;

	meta_test_put(m, 7, S_IFDIR);
	put_names(m, 7, 0, 3 * META_OPS_MAX, 1);
	put_names(m, 8, 0, 3, 1);
	meta_begin(m);
	assert_int_equal(meta_forget(m, 7), 0);
	assert_int_equal(meta_get(m, 7, &out), -ENOENT);
	meta_end(m);
	s = walk(m, 7, 0, 0);
	assert_int_equal(s->n, 0);
	free(s);
	s = walk(m, 8, 0, 0);
	assert_int_equal(s->n, 3);
	free(s);
	meta_close(m);
}

static void test_targets_go_with_their_inode_and_version(void **state)
{
	struct meta *m = meta_test_open(*state);
	struct meta_inode n = meta_test_inode(70, S_IFLNK);
	char longest[META_TARGET_MAX + 2], *got;

	memset(longest, 'x', sizeof(longest));
	longest[META_TARGET_MAX + 1] = '\0';
	meta_begin(m);
	assert_int_equal(meta_put(m, &n), 0);
	assert_int_equal(meta_target_get(m, &n, &got), -ENOENT);
	assert_int_equal(meta_target_put(m, &n, ""), -EINVAL);
	assert_int_equal(meta_target_put(m, &n, longest), -EINVAL);
	assert_int_equal(meta_target_put(m, &n, "../usr/lib"), 0);
	meta_end(m);
	meta_close(m);

	m = meta_test_open(*state);
	meta_begin(m);
	assert_int_equal(meta_target_get(m, &n, NULL), 0);
	assert_int_equal(meta_target_get(m, &n, &got), 0);
	assert_string_equal(got, "../usr/lib");
	free(got);
	n.server_mtime.tv_nsec--; /* another version */
	assert_int_equal(meta_target_get(m, &n, &got), -ENOENT);
	longest[META_TARGET_MAX] = '\0';
	assert_int_equal(meta_target_put(m, &n, longest), 0);
	assert_int_equal(meta_target_get(m, &n, &got), 0);
	assert_string_equal(got, longest);
	free(got);
	assert_int_equal(meta_forget(m, n.ino), 0);
	assert_int_equal(meta_target_get(m, &n, &got), -ENOENT);
	meta_end(m);
	meta_close(m);
}

RUN_TESTS(RUN_TEST_DIR(test_keeps_over_reopen),
	  RUN_TEST_DIR(test_targets_go_with_their_inode_and_version),
	  RUN_TEST_DIR(test_keeps_what_was_synced_over_a_crash),
	  RUN_TEST_DIR(test_commits_by_itself),
	  RUN_TEST_DIR(test_never_gives_a_number_twice),
	  RUN_TEST_DIR(test_stamps_grow_over_mounts), RUN_TEST_DIR(test_counts),
	  RUN_TEST_DIR(test_finds_by_handle),
	  RUN_TEST_DIR(test_finds_by_alternate_handle),
	  RUN_TEST_DIR(test_index_goes_with_the_last_put),
	  RUN_TEST_DIR(test_does_not_index_without_handle),
	  RUN_TEST_DIR(test_names_walk),
	  RUN_TEST_DIR(test_names_order_is_stable),
	  RUN_TEST_DIR(test_names_with_equal_offsets),
	  RUN_TEST_DIR(test_names_purge), RUN_TEST_DIR(test_negative_entries),
	  RUN_TEST_DIR(test_name_lengths),
	  RUN_TEST_DIR(test_forgets_a_directory))

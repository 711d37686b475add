/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_blob.c: the content cache when all goes well: what is written is read
 * back, of that version only, across openings, and within the bound. */
#include "test_blob.h"

/* ---- round trips ---- */

static const uint64_t sizes[] = { 1,
				  2,
				  15,
				  16,
				  17,
				  63,
				  64,
				  65,
				  4095,
				  4096,
				  4097,
				  100000,
				  BLOB_CHUNK_BYTES - 1,
				  BLOB_CHUNK_BYTES,
				  BLOB_CHUNK_BYTES + 1,
				  2 * BLOB_CHUNK_BYTES - 1,
				  2 * BLOB_CHUNK_BYTES,
				  2 * BLOB_CHUNK_BYTES + 1,
				  BLOB_TEST_MAX };

static void check_sizes(struct blob *b)
{
	for (unsigned i = 0; i < 2 * ARRAY_LEN(sizes); i++) {
		struct blob_version v = blob_test_version(sizes[i / 2], i);

		assert_int_equal(blob_test_read(b, 100 + i, &v), 1);
		assert_true(blob_has(b, 100 + i, &v, 0, v.size));
	}
}

static void test_sizes(void **state)
{
	struct blob *b = blob_test_open(*state);
	struct blob_stats s;

	for (unsigned i = 0; i < 2 * ARRAY_LEN(sizes); i++) {
		struct blob_version v = blob_test_version(sizes[i / 2], i);

		assert_false(blob_has(b, 100 + i, &v, 0, v.size));
		assert_int_equal(blob_test_read(b, 100 + i, &v), 0);
		assert_int_equal(blob_test_write(b, 100 + i, &v), 0);
		assert_int_equal(blob_test_read(b, 100 + i, &v), 1);
	}
	check_sizes(b);
	blob_flush(b);
	check_sizes(b);
	blob_get_stats(b, &s);
	assert_int_equal(s.refused, 0);
	assert_int_equal(s.damaged, 0);
	assert_int_equal(s.queued, 0);
	assert_true(s.stored_bytes < s.written_bytes * 6 / 10);
	assert_true(s.stored_bytes > s.written_bytes * 4 / 10);
	blob_close(b);
	b = blob_test_open(*state);
	check_sizes(b);
	blob_close(b);
}

static void test_parts(void **state)
{
	struct blob *b = blob_test_open(*state);
	struct blob_version v = blob_test_version(BLOB_TEST_MAX - 100, 0);
	uint64_t rnd = run_seed();

	for (uint64_t ino = 4; ino < 6; ino++) {
		assert_int_equal(blob_test_write(b, ino, &v), 0);
		for (unsigned i = 0; i < 400; i++) {
			uint64_t at = run_random(&rnd) % (v.size + 1000);
			uint32_t len =
				(uint32_t)(run_random(&rnd) % BLOB_TEST_MAX);

			if (i == 200)
				blob_flush(b);
			assert_int_equal(blob_test_part(b, ino, &v, at, len),
					 1);
			assert_true(blob_has(b, ino, &v, at, len));
		}
	}
	blob_close(b);
}

static void test_empty_and_behind_the_end(void **state)
{
	struct blob *b = blob_test_open(*state);
	struct blob_version v = blob_test_version(0, 0);
	uint8_t byte = 0;
	uint32_t n = 7;

	assert_int_equal(blob_test_put(b, 5, &v, 0, &byte, 1), 0);
	assert_int_equal(blob_test_get(b, 5, &v, 0, &byte, 1, &n), 0);
	assert_int_equal(n, 0);
	v = blob_test_version(UINT64_MAX, 0);
	assert_int_equal(blob_test_get(b, 5, &v, UINT64_MAX - 1, &byte, 1, &n),
			 -ENOENT);
	assert_int_equal(blob_test_put(b, 5, &v, UINT64_MAX - 1, &byte, 1), 0);
	assert_false(blob_has(b, 5, &v, 0, UINT64_MAX));
	blob_drop(b, 5, &v);
	blob_close(b);
}

/* Only whole chunks are kept; reading stops before one that is missing. */
static void test_gaps(void **state)
{
	struct blob *b = blob_test_open(*state);
	struct blob_version v = blob_test_version(BLOB_TEST_MAX, 0);
	uint8_t *data = malloc(BLOB_TEST_MAX);
	uint32_t n = 0;

	blob_test_fill(5, &v, 0, data, BLOB_TEST_MAX);
	assert_int_equal(
		blob_test_put(b, 5, &v, 100, data + 100, 2 * BLOB_CHUNK_BYTES), 0);
	blob_flush(b);
	assert_int_equal(blob_test_part(b, 5, &v, 0, 10), 0);
	assert_int_equal(blob_test_part(b, 5, &v, BLOB_CHUNK_BYTES, 10), 1);
	assert_int_equal(blob_test_part(b, 5, &v, 2 * BLOB_CHUNK_BYTES, 1), 0);
	assert_int_equal(blob_test_put(b, 5, &v, 0, data, BLOB_CHUNK_BYTES), 0);
	assert_int_equal(blob_test_get(b, 5, &v, 50, data, BLOB_TEST_MAX - 50, &n),
			 0);
	assert_int_equal(n, 2 * BLOB_CHUNK_BYTES - 50);
	assert_true(blob_has(b, 5, &v, 50, n));
	assert_false(blob_has(b, 5, &v, 50, n + 1));
	free(data);
	blob_close(b);
}

/* ---- versions ---- */

static void test_versions(void **state)
{
	struct blob *b = blob_test_open(*state);
	struct blob_version v = blob_test_version(5000, 0), other[5];

	for (unsigned i = 0; i < ARRAY_LEN(other); i++)
		other[i] = v;
	other[0].size++;
	other[1].mtime.tv_sec++;
	other[2].mtime.tv_nsec++;
	other[3].ctime.tv_sec++;
	other[4].ctime.tv_nsec++;
	assert_int_equal(blob_test_write(b, 5, &v), 0);
	for (unsigned turn = 0; turn < 2; turn++) {
		for (unsigned i = 0; i < ARRAY_LEN(other); i++)
			assert_int_equal(
				blob_test_part(b, 5, &other[i], 0, 100), 0);
		assert_int_equal(blob_test_read(b, 5, &v), 1);
		blob_flush(b);
	}
	for (unsigned i = 0; i < ARRAY_LEN(other); i++) {
		assert_int_equal(blob_test_write(b, 5, &other[i]), 0);
		if (i % 2)
			blob_flush(b);
		assert_int_equal(blob_test_read(b, 5, &other[i]), 1);
	}
	blob_flush(b);
	assert_int_equal(blob_test_read(b, 5, &v), 0);
	assert_int_equal(blob_test_read(b, 5, &other[3]), 0);
	assert_int_equal(blob_test_read(b, 5, &other[4]), 1);
	blob_close(b);
}

/* What was written last of one version is what is here. */
static void test_overwrite(void **state)
{
	struct blob *b = blob_test_open(*state);
	struct blob_version v = blob_test_version(1000, 0);
	uint8_t data[1000], got[1000];
	uint32_t n = 0;

	for (unsigned i = 0; i < 20; i++) {
		memset(data, (int)i, sizeof(data));
		assert_int_equal(blob_test_put(b, 5, &v, 0, data, 1000), 0);
		if (i % 3 == 0)
			blob_flush(b);
		assert_int_equal(blob_test_get(b, 5, &v, 0, got, 1000, &n), 0);
		assert_int_equal(n, 1000);
		assert_memory_equal(got, data, 1000);
	}
	blob_close(b);
}

static void test_drop(void **state)
{
	struct blob *b = blob_test_open(*state);
	struct blob_version v = blob_test_version(BLOB_TEST_MAX, 0);

	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(blob_test_write(b, 5, &v), 0);
		assert_int_equal(blob_test_write(b, 6, &v), 0);
		if (i % 2)
			blob_flush(b);
		blob_drop(b, 5, &v);
		assert_int_equal(blob_test_read(b, 5, &v), 0);
		blob_flush(b);
		assert_int_equal(blob_test_read(b, 5, &v), 0);
		assert_int_equal(blob_test_part(b, 5, &v, BLOB_CHUNK_BYTES, 1),
				 0);
		assert_int_equal(blob_test_read(b, 6, &v), 1);
	}
	blob_close(b);
}

/* ---- room ---- */

static void assert_within(struct blob *b, const char *dir)
{
	struct blob_stats s;

	blob_flush(b);
	blob_get_stats(b, &s);
	assert_true(s.bytes <= s.bytes_max);
	assert_true(blob_test_dir_bytes(dir) <= s.bytes_max);
}

/* Five times the bound goes through; the newest is here, the oldest is not. */
static void test_bound(void **state)
{
	enum { MAX_BYTES = 16 << 20, FILES = 2000 };
	struct blob *b = blob_test_open_max(*state, MAX_BYTES);
	struct blob_version v = blob_test_version(40000, 0);
	unsigned here = 0;

	for (unsigned i = 0; i < FILES; i++) {
		assert_int_equal(blob_test_write(b, 2 * i + 1, &v), 0);
		if (i % 100 == 99)
			assert_within(b, *state);
		assert_int_equal(blob_test_read(b, 2 * i + 1, &v), 1);
	}
	for (unsigned i = 0; i < FILES; i++) {
		int r = blob_test_read(b, 2 * i + 1, &v);

		assert_true(r >= 0);
		assert_true(i < FILES - 150 || r == 1);
		here += r == 1;
	}
	assert_true((uint64_t)here * 40000 > MAX_BYTES * 3 / 4);
	blob_close(b);
	b = blob_test_open_max(*state, MAX_BYTES / 2); /* less from now on */
	assert_within(b, *state);
	assert_int_equal(blob_test_read(b, 2 * FILES - 1, &v), 1);
	blob_close(b);
	b = blob_test_open_max(*state, 0);
	assert_int_equal(blob_test_write(b, 5, &v), -ENOSPC);
	assert_int_equal(blob_test_read(b, 2 * FILES - 1, &v), 0);
	blob_close(b);
}

/* Many tiny files: the index grows, and stays within its part. */
static void test_tiny_files(void **state)
{
	enum { MAX_BYTES = 8 << 20, FILES = 60000 };
	struct blob *b = blob_test_open_max(*state, MAX_BYTES);
	struct blob_version v = blob_test_version(20, 0);
	unsigned here = 0;

	for (unsigned i = 0; i < FILES; i++) {
		while (blob_test_write(b, i, &v) == -EAGAIN)
			blob_flush(b);
	}
	assert_within(b, *state);
	for (unsigned i = 0; i < FILES; i++) {
		int r = blob_test_read(b, i, &v);

		assert_true(r >= 0);
		here += r == 1;
	}
	assert_true(b->index->buckets > 64);
	assert_true(here > b->index->buckets * BLOB_BUCKET_SLOTS * 3 / 4);
	blob_close(b);
}

/* What is read all the time stays, though it is the oldest. */
static void test_second_chance(void **state)
{
	struct blob *b = blob_test_open_max(*state, 16 << 20);
	struct blob_version v = blob_test_version(40000, 0);
	struct blob_stats s;

	for (unsigned i = 0; i < 2000; i++) {
		assert_int_equal(blob_test_write(b, 2 * i + 1, &v), 0);
		for (unsigned k = 0; i % 20 == 19 && k < 6; k++)
			assert_int_equal(blob_test_read(b, 2 * k + 1, &v), 1);
		if (i == 1000) { /* what is read is remembered */
			blob_close(b);
			b = blob_test_open_max(*state, 16 << 20);
		}
		if (i % 100 == 99)
			assert_within(b, *state);
	}
	blob_get_stats(b, &s);
	assert_true(s.kept >= 6);
	assert_true(s.evicted_bytes > 0);
	blob_close(b);
}

/* All of it is read, so not all of it can stay; it makes way nevertheless. */
static void test_all_in_use(void **state)
{
	struct blob *b = blob_test_open_max(*state, 16 << 20);
	struct blob_version v = blob_test_version(40000, 0);

	for (unsigned i = 0; i < 1500; i++) {
		assert_int_equal(blob_test_write(b, 2 * i + 1, &v), 0);
		blob_flush(b);
		assert_int_equal(blob_test_read(b, 2 * i + 1, &v), 1);
	}
	assert_within(b, *state);
	for (unsigned i = 1400; i < 1500; i++)
		assert_int_equal(blob_test_read(b, 2 * i + 1, &v), 1);
	blob_close(b);
}

static void test_keeps_disk_free(void **state)
{
	struct blob_options o = { 64 << 20, UINT64_MAX };
	struct blob_version v = blob_test_version(5000, 0);
	struct blob *b;

	assert_int_equal(blob_open(*state, BLOB_TEST_OWNER, &o, &b), 0);
	assert_int_equal(blob_test_write(b, 5, &v), 0);
	blob_flush(b);
	assert_int_equal(blob_test_read(b, 5, &v), 0);
	assert_int_equal(blob_test_write(b, 5, &v), -ENOSPC); /* known by now */
	blob_close(b);
}

/* ---- all of it ---- */

struct seen {
	uint64_t files, chunks, last;
};

static int see(void *arg, const struct blob_file *f)
{
	struct seen *s = arg;

	assert_true(f->ino > s->last);
	assert_true(f->bytes > 0);
	s->last = f->ino;
	s->files++;
	s->chunks += f->chunks;
	return s->files == 1000;
}

static void test_walk_check_clear(void **state)
{
	struct blob *b = blob_test_open(*state);
	struct blob_version v = blob_test_version(BLOB_CHUNK_BYTES + 5, 0);
	struct seen s = { 0 };
	struct blob_check c;
	struct blob_stats st;

	for (unsigned i = 1; i <= 100; i++) {
		assert_int_equal(blob_test_write(b, i, &v), 0);
		if (i % 30 == 0)
			blob_flush(b);
	}
	blob_flush(b);
	assert_int_equal(blob_walk(b, see, &s), 0);
	assert_int_equal(s.files, 100);
	assert_int_equal(s.chunks, 200);
	s = (struct seen){ .files = 999 };
	assert_int_equal(blob_walk(b, see, &s), 1);
	assert_int_equal(blob_check(b, NULL, NULL, &c), 0);
	assert_int_equal(c.chunks, 200);
	assert_int_equal(c.damaged, 0);
	assert_int_equal(blob_test_write(b, 101, &v), 0);
	blob_clear(b);
	for (unsigned i = 1; i <= 101; i++)
		assert_int_equal(blob_test_read(b, i, &v), 0);
	blob_get_stats(b, &st);
	assert_int_equal(st.packs, 0);
	assert_int_equal(st.queued, 0);
	assert_int_equal(blob_test_write(b, 5, &v), 0);
	blob_close(b);
	b = blob_test_open(*state);
	assert_int_equal(blob_test_read(b, 5, &v), 1);
	assert_int_equal(blob_test_read(b, 6, &v), 0);
	blob_close(b);
}

/* Short mounts do not each leave a pack. */
static void test_goes_on_in_the_same_pack(void **state)
{
	struct blob_version v = blob_test_version(100, 0);
	struct blob_stats s;
	struct blob *b;

	for (unsigned i = 1; i <= 20; i++) {
		b = blob_test_open(*state);
		assert_int_equal(blob_test_write(b, i, &v), 0);
		blob_close(b);
	}
	b = blob_test_open(*state);
	blob_get_stats(b, &s);
	assert_int_equal(s.packs, 1);
	for (unsigned i = 1; i <= 20; i++)
		assert_int_equal(blob_test_read(b, i, &v), 1);
	blob_close(b);
}

static int stop_at(void *arg, const struct blob_check *so_far)
{
	const uint64_t *n = arg;

	return so_far->chunks == *n ? -ECANCELED : 0;
}

/* Who only looks after it need not know whose it is, and changes nothing. */
static void test_opened_as_it_is(void **state)
{
	const struct blob_options o = { .bytes_max = UINT64_C(64) << 20 };
	struct blob_version v = blob_test_version(100, 0);
	struct blob_check c = { 0 };
	uint64_t n = 7;
	struct blob *b;

	assert_int_equal(blob_open(*state, NULL, &o, &b), -ENOENT);
	b = blob_test_open(*state);
	for (unsigned i = 1; i <= 20; i++)
		assert_int_equal(blob_test_write(b, i, &v), 0);
	blob_close(b);
	assert_int_equal(blob_open(*state, NULL, &o, &b), 0);
	assert_int_equal(blob_check(b, stop_at, &n, &c), -ECANCELED);
	assert_int_equal(c.chunks, 0);
	assert_int_equal(blob_check(b, NULL, NULL, &c), 0);
	assert_int_equal(c.chunks, 20);
	assert_int_equal(c.damaged, 0);
	blob_close(b);
	b = blob_test_open(*state);
	for (unsigned i = 1; i <= 20; i++)
		assert_int_equal(blob_test_read(b, i, &v), 1);
	blob_close(b);
}

RUN_TESTS(RUN_TEST_DIR(test_sizes), RUN_TEST_DIR(test_parts),
	  RUN_TEST_DIR(test_empty_and_behind_the_end), RUN_TEST_DIR(test_gaps),
	  RUN_TEST_DIR(test_versions), RUN_TEST_DIR(test_overwrite),
	  RUN_TEST_DIR(test_drop), RUN_TEST_DIR(test_bound),
	  RUN_TEST_DIR(test_tiny_files), RUN_TEST_DIR(test_second_chance),
	  RUN_TEST_DIR(test_all_in_use), RUN_TEST_DIR(test_keeps_disk_free),
	  RUN_TEST_DIR(test_walk_check_clear), RUN_TEST_DIR(test_opened_as_it_is),
	  RUN_TEST_DIR(test_goes_on_in_the_same_pack))

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_wback_rec.c: the records of the write-back log as bytes: whatever goes in
 * comes out, and no other bytes are taken for a record. */
#include "run.h"

#include "../cache/wback_rec.h"

static const struct sip_key key = { 0x0123456789abcdef, 0xfedcba9876543210 };

static struct wback_ref a_ref(uint64_t *seed, bool known)
{
	struct wback_ref r = {
		.ino = run_random(seed), .parent = run_random(seed),
		.mode = S_IFREG | 0644, .nlink = (uint32_t)run_random(seed),
	};

	if (!known)
		return r;
	r.fh.len = (uint8_t)(1 + run_random(seed) % HANDLE_BYTES_MAX);
	for (unsigned k = 0; k < r.fh.len; k++)
		r.fh.data[k] = (uint8_t)run_random(seed);
	r.fsid = run_random(seed);
	r.fileid = run_random(seed);
	r.size = run_random(seed);
	r.mtime = (struct timespec){ -1, 999999999 };
	return r;
}

/* Every field is set; which of them a type keeps is compared below. */
static struct rec a_rec(enum rec_type type, uint64_t seed)
{
	static char name[NAME_BYTES_MAX + 1], target[REC_TARGET_MAX + 1];
	struct rec r = { .type = type, .seq = run_random(&seed),
			 .durable = run_random(&seed) };

	memset(name, 'n', NAME_BYTES_MAX);
	memset(target, 't', REC_TARGET_MAX);
	r.obj = a_ref(&seed, seed & 1);
	r.dir = a_ref(&seed, seed & 2);
	r.newdir = a_ref(&seed, seed & 4);
	r.replaced = a_ref(&seed, seed & 8);
	r.name = seed & 16 ? "a" : name;
	r.newname = seed & 32 ? "new name\n" : name;
	r.target = seed & 64 ? target : seed & 128 ? "../x" : NULL;
	r.mask = (unsigned)run_random(&seed) & 127;
	r.attr = (struct attr){
		.mode = 0644, .uid = 1, .gid = UINT32_MAX, .size = UINT64_MAX,
		.rdev_major = 8, .rdev_minor = 1,
		.atime = { 1, 2 }, .mtime = { INT64_MAX, 999999999 },
	};
	r.now = (struct timespec){ 1700000000, 5 };
	r.offset = run_random(&seed);
	r.seen_size = run_random(&seed);
	r.len = type == REC_WRITE ? 4096 : 0;
	r.data_check = run_random(&seed);
	r.id = run_random(&seed);
	r.error = -ENOSPC;
	r.when = -7;
	return r;
}

/* Two records are the same if they are the same bytes: the encoder leaves out
 * nothing that its type has. */
static void expect_same(const struct rec *a, const struct rec *b)
{
	uint8_t x[REC_BYTES_MAX], y[REC_BYTES_MAX];
	int n = rec_encode(&key, a, x);

	assert_true(n > 0);
	assert_int_equal(rec_encode(&key, b, y), n);
	assert_memory_equal(x, y, (size_t)n);
}

static void test_what_goes_in_comes_out(void **state)
{
	(void)state;
	for (int type = REC_MAKE; type < REC_TYPES; type++)
		for (uint64_t seed = 1; seed < 300; seed++) {
			struct rec in = a_rec((enum rec_type)type, seed), out;
			uint8_t bytes[REC_BYTES_MAX];
			int n = rec_encode(&key, &in, bytes);

			assert_true(n >= REC_HEAD_BYTES && n % 8 == 0);
			assert_int_equal(rec_decode(&key, bytes, (size_t)n,
						    &out), n);
			assert_int_equal(out.type, type);
			assert_int_equal(out.seq, in.seq);
			assert_int_equal(out.durable, in.durable);
			assert_int_equal(out.len, in.len);
			expect_same(&in, &out);
		}
}

static void test_each_field_of_a_rename_is_kept(void **state)
{
	struct rec in = a_rec(REC_RENAME, 15), out;
	uint8_t bytes[REC_BYTES_MAX];
	int n = rec_encode(&key, &in, bytes);

	(void)state;
	assert_int_equal(rec_decode(&key, bytes, sizeof(bytes), &out), n);
	assert_memory_equal(&out.obj.fh, &in.obj.fh, 1 + in.obj.fh.len);
	assert_int_equal(out.replaced.ino, in.replaced.ino);
	assert_int_equal(out.newdir.parent, in.newdir.parent);
	assert_int_equal(out.dir.nlink, in.dir.nlink);
	assert_string_equal(out.name, in.name);
	assert_string_equal(out.newname, in.newname);
	assert_int_equal(out.now.tv_sec, in.now.tv_sec);
}

static void test_what_is_too_long_is_refused(void **state)
{
	char longer[REC_TARGET_MAX + 2];
	struct rec r = a_rec(REC_MAKE, 1);
	uint8_t bytes[REC_BYTES_MAX];

	(void)state;
	memset(longer, 'x', sizeof(longer));
	longer[REC_TARGET_MAX + 1] = 0;
	r.target = longer;
	assert_int_equal(rec_encode(&key, &r, bytes), -ENAMETOOLONG);
	r.target = NULL;
	r.name = longer + REC_TARGET_MAX - NAME_BYTES_MAX;
	assert_int_equal(rec_encode(&key, &r, bytes), -ENAMETOOLONG);
}

static void test_truncated_is_no_record(void **state)
{
	(void)state;
	for (int type = REC_MAKE; type < REC_TYPES; type++) {
		struct rec r = a_rec((enum rec_type)type, 77);
		uint8_t bytes[REC_BYTES_MAX];
		int n = rec_encode(&key, &r, bytes);

		for (int len = 0; len < n; len++) {
			/* Of its own size, so that reading on is seen. */
			uint8_t *part = malloc((size_t)len + 1);

			memcpy(part, bytes, (size_t)len);
			assert_int_equal(rec_decode(&key, part, (size_t)len,
						    &r), -EBADMSG);
			free(part);
		}
	}
}

/* Also what a loss of power leaves: the rest reads as zeros. */
static void test_cut_off_by_zeros_is_no_record(void **state)
{
	struct rec r = a_rec(REC_RENAME, 77);
	uint8_t bytes[REC_BYTES_MAX], cut[REC_BYTES_MAX];
	int n = rec_encode(&key, &r, bytes);

	(void)state;
	for (int len = 0; len < n; len++) {
		memcpy(cut, bytes, (size_t)n);
		memset(cut + len, 0, (size_t)(n - len));
		if (memcmp(cut, bytes, (size_t)n) == 0)
			continue; /* the padding */
		assert_int_equal(rec_decode(&key, cut, (size_t)n, &r),
				 len == 0 ? 0 : -EBADMSG);
	}
}

static void test_every_bit_counts(void **state)
{
	(void)state;
	for (int type = REC_MAKE; type < REC_TYPES; type++) {
		struct rec in = a_rec((enum rec_type)type, 200), out;
		uint8_t bytes[REC_BYTES_MAX];
		int n = rec_encode(&key, &in, bytes);

		for (int bit = 0; bit < 8 * n; bit++) {
			bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_int_equal(rec_decode(&key, bytes, (size_t)n,
						    &out), -EBADMSG);
			bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	}
}

static void test_random_bytes_are_no_record(void **state)
{
	uint64_t seed = run_seed(), word;
	uint8_t bytes[512];
	struct rec r;

	(void)state;
	for (unsigned k = 0; k < 100000; k++) {
		for (size_t n = 0; n < sizeof(bytes); n += sizeof(word)) {
			word = run_random(&seed);
			memcpy(bytes + n, &word, sizeof(word));
		}
		memset(bytes + 6, 0, 2); /* a length that may be right */
		assert_int_equal(rec_decode(&key, bytes,
					    word % sizeof(bytes), &r),
				 -EBADMSG);
	}
}

static void test_another_logs_records_are_none(void **state)
{
	const struct sip_key other = { 1, 2 };
	struct rec r = a_rec(REC_MAKE, 9);
	uint8_t bytes[REC_BYTES_MAX];
	int n = rec_encode(&key, &r, bytes);

	(void)state;
	assert_int_equal(rec_decode(&other, bytes, (size_t)n, &r), -EBADMSG);
}

static void test_zeros_are_the_end(void **state)
{
	uint8_t zeros[64] = { 0 };
	struct rec r;

	(void)state;
	assert_int_equal(rec_decode(&key, zeros, sizeof(zeros), &r), 0);
	assert_int_equal(rec_decode(&key, zeros, 7, &r), -EBADMSG);
}

RUN_TESTS(cmocka_unit_test(test_what_goes_in_comes_out),
	  cmocka_unit_test(test_each_field_of_a_rename_is_kept),
	  cmocka_unit_test(test_what_is_too_long_is_refused),
	  cmocka_unit_test(test_truncated_is_no_record),
	  cmocka_unit_test(test_cut_off_by_zeros_is_no_record),
	  cmocka_unit_test(test_every_bit_counts),
	  cmocka_unit_test(test_random_bytes_are_no_record),
	  cmocka_unit_test(test_another_logs_records_are_none),
	  cmocka_unit_test(test_zeros_are_the_end))

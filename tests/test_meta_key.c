/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_meta_key.c: the metadata cache's records: what is written is read back,
 * and nothing else is taken for a record. */
#include "test_meta.h"

#include <endian.h>

static struct meta_keys keys(void)
{
	uint8_t secret[SIP_KEY_BYTES] = "0123456789abcde";
	struct meta_keys k;

	meta_keys_derive(secret, &k);
	return k;
}

/* The published vectors: key 00 .. 0f, input 00 01 02 ... of each length. */
static void test_hash_is_siphash_1_3(void **state)
{
	static const uint64_t want[] = { 0xabac0158050fc4dc,
					 0xc9f49bf37d57ca93 };
	uint8_t in[] = { 0 };
	struct sip_key k = { 0x0706050403020100, 0x0f0e0d0c0b0a0908 };

	for (size_t len = 0; len < ARRAY_LEN(want); len++)
		assert_true(sip_hash(&k, in, len) == want[len]);
}

static void test_offsets_are_in_range(void **state)
{
	struct meta_keys k = keys();
	char name[16];

	for (int i = 0; i < 100000; i++) {
		uint64_t o;

		(void)snprintf(name, sizeof(name), "%d", i);
		o = meta_name_offset(&k, name, strlen(name));
		assert_true(o >= META_OFFSET_MIN && o <= INT64_MAX);
	}
}

/* Every field takes small, large and extreme values. */
static uint64_t any(uint64_t *rnd)
{
	uint64_t v = run_random(rnd);

	return v >> (run_random(rnd) >> 58);
}

static struct timespec any_time(uint64_t *rnd)
{
	return (struct timespec){ (time_t)any(rnd) * (any(rnd) & 1 ? 1 : -1),
				  (long)(any(rnd) % 1000000000) };
}

static struct meta_inode any_inode(uint64_t *rnd)
{
	struct meta_inode n;
	struct attr *a = &n.attr;

	memset(&n, 0, sizeof(n));
	n.ino = any(rnd);
	n.parent = any(rnd);
	n.checked = any(rnd);
	a->fsid = any(rnd);
	a->fileid = any(rnd);
	a->size = any(rnd);
	a->used = any(rnd);
	a->atime = any_time(rnd);
	a->mtime = any_time(rnd);
	a->ctime = any_time(rnd);
	a->mode = (uint32_t)any(rnd);
	a->nlink = (uint32_t)any(rnd);
	a->uid = (uint32_t)any(rnd);
	a->gid = (uint32_t)any(rnd);
	a->rdev_major = any(rnd) & 1 ? (uint32_t)any(rnd) : 0;
	a->rdev_minor = any(rnd) & 1 ? (uint32_t)any(rnd) : 0;
	n.server_mtime = any(rnd) & 1 ? a->mtime : any_time(rnd);
	n.server_ctime = any(rnd) & 1 ? a->ctime : any_time(rnd);
	n.data_ctime = any(rnd) & 1 ? n.server_ctime : any_time(rnd);
	n.epoch = (uint32_t)any(rnd);
	n.flags = (uint32_t)any(rnd);
	n.handle.len = (uint8_t)(any(rnd) % (HANDLE_BYTES_MAX + 1));
	for (int i = 0; i < n.handle.len; i++)
		n.handle.data[i] = (uint8_t)any(rnd);
	return n;
}

static void assert_same_inode(const struct meta_inode *a,
			      const struct meta_inode *b)
{
	assert_int_equal(a->ino, b->ino);
	assert_int_equal(a->parent, b->parent);
	assert_int_equal(a->checked, b->checked);
	assert_memory_equal(&a->attr, &b->attr, sizeof(a->attr));
	assert_true(timespec_equal(&a->server_mtime, &b->server_mtime));
	assert_true(timespec_equal(&a->server_ctime, &b->server_ctime));
	assert_true(timespec_equal(&a->data_ctime, &b->data_ctime));
	assert_int_equal(a->epoch, b->epoch);
	assert_int_equal(a->flags, b->flags);
	assert_true(handle_equal(&a->handle, &b->handle));
}

static void test_inodes_round_trip(void **state)
{
	struct meta_keys k = keys();
	uint64_t rnd = run_seed();

	for (int i = 0; i < 20000; i++) {
		struct meta_inode in = any_inode(&rnd), out;
		uint8_t b[INODE_RECORD_BYTES_MAX];
		size_t len = meta_inode_encode(&k, &in, b);

		assert_in_range(len, 1, sizeof(b));
		assert_int_equal(meta_inode_decode(&k, in.ino, b, len, &out),
				 0);
		assert_same_inode(&in, &out);
		assert_int_equal(
			meta_inode_decode(&k, in.ino + 1, b, len, &out),
			-EBADMSG);
	}
}

static void test_extreme_inode_fits(void **state)
{
	struct meta_keys k = keys();
	uint8_t b[INODE_RECORD_BYTES_MAX];
	struct meta_inode in, out;
	size_t len;

	memset(&in, 0xff, sizeof(in));
	in.handle.len = HANDLE_BYTES_MAX;
	in.attr.mtime.tv_sec = INT64_MIN;
	in.attr.ctime.tv_sec = INT64_MAX;
	in.server_mtime.tv_sec = INT64_MAX;
	in.server_ctime.tv_sec = INT64_MIN;
	in.data_ctime.tv_sec = INT64_MAX;
	len = meta_inode_encode(&k, &in, b);
	assert_in_range(len, 1, sizeof(b));
	assert_int_equal(meta_inode_decode(&k, in.ino, b, len, &out), 0);
	assert_same_inode(&in, &out);
}

static void test_names_round_trip(void **state)
{
	struct meta_keys k = keys();
	uint64_t rnd = run_seed();

	for (int i = 0; i < 20000; i++) {
		uint64_t dir = any(&rnd), offset = any(&rnd);
		struct meta_name in = { .ino = any(&rnd),
					.epoch = (uint32_t)any(&rnd),
					.type = any(&rnd) % 16,
					.absent = any(&rnd) & 1 };
		struct meta_name out;
		uint8_t b[NAME_RECORD_BYTES_MAX];
		size_t len = meta_name_encode(&k, dir, offset, &in, b);

		assert_in_range(len, 1, sizeof(b));
		assert_int_equal(
			meta_name_decode(&k, dir, offset, b, len, &out), 0);
		assert_int_equal(in.ino, out.ino);
		assert_int_equal(in.epoch, out.epoch);
		assert_int_equal(in.type, out.type);
		assert_int_equal(in.absent, out.absent);
		assert_int_equal(
			meta_name_decode(&k, dir + 1, offset, b, len, &out),
			-EBADMSG);
	}
}

static void test_index_round_trip(void **state)
{
	uint64_t rnd = run_seed();

	for (int i = 0; i < 20000; i++) {
		uint8_t b[INDEX_RECORD_BYTES_MAX + 1] = { 0 };
		uint64_t in = any(&rnd), out;
		size_t len = meta_index_encode(in, b);

		assert_in_range(len, 1, INDEX_RECORD_BYTES_MAX);
		assert_int_equal(meta_index_decode(b, len, &out), 0);
		assert_int_equal(in, out);
		assert_int_equal(meta_index_decode(b, len - 1, &out), -EBADMSG);
		assert_int_equal(meta_index_decode(b, len + 1, &out), -EBADMSG);
	}
}

static void test_targets_round_trip(void **state)
{
	struct meta_keys k = keys();
	uint64_t rnd = run_seed();

	for (int i = 0; i < 20000; i++) {
		uint8_t b[TARGET_RECORD_BYTES_MAX + 1] = { 0 };
		char target[META_TARGET_MAX + 1];
		struct timespec in = any_time(&rnd), out;
		size_t n = 1 + any(&rnd) % (i % 100 ? 60 : META_TARGET_MAX);
		uint64_t ino = any(&rnd);
		const char *got;
		size_t got_n, len;

		for (size_t j = 0; j < n; j++)
			target[j] = (char)(1 + any(&rnd) % 255);
		len = meta_target_encode(&k, ino, &in, target, n, b);
		assert_in_range(len, n, TARGET_RECORD_BYTES_MAX);
		assert_int_equal(meta_target_decode(&k, ino, b, len, &out,
						    &got, &got_n), 0);
		assert_true(timespec_equal(&in, &out));
		assert_int_equal(got_n, n);
		assert_memory_equal(got, target, n);
		/* of another inode, cut, damaged */
		assert_int_equal(meta_target_decode(&k, ino + 1, b, len, &out,
						    &got, &got_n), -EBADMSG);
		assert_int_equal(meta_target_decode(&k, ino, b, len - 1, &out,
						    &got, &got_n), -EBADMSG);
		b[any(&rnd) % len] ^= (uint8_t)(1 << any(&rnd) % 8);
		assert_int_equal(meta_target_decode(&k, ino, b, len, &out,
						    &got, &got_n), -EBADMSG);
	}
}

static void test_info_round_trip(void **state)
{
	struct meta_info in = { .session = 3, .next_ino = 77 }, out;
	uint8_t b[INFO_RECORD_BYTES_MAX];
	size_t len;

	memset(in.server, 's', sizeof(in.server) - 1);
	len = meta_info_encode(&in, b);
	assert_in_range(len, 1, sizeof(b));
	assert_int_equal(meta_info_decode(b, len, &out), 0);
	assert_memory_equal(&in, &out, sizeof(in));
	for (size_t i = 0; i < len; i++)
		assert_int_equal(meta_info_decode(b, i, &out), -EBADMSG);
}

/* One byte changed, or cut short: never a record. */
static void test_damage_is_noticed(void **state)
{
	struct meta_keys k = keys();
	uint64_t rnd = run_seed();

	for (int round = 0; round < 200; round++) {
		struct meta_inode in = any_inode(&rnd), out;
		uint8_t b[INODE_RECORD_BYTES_MAX];
		size_t len = meta_inode_encode(&k, &in, b);

		for (size_t i = 0; i < len; i++) {
			uint8_t old = b[i];

			assert_int_equal(
				meta_inode_decode(&k, in.ino, b, i, &out),
				-EBADMSG);
			b[i] ^= (uint8_t)(1 + run_random(&rnd) % 255);
			assert_int_equal(
				meta_inode_decode(&k, in.ino, b, len, &out),
				-EBADMSG);
			b[i] = old;
		}
	}
}

/* Seal @b of @len bytes as if an encoder had made it. */
static size_t seal(const struct sip_key *check, uint8_t *b, size_t len)
{
	uint32_t c = htole32((uint32_t)sip_hash(check, b, len));

	memcpy(b + len, &c, sizeof(c));
	return len + sizeof(c);
}

/* Past the check: any bytes are refused, or are an inode that can be stored. */
static void test_any_bytes_are_safe(void **state)
{
	struct meta_keys k = keys();
	struct sip_key zero = { 0, 0 };
	uint64_t rnd = run_seed();
	unsigned taken = 0;

	for (int i = 0; i < 300000; i++) {
		struct meta_inode in = any_inode(&rnd), out, again;
		uint8_t b[INFO_RECORD_BYTES_MAX + 8];
		struct meta_name name;
		struct meta_info info;
		size_t len;

		in.ino = 0; /* then the record's check has the plain key */
		len = meta_inode_encode(&k, &in, b) - 4;
		for (uint64_t n = any(&rnd) % 4; n > 0; n--)
			b[any(&rnd) % len] = (uint8_t)any(&rnd);
		if (any(&rnd) & 1)
			len = any(&rnd) % (len + 1);
		(void)meta_info_decode(b, seal(&zero, b, len), &info);
		len = seal(&k.check, b, len);
		(void)meta_target_decode(&k, 1, b, len,
					 &(struct timespec){ 0 },
					 &(const char *){ NULL },
					 &(size_t){ 0 });
		(void)meta_name_decode(&k, 0, 0, b, len, &name);
		if (meta_inode_decode(&k, 0, b, len, &out) < 0)
			continue;
		taken++;
		len = meta_inode_encode(&k, &out, b);
		assert_int_equal(meta_inode_decode(&k, 0, b, len, &again), 0);
		assert_same_inode(&out, &again);
	}
	assert_true(taken > 1000); /* or it tested nothing but the check */
}

RUN_TESTS(cmocka_unit_test(test_hash_is_siphash_1_3),
	  cmocka_unit_test(test_offsets_are_in_range),
	  cmocka_unit_test(test_inodes_round_trip),
	  cmocka_unit_test(test_extreme_inode_fits),
	  cmocka_unit_test(test_names_round_trip),
	  cmocka_unit_test(test_index_round_trip),
	  cmocka_unit_test(test_targets_round_trip),
	  cmocka_unit_test(test_info_round_trip),
	  cmocka_unit_test(test_damage_is_noticed),
	  cmocka_unit_test(test_any_bytes_are_safe))

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_blob.h: what the tests of the content cache share: contents that follow
 * from number and version, so that any of it can be checked later.
 */
#pragma once

#include <dirent.h>
#include <signal.h>

#include "run.h"
#include "../cache/blob_int.h"

#define BLOB_TEST_OWNER "server:/export 1"

enum { BLOB_TEST_MAX = 3 * BLOB_CHUNK_BYTES };

static inline struct blob *blob_test_open_max(const char *dir, uint64_t max)
{
	struct blob_options o = { .bytes_max = max };
	struct blob *b = NULL;

	assert_int_equal(blob_open(dir, BLOB_TEST_OWNER, &o, &b), 0);
	assert_non_null(b);
	return b;
}

static inline struct blob *blob_test_open(const char *dir)
{
	return blob_test_open_max(dir, UINT64_C(64) << 20);
}

static inline struct blob_version blob_test_version(uint64_t size, unsigned n)
{
	return (struct blob_version){ .size = size,
				      .mtime = { 1700000000 + n, 5 },
				      .ctime = { 1700000001 + n, 999999999 } };
}

/* Even numbers have contents that compress. */
static inline void blob_test_fill(uint64_t ino, const struct blob_version *v,
				  uint64_t offset, uint8_t *buf, size_t len)
{
	uint64_t seed = ino * 1000003 + (uint64_t)v->mtime.tv_sec;

	while (len > 0) {
		uint64_t word = seed + offset / 8 / (ino % 2 ? 1 : 32);
		size_t skip = offset % 8, n = MIN(8 - skip, len);

		word *= UINT64_C(0x9e3779b97f4a7c15);
		word ^= word >> 29;
		word *= UINT64_C(0xbf58476d1ce4e5b9);
		memcpy(buf, (uint8_t *)&word + skip, n);
		buf += n;
		offset += n;
		len -= n;
	}
}

static inline int blob_test_put(struct blob *b, uint64_t ino,
				const struct blob_version *v, uint64_t offset,
				const void *data, uint32_t len)
{
	struct bytes *of = bytes_new(len);
	struct slice all = { .of = of, .len = len };
	int r;

	assert_non_null(of);
	all.at = memcpy(of->at, data, len);
	r = blob_write(b, ino, v, offset, &all);
	slice_done(&all);
	return r;
}

/* Chunk after chunk, to the end of the file or the first that is not here. */
static inline int blob_test_get(struct blob *b, uint64_t ino,
				const struct blob_version *v, uint64_t offset,
				uint8_t *buf, uint32_t len, uint32_t *ret_n)
{
	uint32_t n = 0;

	while (n < len) {
		struct slice part;
		int r = blob_read(b, ino, v, offset + n, len - n, &part);

		if (r < 0 && n == 0)
			return r;
		if (r < 0 || part.len == 0)
			break;
		assert_true(part.len <= len - n);
		memcpy(buf + n, part.at, part.len);
		n += part.len;
		slice_done(&part);
	}
	*ret_n = n;
	return 0;
}

static inline int blob_test_write(struct blob *b, uint64_t ino,
				  const struct blob_version *v)
{
	static _Thread_local uint8_t data[BLOB_TEST_MAX];

	assert_true(v->size <= sizeof(data));
	blob_test_fill(ino, v, 0, data, v->size);
	return blob_test_put(b, ino, v, 0, data, (uint32_t)v->size);
}

/* 1: the right data; 0: not here, or not all of it; -1: wrong. */
static inline int blob_test_part(struct blob *b, uint64_t ino,
				 const struct blob_version *v, uint64_t offset,
				 uint32_t len)
{
	static _Thread_local uint8_t got[BLOB_TEST_MAX], want[BLOB_TEST_MAX];
	uint32_t n = 0;
	uint64_t left = offset < v->size ? v->size - offset : 0;
	int r = blob_test_get(b, ino, v, offset, got, len, &n);

	if (r == -ENOENT)
		return 0;
	if (r < 0 || n > len)
		return -1;
	blob_test_fill(ino, v, offset, want, n);
	if (memcmp(got, want, n) != 0)
		return -1;
	return n == MIN((uint64_t)len, left);
}

static inline int blob_test_read(struct blob *b, uint64_t ino,
				 const struct blob_version *v)
{
	return blob_test_part(b, ino, v, 0, (uint32_t)v->size);
}

/* The bytes of all files in @dir. */
static inline uint64_t blob_test_dir_bytes(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	struct stat st;
	uint64_t n = 0;

	assert_non_null(d);
	while ((e = readdir(d)))
		if (fstatat(dirfd(d), e->d_name, &st, 0) == 0 &&
		    S_ISREG(st.st_mode))
			n += (uint64_t)st.st_size;
	(void)closedir(d);
	return n;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* meta_key.h: private to the metadata cache. The keys and records of its
 * databases as bytes, and the keyed hash they rest on. Pure functions.
 */
#pragma once

#include "meta.h"

enum {
	SIP_KEY_BYTES = 16,
	INO_KEY_BYTES = 8,
	NAME_KEY_HEAD = 16, /* before the name's own bytes */
	NAME_KEY_BYTES_MAX = NAME_KEY_HEAD + NAME_BYTES_MAX,
	NAME_RECORD_BYTES_MAX = 32,
	INODE_RECORD_BYTES_MAX = 320,
	INDEX_RECORD_BYTES_MAX = 10,
	TARGET_RECORD_BYTES_MAX = META_TARGET_MAX + 32,
	SERVER_BYTES_MAX = 4096 + 256 + 2,
	INFO_RECORD_BYTES_MAX = SERVER_BYTES_MAX + 64,
};

struct sip_key {
	uint64_t k0, k1;
};

/* SipHash-1-3: not to be steered by a server that does not know the key. */
uint64_t sip_hash(const struct sip_key *k, const void *data, size_t len);

/* One key a purpose, all derived from the cache's random bytes, so that a hash
 * of one kind says nothing about another kind. */
struct meta_keys {
	struct sip_key handle, fileid, name, check;
};
void meta_keys_derive(const uint8_t secret[SIP_KEY_BYTES],
		      struct meta_keys *ret);

uint64_t meta_handle_hash(const struct meta_keys *k, const struct handle *h);
uint64_t meta_fileid_hash(const struct meta_keys *k, uint64_t fsid,
			  uint64_t fileid);
/* Between META_OFFSET_MIN and INT64_MAX. */
uint64_t meta_name_offset(const struct meta_keys *k, const char *name,
			  size_t len);

/* Big-endian, so that the order of the bytes is the order of the numbers. */
void meta_u64_put(uint8_t out[8], uint64_t v);
uint64_t meta_u64_get(const uint8_t in[8]);

/* @out has room for NAME_KEY_HEAD + @len. Returns the key's length. */
size_t meta_name_key(uint8_t *out, uint64_t dir, uint64_t offset,
		     const char *name, size_t len);

/* Encoders fill @out, of the record's _BYTES_MAX, and return the length.
 * Decoders take any bytes and return -EBADMSG for what no encoder made. */
size_t meta_inode_encode(const struct meta_keys *k, const struct meta_inode *in,
			 uint8_t *out);
int meta_inode_decode(const struct meta_keys *k, uint64_t ino, const void *data,
		      size_t len, struct meta_inode *ret);

size_t meta_name_encode(const struct meta_keys *k, uint64_t dir,
			uint64_t offset, const struct meta_name *in,
			uint8_t *out);
int meta_name_decode(const struct meta_keys *k, uint64_t dir, uint64_t offset,
		     const void *data, size_t len, struct meta_name *ret);

size_t meta_index_encode(uint64_t ino, uint8_t *out);
int meta_index_decode(const void *data, size_t len, uint64_t *ret_ino);

/* The target of symlink @ino, of the version of @mtime. It is not terminated, and
 * points into the record. */
size_t meta_target_encode(const struct meta_keys *k, uint64_t ino,
			  const struct timespec *mtime, const char *target,
			  size_t len, uint8_t *out);
int meta_target_decode(const struct meta_keys *k, uint64_t ino,
		       const void *data, size_t len, struct timespec *ret_mtime,
		       const char **ret, size_t *ret_len);

#define META_INFO_KEY "info" /* the only one of its database */

struct meta_info {
	uint8_t secret[SIP_KEY_BYTES];
	uint64_t session;  /* how many times the cache was opened */
	uint64_t next_ino; /* none at or above it was ever given out */
	char server[SERVER_BYTES_MAX];
};
size_t meta_info_encode(const struct meta_info *in, uint8_t *out);
int meta_info_decode(const void *data, size_t len, struct meta_info *ret);

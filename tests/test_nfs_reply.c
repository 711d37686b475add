/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_nfs_reply.c: bytes of a server that errs or means harm, on their way
 * through nfs_reply_ok(), libnfs's decoding, and ours.
 */
#include "run.h"

#include <pthread.h>

#include "../fs/nfs.h"

static struct remote_call *new_call(enum remote_op op)
{
	struct remote_call *c = remote_call_new(op, NULL, NULL);

	assert_non_null(c);
	return c;
}

static void put32(char **p, uint32_t v)
{
	const unsigned char b[4] = { (unsigned char)(v >> 24),
				     (unsigned char)(v >> 16),
				     (unsigned char)(v >> 8),
				     (unsigned char)v };

	memcpy(*p, b, 4);
	*p += 4;
}

/* The largest reply that libnfs takes, of the smallest entries: as deep as its
 * recursion gets. Returns the number of entries. */
static size_t deep_page(char *p, const char *end)
{
	size_t n = 0;

	put32(&p, NFS3_OK);
	put32(&p, 0); /* no attributes of the directory */
	put32(&p, 0); /* the verifier */
	put32(&p, 0);
	for (; p + 40 < end; n++) {
		put32(&p, 1); /* an entry follows: fileid */
		put32(&p, 0);
		put32(&p, 7);
		put32(&p, 0); /* a name of no bytes, the cookie */
		put32(&p, 0);
		put32(&p, 9);
		put32(&p, 0); /* no attributes, no handle */
		put32(&p, 0);
	}
	put32(&p, 0); /* no more entries */
	put32(&p, 1); /* the end */
	return n;
}

struct xdr {
	char *p;
	size_t len;
	size_t entries;
};

static void *decode_deep(void *arg)
{
	struct remote_call *c = new_call(REMOTE_READDIRPLUS);
	struct xdr *b = arg;
	READDIRPLUS3res res;
	uint64_t cookie = 0;
	ZDR zdr;
	void *r = NULL;

	memset(&res, 0, sizeof(res));
	zdrmem_create(&zdr, b->p, (uint32_t)b->len, ZDR_DECODE);
	if (!zdr_READDIRPLUS3res(&zdr, &res) ||
	    nfs_decode_readdirplus(c, &res, &cookie) != 0 ||
	    c->entries_n != 0 || !c->eof)
		r = b;
	zdr_destroy(&zdr);
	remote_call_unref(c);
	return r;
}

static void test_deepest_page_fits_the_stack(void **state)
{
	struct xdr b = { .len = NFS_IO_BYTES_MAX + 4096 };
	pthread_attr_t attr;
	pthread_t thread;
	void *result = &b;

	(void)state;
	b.p = calloc(1, b.len);
	assert_non_null(b.p);
	b.entries = deep_page(b.p, b.p + b.len);
	assert_true(b.entries > 32000);
	assert_int_equal(pthread_attr_init(&attr), 0);
	assert_int_equal(pthread_attr_setstacksize(&attr, NFS_STACK_BYTES), 0);
	assert_int_equal(pthread_create(&thread, &attr, decode_deep, &b), 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_null(result);
	(void)pthread_attr_destroy(&attr);
	free(b.p);
}

/* ---- the checks ---- */

enum { HEADER_BYTES = 24 };

static void put_header(char **p)
{
	put32(p, 4711); /* xid */
	put32(p, REPLY);
	put32(p, MSG_ACCEPTED);
	put32(p, AUTH_NONE);
	put32(p, 0); /* no verifier */
	put32(p, SUCCESS);
}

static void put_string(char **p, const char *s, uint32_t len)
{
	put32(p, len);
	memcpy(*p, s, len);
	*p += (len + 3) & ~3U;
}

static void put_attr(char **p)
{
	put32(p, 1);
	put32(p, NF3REG);
	*p += 80;
}

/* A page of two entries with all there can be. Returns its length. */
static size_t good_page(char *start, const char *name, uint32_t name_len)
{
	char *p = start;

	put_header(&p);
	put32(&p, NFS3_OK);
	put_attr(&p);
	p += 8; /* the verifier */
	for (int i = 0; i < 2; i++) {
		put32(&p, 1);
		p += 8;
		put_string(&p, name, name_len);
		put32(&p, 0);
		put32(&p, 7 + (uint32_t)i); /* the cookie */
		put_attr(&p);
		put32(&p, 1);
		put_string(&p, "handle", 6);
	}
	put32(&p, 0);
	put32(&p, 1);
	return (size_t)(p - start);
}

static const char *listing_grammar(void)
{
	return nfs_reply_grammar(REMOTE_READDIRPLUS, false);
}

static void test_reply_whole(void **state)
{
	char page[1024] = "";
	size_t n = good_page(page, "name", 4);

	(void)state;
	assert_true(nfs_reply_ok(page, n, listing_grammar()));
	for (size_t i = 0; i < n; i++)
		assert_false(nfs_reply_ok(page, i, listing_grammar()));
}

static void test_reply_name_with_nul(void **state)
{
	char page[1024] = "";
	size_t n = good_page(page, "na\0e", 4);

	(void)state;
	assert_false(nfs_reply_ok(page, n, listing_grammar()));
}

/* A length that is negative, huge, or overflows when rounded up. */
static void test_reply_lengths(void **state)
{
	static const uint32_t lengths[] = { 0x80000000, 0xfffffff0, 0xfffffffd,
					    0xffffffff, 0x7fffffff, 65, 4096 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		char reply[HEADER_BYTES + 80] = "", *p = reply;

		put_header(&p);
		put32(&p, NFS3_OK);
		put32(&p, lengths[i]); /* of the handle */
		assert_false(nfs_reply_ok(reply, sizeof(reply),
					  nfs_reply_grammar(REMOTE_LOOKUP,
							    false)));
		p = reply + 16;
		put32(&p, lengths[i]); /* of the verifier: 400 at most */
		if (lengths[i] > 400)
			assert_false(nfs_reply_ok(reply, sizeof(reply), ""));
	}
}

static void test_reply_header(void **state)
{
	char reply[HEADER_BYTES + 8] = "", *p = reply;

	(void)state;
	put_header(&p);
	assert_true(nfs_reply_ok(reply, HEADER_BYTES, ""));
	p = reply + 4;
	put32(&p, CALL);
	assert_false(nfs_reply_ok(reply, HEADER_BYTES, ""));
	p = reply + 4;
	put32(&p, REPLY);
	put32(&p, MSG_DENIED);
	put32(&p, AUTH_ERROR);
	assert_true(nfs_reply_ok(reply, 20, ""));
	assert_false(nfs_reply_ok(reply, 16, ""));
	p = reply + 8;
	put32(&p, 2); /* neither accepted nor denied */
	assert_false(nfs_reply_ok(reply, sizeof(reply), ""));
	p = reply;
	put_header(&p);
	p -= 4;
	put32(&p, PROG_MISMATCH);
	assert_false(nfs_reply_ok(reply, HEADER_BYTES, ""));
	assert_true(nfs_reply_ok(reply, HEADER_BYTES + 8, ""));
}

/* Every grammar is one: it takes a reply of zeros that is long enough, or
 * refuses a field whose zero is not valid, but never runs off its end. */
static void test_reply_grammars(void **state)
{
	char reply[512] = "", *p = reply;

	(void)state;
	put_header(&p);
	for (int op = 0; op < REMOTE_OPS; op++) {
		const char *g = nfs_reply_grammar((enum remote_op)op, false);

		p = reply + HEADER_BYTES;
		put32(&p, NFS3_OK);
		assert_true(nfs_reply_ok(reply, sizeof(reply), g));
		p = reply + HEADER_BYTES;
		put32(&p, NFS3ERR_IO);
		assert_true(nfs_reply_ok(reply, sizeof(reply), g));
	}
}

/* Random changes to a page that is in order: what nfs_reply_ok() lets through
 * libnfs decodes without leaving the buffer (which valgrind or the address
 * sanitizer would see), and what comes out can be used. */
static void test_reply_random(void **state)
{
	enum { ROUNDS = 20000 };
	uint64_t seed = run_seed();
	unsigned passed = 0;

	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		struct remote_call *c = new_call(REMOTE_READDIRPLUS);
		READDIRPLUS3res res;
		uint64_t cookie = 0;
		char page[1024] = "", *body;
		size_t n = good_page(page, "name", 4);
		ZDR zdr;

		for (uint64_t i = run_random(&seed) % 6; i > 0; i--) {
			uint64_t r = run_random(&seed);

			page[HEADER_BYTES + r % (n - HEADER_BYTES)] =
				(char)(r >> 40);
		}
		n -= run_random(&seed) % 3 ? 0 : run_random(&seed) % 100;
		if (nfs_reply_ok(page, n, listing_grammar())) {
			passed++;
			n -= HEADER_BYTES;
			body = malloc(n);
			assert_non_null(body);
			memcpy(body, page + HEADER_BYTES, n);
			memset(&res, 0, sizeof(res));
			zdrmem_create(&zdr, body, (uint32_t)n, ZDR_DECODE);
			assert_true(zdr_READDIRPLUS3res(&zdr, &res));
			(void)nfs_decode_readdirplus(c, &res, &cookie);
			for (size_t i = 0; i < c->entries_n; i++)
				assert_true(nfs_decode_name_ok(
					c->entries[i].name));
			zdr_destroy(&zdr);
			free(body);
		}
		remote_call_unref(c);
	}
	assert_true(passed > ROUNDS / 20);
	assert_true(passed < ROUNDS);
}

RUN_TESTS(cmocka_unit_test(test_deepest_page_fits_the_stack),
	  cmocka_unit_test(test_reply_whole),
	  cmocka_unit_test(test_reply_name_with_nul),
	  cmocka_unit_test(test_reply_lengths),
	  cmocka_unit_test(test_reply_header),
	  cmocka_unit_test(test_reply_grammars),
	  cmocka_unit_test(test_reply_random))

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nfs_record.c: replies from the socket to libnfs, by way of nfs_reply_ok().
 *
 * libnfs 4 and 5 would read the socket themselves. Here the records of
 * RFC 5531 (fragments of 4 bytes length and contents, the last one flagged) are
 * put together, up to a limit for the whole, are checked, and are handed to
 * rpc_process_pdu(), which libnfs exports without declaring it. A reply that
 * does not follow its grammar is replaced by one that says "system error", so
 * that its call fails and no other does.
 *
 * From version 6 on libnfs reads into the callers' buffers, checks lengths, and
 * offers no such door: there it is left to itself.
 *
 * Small replies come in one read(2) a lot of them; of a large one the rest goes
 * straight to its place.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

#include "../cache/msg.h"
#include "nfs.h"

void nfs_reader_done(struct nfs_reader *r)
{
	bytes_unref(r->record);
	memset(r, 0, sizeof(*r));
}

#ifdef LIBNFS_API_V2

int nfs_reader_serve(struct nfs_reader *r, struct rpc_context *rpc,
		     nfs_grammar_fn *grammar, void *arg)
{
	(void)r, (void)grammar, (void)arg;
	return rpc_service(rpc, POLLIN) < 0 ? -ECONNRESET : 0;
}

#else

enum {
	MARKER_BYTES = 4, /* before each fragment; once before the record */
	STAGE_BYTES = 64 * 1024,
	RECORD_BYTES_MAX = NFS_IO_BYTES_MAX + 4096,
	/* A buffer that grew beyond this is not kept. */
	RECORD_BYTES_KEPT = 256 * 1024,
};

static const uint32_t LAST_FRAGMENT = 0x80000000;

/* For libnfs: the whole record as one fragment. */
static void put_marker(char *record, size_t len)
{
	uint32_t marker = htonl(LAST_FRAGMENT | (uint32_t)len);

	memcpy(record, &marker, MARKER_BYTES);
}

static int process_bad(struct rpc_context *rpc, uint32_t xid)
{
	const uint32_t reply[] = { 0, xid, htonl(REPLY), htonl(MSG_ACCEPTED),
				   htonl(AUTH_NONE), 0, htonl(SYSTEM_ERR) };
	char record[sizeof(reply)];

	memcpy(record, reply, sizeof(reply));
	put_marker(record, sizeof(record) - MARKER_BYTES);
	return rpc_process_pdu(rpc, record, sizeof(record));
}

/* A record is whole. */
static int process(struct nfs_reader *r, struct rpc_context *rpc,
		   nfs_grammar_fn *grammar, void *arg)
{
	size_t len = r->len;
	const char *g;
	uint32_t xid;

	r->len = 0;
	if (len < sizeof(xid))
		return -1;
	memcpy(&xid, r->record->at + MARKER_BYTES, sizeof(xid));
	g = grammar(arg, ntohl(xid));
	if (!g)
		return 0; /* an answer to nothing we asked */
	if (!nfs_reply_ok(r->record->at + MARKER_BYTES, len, g)) {
		msg_debug("nfs", "a reply of %zu bytes makes no sense", len);
		return process_bad(rpc, xid);
	}
	put_marker((char *)r->record->at, len);
	return rpc_process_pdu(rpc, (char *)r->record->at,
			       (int)(MARKER_BYTES + len));
}

/* Room for @n more bytes of the record. */
static int reserve(struct nfs_reader *r, size_t n)
{
	size_t want = MARKER_BYTES + r->len + n;
	struct bytes *more;

	if (r->len + n > RECORD_BYTES_MAX)
		return -1;
	if (r->record && want <= r->record->size)
		return 0;
	more = bytes_new(want);
	if (!more)
		return -1;
	if (r->len > 0)
		memcpy(more->at, r->record->at, MARKER_BYTES + r->len);
	bytes_unref(r->record);
	r->record = more;
	return 0;
}

/* The record was dealt with: may the next one have its place? */
static void recycle(struct nfs_reader *r)
{
	if (r->record->size <= RECORD_BYTES_KEPT && bytes_is_ours(r->record))
		return;
	bytes_unref(r->record);
	r->record = NULL;
}

/* A fragment is whole. */
static int end_fragment(struct nfs_reader *r, struct rpc_context *rpc,
			nfs_grammar_fn *grammar, void *arg)
{
	int err = 0;

	r->marker_n = 0;
	if (r->last) {
		err = process(r, rpc, grammar, arg);
		recycle(r);
	}
	return err;
}

/* @n bytes came from the socket. */
static int feed(struct nfs_reader *r, struct rpc_context *rpc,
		nfs_grammar_fn *grammar, void *arg, const char *p, size_t n)
{
	while (n > 0) {
		size_t part;

		if (r->marker_n < MARKER_BYTES) {
			uint32_t marker;

			r->marker[r->marker_n++] = *p++;
			n--;
			if (r->marker_n < MARKER_BYTES)
				continue;
			memcpy(&marker, r->marker, MARKER_BYTES);
			marker = ntohl(marker);
			r->last = marker & LAST_FRAGMENT;
			r->left = marker & ~LAST_FRAGMENT;
			if (reserve(r, r->left) < 0)
				return -1;
		}
		part = MIN(n, r->left);
		memcpy(r->record->at + MARKER_BYTES + r->len, p, part);
		p += part;
		n -= part;
		r->len += part;
		r->left -= part;
		if (r->left == 0 && end_fragment(r, rpc, grammar, arg) < 0)
			return -1;
	}
	return 0;
}

int nfs_reader_serve(struct nfs_reader *r, struct rpc_context *rpc,
		     nfs_grammar_fn *grammar, void *arg)
{
	char stage[STAGE_BYTES];

	for (;;) {
		bool direct = r->left > sizeof(stage);
		size_t want = direct ? r->left : sizeof(stage);
		void *to = direct ? r->record->at + MARKER_BYTES + r->len :
				    (void *)stage;
		ssize_t n = recv(rpc_get_fd(rpc), to, want, MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (n <= 0)
			return -ECONNRESET;
		if (!direct) {
			if (feed(r, rpc, grammar, arg, stage, (size_t)n) < 0)
				return -ECONNRESET;
		} else {
			r->len += (size_t)n;
			r->left -= (size_t)n;
			if (r->left == 0 &&
			    end_fragment(r, rpc, grammar, arg) < 0)
				return -ECONNRESET;
		}
		if ((size_t)n < want)
			return 0; /* poll(2) tells when there is more */
	}
}

#endif

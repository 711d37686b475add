/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nfs_reply.c: may libnfs be given this reply? Pure.
 *
 * libnfs 4 and 5 trust the lengths in a message: a negative one moves their
 * position before the buffer, and the next field is read from there. A server
 * could thus end this process at will, or worse. So every reply is first
 * walked along its grammar, with nothing taken and every length checked; only
 * what is whole reaches libnfs.
 *
 * The grammar of a procedure's result is a string, a letter a field:
 *
 *   S  a status word: what follows it stands before '|' for status 0, after
 *      it for any other
 *   u  4 bytes          b  4 bytes, 0 or 1       U v  8 bytes
 *   h  handle           p  post_op_fh3           A    fattr3
 *   a  post_op_attr     w  wcc_data
 *   n  name             t  path                  d    data
 *   L  entryplus3 list  l  entry3 list, each with the end-of-list flag
 *   f  array of words   E  list of exports
 */
#include <arpa/inet.h>
#include <limits.h>

#include "nfs.h"

struct walk {
	const uint8_t *p;
	size_t left;
};

enum { ATTR_BYTES = 84, PRE_ATTR_BYTES = 24, VERIFIER_BYTES_MAX = 400 };

static bool skip(struct walk *w, size_t n)
{
	if (n > w->left)
		return false;
	w->p += n;
	w->left -= n;
	return true;
}

static bool take_u32(struct walk *w, uint32_t *ret)
{
	uint32_t v;

	if (w->left < 4)
		return false;
	memcpy(&v, w->p, 4);
	*ret = ntohl(v);
	return skip(w, 4);
}

static bool take_bool(struct walk *w, bool *ret)
{
	uint32_t v;

	if (!take_u32(w, &v) || v > 1)
		return false;
	*ret = v;
	return true;
}

static bool skip_bytes(struct walk *w, size_t max)
{
	uint32_t n;

	return take_u32(w, &n) && n <= max && n <= w->left &&
	       skip(w, ((size_t)n + 3) & ~(size_t)3);
}

/* No NUL inside: libnfs would hand out the half before it. */
static bool skip_string(struct walk *w, size_t max)
{
	const uint8_t *length = w->p;
	struct walk peek = *w;
	uint32_t n;

	return take_u32(&peek, &n) && skip_bytes(w, max) &&
	       !memchr(length + 4, '\0', n);
}

/* What follows only if a flag says so. */
static bool skip_optional(struct walk *w, size_t bytes)
{
	bool follows;

	return take_bool(w, &follows) && (!follows || skip(w, bytes));
}

static bool skip_optional_handle(struct walk *w)
{
	bool follows;

	return take_bool(w, &follows) &&
	       (!follows || skip_bytes(w, HANDLE_BYTES_MAX));
}

static bool skip_entries(struct walk *w, bool plus)
{
	bool more;

	while (take_bool(w, &more)) {
		if (!more)
			return take_bool(w, &more); /* the end of the list? */
		if (!skip(w, 8) || !skip_string(w, PATH_MAX) || !skip(w, 8))
			return false;
		if (plus &&
		    (!skip_optional(w, ATTR_BYTES) || !skip_optional_handle(w)))
			return false;
	}
	return false;
}

static bool skip_exports(struct walk *w)
{
	bool more;

	while (take_bool(w, &more)) {
		if (!more)
			return true;
		if (!skip_string(w, MNTPATHLEN))
			return false;
		while (take_bool(w, &more) && more)
			if (!skip_string(w, MNTPATHLEN))
				return false;
	}
	return false;
}

static bool skip_words(struct walk *w)
{
	uint32_t n;

	return take_u32(w, &n) && n <= w->left / 4 && skip(w, (size_t)n * 4);
}

static bool walk_field(struct walk *w, char field)
{
	bool flag;

	switch (field) {
	case 'u':
		return skip(w, 4);
	case 'b':
		return take_bool(w, &flag);
	case 'U':
	case 'v':
		return skip(w, 8);
	case 'h':
		return skip_bytes(w, HANDLE_BYTES_MAX);
	case 'p':
		return skip_optional_handle(w);
	case 'A':
		return skip(w, ATTR_BYTES);
	case 'a':
		return skip_optional(w, ATTR_BYTES);
	case 'w':
		return skip_optional(w, PRE_ATTR_BYTES) &&
		       skip_optional(w, ATTR_BYTES);
	case 'n':
	case 't':
		return skip_string(w, PATH_MAX);
	case 'd':
		return skip_bytes(w, NFS_IO_BYTES_MAX);
	case 'L':
	case 'l':
		return skip_entries(w, field == 'L');
	case 'f':
		return skip_words(w);
	case 'E':
		return skip_exports(w);
	default:
		return false;
	}
}

static bool walk_result(struct walk *w, const char *grammar)
{
	uint32_t status = 0;

	if (*grammar == 'S') {
		if (!take_u32(w, &status))
			return false;
		if (status != 0)
			grammar = strchr(grammar, '|');
		grammar++;
	}
	for (; *grammar && *grammar != '|'; grammar++)
		if (!walk_field(w, *grammar))
			return false;
	return true;
}

bool nfs_reply_ok(const void *reply, size_t len, const char *grammar)
{
	struct walk w = { reply, len };
	uint32_t xid, direction, stat, flavor;

	if (!take_u32(&w, &xid) || !take_u32(&w, &direction) ||
	    !take_u32(&w, &stat) || direction != REPLY)
		return false;
	if (stat == MSG_DENIED)
		return take_u32(&w, &stat) &&
		       skip(&w, stat == RPC_MISMATCH ? 8 : 4);
	if (stat != MSG_ACCEPTED || !take_u32(&w, &flavor) ||
	    !skip_bytes(&w, VERIFIER_BYTES_MAX) || !take_u32(&w, &stat))
		return false;
	if (stat == SUCCESS)
		return walk_result(&w, grammar);
	return stat != PROG_MISMATCH || skip(&w, 8);
}

const char *nfs_reply_grammar(enum remote_op op, bool plain)
{
	static const char *const grammar[REMOTE_OPS] = {
		[REMOTE_NULL] = "",
		[REMOTE_GETATTR] = "SA|",
		[REMOTE_SETATTR] = "Sw|w",
		[REMOTE_LOOKUP] = "Shaa|a",
		[REMOTE_ACCESS] = "Sau|a",
		[REMOTE_READLINK] = "Sat|a",
		[REMOTE_READ] = "Saubd|a",
		[REMOTE_WRITE] = "Swuuv|w",
		[REMOTE_COMMIT] = "Swv|w",
		[REMOTE_CREATE] = "Spaw|w",
		[REMOTE_MKDIR] = "Spaw|w",
		[REMOTE_SYMLINK] = "Spaw|w",
		[REMOTE_MKNOD] = "Spaw|w",
		[REMOTE_REMOVE] = "Sw|w",
		[REMOTE_RMDIR] = "Sw|w",
		[REMOTE_RENAME] = "Sww|ww",
		[REMOTE_LINK] = "Saw|aw",
		[REMOTE_READDIRPLUS] = "SavL|a",
		[REMOTE_FSSTAT] = "SaUUUUUUu|a",
		[REMOTE_FSINFO] = "SauuuuuuuUvu|a",
		[REMOTE_PATHCONF] = "Sauuuuuu|a",
	};

	return op == REMOTE_READDIRPLUS && plain ? "Savl|a" : grammar[op];
}

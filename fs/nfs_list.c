/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nfs_list.c: a page of a directory, judged and copied into the call, as
 * nfs_decode.c does with the other replies.
 *
 * libnfs 4 places the entries of a list in memory without regard to their
 * alignment: each is copied before it is looked at.
 */
#include "nfs.h"

/* One allocation: the entries, then their names. */
static int alloc_entries(struct remote_call *c, size_t n, size_t name_bytes,
			 char **ret_names)
{
	struct remote_dirent *e = calloc(1, n * sizeof(*e) + name_bytes);

	if (!e)
		return -ENOMEM;
	c->entries = e;
	*ret_names = (char *)(e + n);
	return 0;
}

static struct remote_dirent *add_entry(struct remote_call *c, char **names,
				       const char *s, uint64_t fileid,
				       uint64_t cookie)
{
	struct remote_dirent *e = &c->entries[c->entries_n++];
	size_t n = strlen(s) + 1;

	memcpy(*names, s, n);
	e->name = *names;
	e->fileid = fileid;
	e->cookie = cookie;
	*names += n;
	return e;
}

/* What a page is worth as a whole. @last: the cookie of its last entry, among
 * those dropped, too; @total: how many there were.
 *
 * Who lists goes on from the last entry it was given. When entries after that
 * were dropped, it gets theirs as its cookie; when all were, the next page is
 * asked for here. */
static int judge_page(struct remote_call *c, bool eof, size_t total,
		      uint64_t last, uint64_t *cookie)
{
	c->eof = eof;
	if (eof)
		return 0;
	if (total == 0 || last == 0 || last == *cookie)
		return -EREMOTEIO; /* it would never end */
	if (c->entries_n == 0) {
		*cookie = last;
		return NFS_AGAIN;
	}
	c->entries[c->entries_n - 1].cookie = last;
	return 0;
}

/* An entry of either kind as the longer one. */
typedef void copy_fn(const void *entry, entryplus3 *ret);

static void copy_plus(const void *entry, entryplus3 *ret)
{
	memcpy(ret, entry, sizeof(*ret));
}

static void copy_plain(const void *entry, entryplus3 *ret)
{
	entry3 e;

	memcpy(&e, entry, sizeof(e));
	*ret = (entryplus3){ .fileid = e.fileid, .name = e.name,
			     .cookie = e.cookie,
			     .nextentry = (void *)e.nextentry };
}

static int take_page(struct remote_call *c, const void *first, copy_fn *copy,
		     bool eof, uint64_t *cookie)
{
	size_t n = 0, total = 0, bytes = 0;
	uint64_t last = 0;
	char *names = NULL;
	entryplus3 e;

	for (const void *p = first; p; p = e.nextentry) {
		copy(p, &e);
		total++;
		last = e.cookie;
		if (nfs_decode_name_ok(e.name)) {
			n++;
			bytes += strlen(e.name) + 1;
		}
	}
	if (n > 0 && alloc_entries(c, n, bytes, &names) < 0)
		return -ENOMEM;
	for (const void *p = first; p; p = e.nextentry) {
		struct remote_dirent *d;

		copy(p, &e);
		if (!nfs_decode_name_ok(e.name))
			continue;
		d = add_entry(c, &names, e.name, e.fileid, e.cookie);
		d->has_attr = nfs_decode_post(&e.name_attributes, &d->attr);
		nfs_decode_post_handle(&e.name_handle, &d->fh);
	}
	return judge_page(c, eof, total, last, cookie);
}

int nfs_decode_readdirplus(struct remote_call *c, const READDIRPLUS3res *res,
			   uint64_t *cookie)
{
	const READDIRPLUS3resok *ok = &res->READDIRPLUS3res_u.resok;

	if (res->status != NFS3_OK) {
		c->has_dir_attr = nfs_decode_post(
			&res->READDIRPLUS3res_u.resfail.dir_attributes,
			&c->dir_attr);
		return nfs_decode_status(res->status);
	}
	c->has_dir_attr = nfs_decode_post(&ok->dir_attributes, &c->dir_attr);
	memcpy(c->verf, ok->cookieverf, sizeof(c->verf));
	return take_page(c, ok->reply.entries, copy_plus, ok->reply.eof, cookie);
}

int nfs_decode_readdir(struct remote_call *c, const READDIR3res *res,
		       uint64_t *cookie)
{
	const READDIR3resok *ok = &res->READDIR3res_u.resok;

	if (res->status != NFS3_OK) {
		c->has_dir_attr = nfs_decode_post(
			&res->READDIR3res_u.resfail.dir_attributes,
			&c->dir_attr);
		return nfs_decode_status(res->status);
	}
	c->has_dir_attr = nfs_decode_post(&ok->dir_attributes, &c->dir_attr);
	memcpy(c->verf, ok->cookieverf, sizeof(c->verf));
	return take_page(c, ok->reply.entries, copy_plain, ok->reply.eof, cookie);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* record.c: owns the sets of inodes that were used, and the file that they are
 * written to.
 *
 * Nothing but numbers is remembered while the mount runs. Paths are found at its
 * end by going down from the root, through directories that were used only:
 * whatever was used was found through its parents.
 */
#include "record.h"

#include <fcntl.h>
#include <string.h>

#include "../cache/sync.h"
#include "escape.h"
#include "node.h"

#define HEAD "nfsrootfs-record 1"

static const char *const words[] = { [RECORD_NAMES] = "names ",
				     [RECORD_CONTENTS] = "contents " };

enum { USES = ARRAY_LEN(words) };

struct record {
	char *file, *file_new;
	FILE *out;
	struct meta *meta;
	struct nodes *used[USES];
	uint64_t n[USES]; /* atomic: kept by nodes */
	uint64_t written;
};

static void record_free(struct record *r)
{
	for (int k = 0; k < USES; k++)
		nodes_free(r->used[k]);
	if (r->out)
		(void)fclose(r->out);
	free(r->file);
	free(r->file_new);
	free(r);
}

int record_open(const char *file, struct meta *meta, struct record **ret)
{
	struct record *r = calloc(1, sizeof(*r));
	int err = 0, fd = -1;

	if (!r)
		return -ENOMEM;
	r->meta = meta;
	r->file = strdup(file);
	if (!r->file || asprintf(&r->file_new, "%s.new", file) < 0) {
		r->file_new = NULL;
		err = -ENOMEM;
	}
	for (int k = 0; k < USES && err == 0; k++)
		err = nodes_new(&r->n[k], &r->used[k]);
	if (err == 0) {
		/* A file of ours, wherever others may write, too. */
		(void)unlink(r->file_new);
		fd = open(r->file_new,
			  O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		err = fd < 0 ? -errno : 0;
	}
	if (err == 0) {
		r->out = fdopen(fd, "w");
		if (!r->out)
			err = -ENOMEM;
	}
	if (err < 0) {
		cleanup_closep(&fd);
		record_free(r);
		return err;
	}
	*ret = r;
	return 0;
}

void record_used(struct record *r, uint64_t ino, enum record_use use)
{
	if (r && __atomic_load_n(&r->n[use], __ATOMIC_RELAXED) < RECORD_MAX)
		nodes_ref(r->used[use], ino);
}

/* ---- writing ---- */

/* What of one directory was used. */
struct found {
	uint64_t ino;
	bool names, contents;
	char *name;
};

struct page {
	struct record *r;
	struct found *list;
	size_t n, size;
};

static int find(void *arg, uint64_t offset, const char *name,
		const struct meta_name *n)
{
	struct page *p = arg;
	struct found f = { .ino = n->ino };

	(void)offset;
	if (n->absent || n->ino == 0)
		return 0;
	f.names = nodes_known(p->r->used[RECORD_NAMES], n->ino);
	f.contents = nodes_known(p->r->used[RECORD_CONTENTS], n->ino);
	if (!f.names && !f.contents)
		return 0;
	if (p->n == p->size) {
		size_t size = p->size ? 2 * p->size : 64;
		struct found *grown =
			reallocarray(p->list, size, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		p->list = grown;
		p->size = size;
	}
	f.name = strdup(name);
	if (!f.name)
		return -ENOMEM;
	p->list[p->n++] = f;
	return 0;
}

static void line(struct record *r, enum record_use use, uint64_t ino,
		 const char *path)
{
	(void)fputs(words[use], r->out);
	escape_text(path, r->out);
	(void)putc('\n', r->out);
	r->written++;
	/* Once: a file may have more names, and a damaged cache loops. */
	(void)nodes_unref(r->used[use], ino, UINT64_MAX);
}

/* @path is "" for the root. */
static int write_dir(struct record *r, uint64_t dir, const char *path)
{
	struct page p = { .r = r };
	int err;

	line(r, RECORD_NAMES, dir, *path ? path : "/");
	meta_begin(r->meta);
	err = meta_names(r->meta, dir, 0, find, &p);
	meta_end(r->meta);
	for (size_t k = 0; k < p.n; k++) {
		const struct found *f = &p.list[k];
		CLEANUP_FREE char *below = NULL;

		if (err == 0 && asprintf(&below, "%s/%s", path, f->name) < 0) {
			below = NULL;
			err = -ENOMEM;
		}
		if (err == 0 && f->contents &&
		    nodes_known(r->used[RECORD_CONTENTS], f->ino))
			line(r, RECORD_CONTENTS, f->ino, below);
		if (err == 0 && f->names &&
		    nodes_known(r->used[RECORD_NAMES], f->ino))
			err = write_dir(r, f->ino, below);
		free(f->name);
	}
	free(p.list);
	return err;
}

static int finish(struct record *r)
{
	int err;

	if (!nodes_known(r->used[RECORD_NAMES], META_ROOT)) {
		(void)unlink(r->file_new); /* nothing was used */
		return 0;
	}
	(void)fputs(HEAD "\n", r->out);
	err = write_dir(r, META_ROOT, "");
	/* A name lost to damage is no reason to lose the others. */
	if (err == -EUCLEAN)
		err = 0;
	if (err == 0 && (fflush(r->out) != 0 || ferror(r->out) ||
			 fsync(fileno(r->out)) < 0 ||
			 rename(r->file_new, r->file) < 0))
		err = errno ? -errno : -EIO;
	if (err < 0)
		(void)unlink(r->file_new);
	return err;
}

int record_close(struct record *r, uint64_t *ret_n)
{
	int err;

	if (!r)
		return 0;
	err = finish(r);
	*ret_n = r->written;
	record_free(r);
	return err;
}

/* ---- reading ---- */

int record_parse(char *text, enum record_use *ret_use, char **ret_path)
{
	for (int k = 0; k < USES; k++) {
		size_t n = strlen(words[k]);

		if (strncmp(text, words[k], n) != 0 || text[n] != '/')
			continue;
		unescape_text(text + n);
		*ret_use = (enum record_use)k;
		*ret_path = text + n;
		return 0;
	}
	return -EBADMSG;
}

bool record_is_head(const char *text)
{
	return strcmp(text, HEAD) == 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* wback_scan.c: reads the write-back log when it is opened: finds its files,
 * where it ends, and whether its middle is missing (wback_log.c says how that is
 * told). No locks: nobody else has the log yet.
 */
#include "wback_log_int.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

struct scan {
	struct log *l;
	log_scan_fn *fn;
	void *arg;
	uint64_t last_seq; /* the last good record's */
	struct segment *stopped_in; /* the log ends there, at: */
	uint64_t stopped_at;
	uint64_t claimed; /* durable, as something behind the end says */
};

static int compare_numbers(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static int find_segments(struct log *l, uint64_t **ret, size_t *ret_n)
{
	int fd = openat(l->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	uint64_t *list = NULL;
	struct dirent *e;
	size_t n = 0;

	if (!d)
		return -errno;
	while ((e = readdir(d))) {
		unsigned long long number;
		char name[32];

		if (sscanf(e->d_name, "%16llx.seg", &number) != 1)
			continue;
		segment_name(number, name);
		if (strcmp(name, e->d_name) != 0)
			continue;
		list = reallocarray(list, n + 1, sizeof(*list));
		if (!list)
			abort();
		list[n++] = number;
	}
	(void)closedir(d);
	if (n > 0)
		qsort(list, n, sizeof(*list), compare_numbers);
	*ret = list;
	*ret_n = n;
	return 0;
}

/* Something may lie behind the end: records that claim to have been written
 * when more was durable than what is left prove that the log lost its middle. */
static void look_behind(struct scan *s, const uint8_t *map, uint64_t at,
			uint64_t size)
{
	struct rec r;

	for (; at + REC_HEAD_BYTES <= size; at += 8) {
		if (rec_decode(&s->l->check, map + at, size - at, &r) > 0)
			s->claimed = MAX(s->claimed, r.durable);
	}
}

static bool data_is_good(const struct log *l, const struct rec *r,
			 const uint8_t *data, uint64_t room)
{
	return r->len == 0 ||
	       (r->len <= room && sip_hash(&l->check, data, r->len) ==
					  r->data_check);
}

/* Reads the records of @seg from behind its head on. */
static void scan_records(struct scan *s, struct segment *seg,
			 const uint8_t *map)
{
	uint64_t at = HEAD_BYTES;

	while (at + REC_HEAD_BYTES <= seg->bytes) {
		struct rec r;
		int n = rec_decode(&s->l->check, map + at, seg->bytes - at, &r);
		uint64_t data_at = at + (uint64_t)MAX(n, 0);

		if (n <= 0 || r.seq <= s->last_seq ||
		    !data_is_good(s->l, &r, map + data_at,
				  seg->bytes - data_at))
			break;
		s->last_seq = r.seq;
		s->fn(s->arg, &r, seg, data_at);
		at = padded(data_at + r.len);
	}
	seg->used = at;
}

static int scan_segment(struct scan *s, struct segment *seg, bool first)
{
	uint8_t *map;
	struct head h;
	int r = 0;

	if (seg->bytes < HEAD_BYTES)
		return -EBADMSG;
	map = mmap(NULL, seg->bytes, PROT_READ, MAP_PRIVATE, seg->fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	r = head_decode(s->l, map, &h);
	if (r == 0 && h.number != seg->number)
		r = -EBADMSG;
	if (r == 0 && first) {
		log_derive_keys(s->l);
		s->last_seq = h.first_seq - 1;
	}
	if (r == 0 && !first && !s->stopped_in &&
	    (h.prev_end != s->stopped_at || h.first_seq != s->last_seq + 1)) {
		s->stopped_in = seg;
	}
	if (r == 0 && s->stopped_in) {
		s->claimed = MAX(s->claimed, h.durable);
		look_behind(s, map, HEAD_BYTES, seg->bytes);
	} else if (r == 0) {
		scan_records(s, seg, map);
		s->stopped_at = seg->used;
		/* Of the last one; of others it is the next one's head that
		 * tells. */
		look_behind(s, map, seg->used, seg->bytes);
	}
	(void)munmap(map, seg->bytes);
	return r;
}

static void add_segment(struct log *l, struct segment *seg)
{
	if (l->last)
		l->last->next = seg;
	else
		l->first = seg;
	l->last = seg;
}

static int damaged(char **ret_why, const struct segment *seg, uint64_t at)
{
	if (asprintf(ret_why,
		     "the write-back log is damaged in its middle "
		     "(%016llx.seg, byte %llu): changes that were promised "
		     "are missing",
		     (unsigned long long)seg->number,
		     (unsigned long long)at) < 0)
		*ret_why = NULL;
	return -EUCLEAN;
}

static void delete_file(struct log *l, uint64_t number)
{
	char name[32];

	segment_name(number, name);
	(void)unlinkat(l->dir_fd, name, 0);
}

static void drop_last(struct log *l)
{
	struct segment **p = &l->first, *before = NULL;

	while ((*p)->next) {
		before = *p;
		p = &before->next;
	}
	delete_file(l, (*p)->number);
	segment_unref(*p);
	*p = NULL;
	l->last = before;
}

static int scan_all(struct scan *s, const uint64_t *list, size_t n,
		    char **ret_why)
{
	struct log *l = s->l;
	size_t from = n;
	int r = 0;

	/* The row without a gap that ends with the last one: what is before a
	 * gap was deleted, and came back with a loss of power. */
	while (from > 0 && (from == n || list[from] == list[from - 1] + 1))
		from--;
	for (size_t k = 0; k < from; k++)
		delete_file(l, list[k]);
	for (size_t k = from; k < n && r == 0; k++) {
		struct segment *seg;

		r = segment_open(l, list[k], 0, &seg);
		if (r < 0)
			return r;
		add_segment(l, seg);
		r = scan_segment(s, seg, k == from);
		/* Begun when the power went: nothing is in it, and it must go
		 * before another one stands behind it. */
		if (r == -EBADMSG && k + 1 == n) {
			drop_last(l);
			r = 0;
		}
		if (r == -EBADMSG)
			return damaged(ret_why, seg, 0);
	}
	if (r == 0 && l->last && s->claimed > s->last_seq)
		r = damaged(ret_why, s->stopped_in ? s->stopped_in : l->last,
			    s->stopped_at);
	return r;
}

/* What lies behind the end was promised to nobody. */
static void drop_behind(struct log *l, const struct scan *s)
{
	struct segment **p = &l->first, *last = NULL;

	if (!s->stopped_in)
		return;
	while (*p && *p != s->stopped_in) {
		last = *p;
		p = &last->next;
	}
	for (struct segment *seg = *p, *next; seg; seg = next) {
		next = seg->next;
		delete_file(l, seg->number);
		segment_unref(seg);
	}
	*p = NULL;
	l->last = last;
}

int log_scan(struct log *l, log_scan_fn *fn, void *arg, char **ret_why)
{
	struct scan s = { .l = l, .fn = fn, .arg = arg };
	CLEANUP_FREE uint64_t *list = NULL;
	size_t n = 0;
	int r = find_segments(l, &list, &n);

	if (r == 0)
		r = scan_all(&s, list, n, ret_why);
	if (r < 0)
		return r;
	drop_behind(l, &s);
	l->appended = s.last_seq;
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* crash_wback.c: loss of power at any moment. All sequences of one to three
 * changes of a tiny tree, with one wback_sync() at each place of each, are made;
 * then, of the log's files as they are, every state that a disk may be left in:
 * what was synced is there, what was not is lost from any point on, or torn, or
 * there in some of its sectors only. Whatever is opened then must be a beginning
 * of the history, with all that was synced.
 *
 *	crash_wback [CASE]     all, or the one that a failure names
 */
#include "wback_fixture.h"

/* Where each state takes ten times as long, a part of the longest sequences. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { ONE_OF = 10 };
#else
enum { ONE_OF = 1 };
#endif

enum { OPS = 9, LONGEST = 3, SECTOR = 512, ORDERS = 6, END_MAX = 48 * 1024 };

struct image { /* of the one file that changes */
	uint64_t number, size, used, synced; /* bytes that are, that are safe */
	uint8_t *bytes;
};

struct run {
	struct log_test t;
	char *after[LONGEST + 1]; /* what the overlay was after each change */
	unsigned n, durable;      /* changes; of which so many are synced */
	const char *what;
};

static uint64_t states, sequences;

/* ---- changes ---- */

/* False: it cannot be done in this state. */
static bool change(struct log_test *t, unsigned op)
{
	uint64_t a = name_in(t, ROOT, "a"), b = name_in(t, ROOT, "b");
	uint64_t d = name_in(t, ROOT, "d");
	bool has_a = a && a != UINT64_MAX, has_b = b && b != UINT64_MAX;

	switch (op) {
	case 0:
		if (has_a)
			return false;
		make_file(t, 100 + t->seq, ROOT, "a");
		return true;
	case 1:
		write_at(t, has_a ? a : 5, 1, "some contents of it");
		return true;
	case 2:
		if (!has_a)
			return false;
		move_file(t, a, ROOT, "a", ROOT, "b", has_b ? b : 0);
		return true;
	case 3:
		if (!has_a)
			return false;
		remove_file(t, a, ROOT, "a");
		wback_forget(t->wb, a);
		return true;
	case 4:
		if (d != UINT64_MAX)
			return false;
		make_dir(t, 200 + t->seq, ROOT, "d");
		return true;
	case 5:
		set_mtime(t, has_a ? a : 5, S_IFREG, 77);
		return true;
	case 6:
		cut_to(t, has_a ? a : 5, 7);
		return true;
	case 7:
		if (has_b)
			return false;
		link_to(t, has_a ? a : 5, ROOT, "b");
		return true;
	default: /* larger than a sector */
		if (!has_a)
			return false;
		{
			char text[1500];

			memset(text, 'x', sizeof(text) - 1);
			text[sizeof(text) - 1] = 0;
			write_at(t, a, 0, text);
		}
		return true;
	}
}

/* Everything that the overlay says, as text. */
static char *describe_all(struct wback *wb)
{
	static const char *const names[] = { "a", "b", "d" };
	struct log_test t = { .wb = wb };
	size_t size;
	char *text;
	FILE *f = open_memstream(&text, &size);

	for (unsigned k = 0; k < ARRAY_LEN(names); k++) {
		uint64_t ino = name_in(&t, ROOT, names[k]), at = 0;

		(void)fprintf(f, "%s %llu\n", names[k],
			      (unsigned long long)ino);
		if (ino == 0 || ino == UINT64_MAX)
			ino = 5;
		struct wback_view w;
		if (!wback_get(wb, ino, &w))
			continue;
		(void)fprintf(f, " %o %llu %lld %u %d\n", w.attr.mode,
			      (unsigned long long)(w.local & ATTR_SIZE ?
							   w.attr.size : 0),
			      (long long)w.attr.mtime.tv_sec, w.local,
			      w.nlink_delta);
		while (w.local & ATTR_SIZE && at < w.attr.size) {
			enum wback_source source;
			char buf[2048];
			uint32_t n;

			assert_int_equal(wback_read(wb, ino, at, 2048, buf,
						    &source, &n), 0);
			(void)fprintf(f, " %d at %llu: %.*s\n", source,
				      (unsigned long long)at,
				      source == WBACK_DATA ? (int)n : 0, buf);
			at += n;
		}
	}
	(void)fclose(f);
	return text;
}

/* ---- files ---- */

static void read_image(struct run *r, struct image *i)
{
	int fd = open_segment(&r->t, i->number, O_RDONLY);

	i->size = (uint64_t)lseek(fd, 0, SEEK_END);
	i->bytes = malloc(END_MAX);
	i->used = MIN(i->size, (uint64_t)END_MAX);
	assert_int_equal(pread(fd, i->bytes, i->used, 0), i->used);
	(void)close(fd);
	while (i->used > 0 && i->bytes[i->used - 1] == 0)
		i->used--;
	assert_true(i->used < END_MAX);
}

static void write_image(struct run *r, const struct image *i,
			const uint8_t *bytes, uint64_t len)
{
	int fd = open_segment(&r->t, i->number, O_RDWR | O_CREAT | O_TRUNC);

	assert_int_equal(pwrite(fd, bytes, len, 0), len);
	assert_int_equal(ftruncate(fd, (off_t)i->size), 0);
	(void)close(fd);
}

/* Opening begins another file; it goes before the next state. */
static void remove_later(struct run *r, uint64_t number)
{
	uint64_t list[64];
	char path[600];

	for (unsigned k = segments_of(&r->t, list); k-- > 0;)
		if (list[k] > number) {
			(void)snprintf(path, sizeof(path), "%s/%016llx.seg",
				       r->t.dir->path,
				       (unsigned long long)list[k]);
			(void)unlink(path);
		}
}

/* ---- one state ---- */

static void check_state(struct run *r, const struct image *i,
			const uint8_t *bytes, uint64_t len, const char *how)
{
	char *why = NULL, *text = NULL;
	unsigned k = 0;
	int e;

	states++;
	write_image(r, i, bytes, len);
	e = open_log(&r->t, &why);
	if (e == 0) {
		wback_check(r->t.wb);
		k = (unsigned)stats_of(&r->t).seq;
		text = describe_all(r->t.wb);
	}
	if (e < 0 || k < r->durable || k > r->n ||
	    strcmp(text, r->after[k]) != 0) {
		fprintf(stderr, "FAILED: case %s, %s at %llu: open %d (%s), "
			"%u of %u changes, %u were synced\n%s--- not:\n%s",
			r->what, how, (unsigned long long)len, e,
			why ? why : "", k, r->n, r->durable, text ? text : "",
			k <= r->n ? r->after[k] : "");
		exit(EXIT_FAILURE);
	}
	wback_close(r->t.wb);
	r->t.wb = NULL;
	free(text);
	free(why);
	remove_later(r, i->number);
}

static void check_states(struct run *r, const struct image *i)
{
	uint8_t *torn = malloc(END_MAX);
	uint64_t seed = run_seed();

	/* Lost from any point on. Records are multiples of eight; there are many
	 * of the longest sequences. */
	for (uint64_t at = i->synced; at < i->used; at += r->n < 3 ? 8 : 72) {
		check_state(r, i, i->bytes, at, "cut");
		check_state(r, i, i->bytes, at + 3, "torn");
	}
	check_state(r, i, i->bytes, i->used, "whole");
	/* Sectors of what is not safe are there or not, in any order. */
	for (unsigned k = 0; k < ORDERS; k++) {
		memcpy(torn, i->bytes, END_MAX);
		for (uint64_t at = i->synced; at < i->used;) {
			uint64_t end = MIN(i->used, (at / SECTOR + 1) * SECTOR);

			if (run_random(&seed) & 1)
				memset(torn + at, 0, end - at);
			at = end;
		}
		check_state(r, i, torn, i->used, "sectors");
	}
	free(torn);
}

/* ---- one sequence ---- */

static uint64_t used_now(struct run *r, uint64_t number)
{
	struct image i = { .number = number };

	read_image(r, &i);
	free(i.bytes);
	return (i.used + 7) & ~UINT64_C(7);
}

/* @sync_after: changes before the sync. */
static void run_sequence(const unsigned *ops, unsigned n, unsigned sync_after,
			 const char *what)
{
	struct run r = { .what = what };
	struct image i = { .number = 1 };
	void *dir = NULL;

	assert_int_equal(run_dir_setup(&dir), 0);
	r.t.dir = dir;
	r.t.o = (struct wback_options){ .bytes_max = 64 << 20,
					.segment_bytes = 48 * 1024,
					.interval_ms = 3600 * 1000,
					.name_offset = plain_offset };
	log_opens(&r.t);
	assert_int_equal(wback_sync(r.t.wb, 0), 0);
	for (unsigned k = 0; k <= n; k++) {
		if (k > 0 && !change(&r.t, ops[k - 1]))
			break;
		r.n = k;
		r.after[k] = describe_all(r.t.wb);
		if (k == sync_after) {
			assert_int_equal(wback_sync(r.t.wb, 0), 0);
			r.durable = k;
			i.synced = used_now(&r, 1);
		}
	}
	if (r.n == n) {
		sequences++;
		read_image(&r, &i);
		wback_close(r.t.wb);
		check_states(&r, &i);
		free(i.bytes);
	} else {
		wback_close(r.t.wb);
	}
	for (unsigned k = 0; k <= LONGEST; k++)
		free(r.after[k]);
	(void)run_dir_teardown(&dir);
}

int main(int argc, char **argv)
{
	if (access("/dev/shm", W_OK) == 0)
		(void)setenv("TMPDIR", "/dev/shm", 0);
	for (unsigned n = 1; n <= LONGEST; n++)
		for (unsigned code = 0; code < OPS * OPS * OPS; code++)
			for (unsigned sync = 0; sync <= n; sync++) {
				unsigned ops[LONGEST] = { code % OPS,
							  code / OPS % OPS,
							  code / OPS / OPS };
				char what[32];

				if ((n < 3 && ops[2]) || (n < 2 && ops[1]))
					continue;
				(void)snprintf(what, sizeof(what), "%u.%u.%u",
					       n, code, sync);
				if (argc > 1 ? strcmp(argv[1], what) != 0 :
					n == LONGEST && (code * 7 + sync) % ONE_OF)
					continue;
				run_sequence(ops, n, sync, what);
			}
	printf("%llu sequences, %llu crash states, 0 failures\n",
	       (unsigned long long)sequences, (unsigned long long)states);
	return EXIT_SUCCESS;
}

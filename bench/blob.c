/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blob.c: how fast the content cache takes and gives back, in one thread:
 *
 *	build/bench/blobbench DIR [MIB]
 *
 * Contents are pieces of this program's own file, which compress like any.
 *Times of writing are those of the caller, then of everything being on its way
 *to the disk. The page cache is warm.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "../cache/blob.h"
#include "../cache/sync.h"

static uint8_t sample[4 << 20];
static size_t sample_bytes;

static double now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void say(const char *what, uint64_t files, uint64_t bytes, double s)
{
	printf("  %-8s %8.0f MB/s  %9.0f files/s\n", what,
	       (double)bytes / s / 1e6, (double)files / s);
}

/* Any @len bytes in a row, by @i. */
static const uint8_t *contents(uint64_t i, size_t len, bool random)
{
	static uint8_t noise[2 << 20];
	static bool made;

	if (!random)
		return sample + i * 4099 % (sample_bytes - len);
	for (size_t k = 0; !made && k < sizeof(noise); k++)
		noise[k] = (uint8_t)(rand() >> 7);
	made = true;
	return noise + i * 4099 % (sizeof(noise) - len);
}

static void run(struct blob *b, const char *name, uint64_t first,
		uint64_t files, uint32_t len, bool random)
{
	struct blob_version v = { .size = len, .mtime = { 1, 2 } };
	uint64_t got = 0, here = 0, again = 0;
	double t = now();

	printf("%s: %llu of %u bytes\n", name, (unsigned long long)files, len);
	for (uint64_t i = 0; i < files; i++) {
		struct bytes *of = bytes_new(len);
		struct slice data = { .of = of, .len = len };

		if (!of)
			abort();
		data.at = memcpy(of->at, contents(i, len, random), len);
		while (blob_write(b, first + i, &v, 0, &data) == -EAGAIN) {
			again++;
			blob_flush(b);
		}
		slice_done(&data);
	}
	say("write", files, files * len, now() - t);
	blob_flush(b);
	say("written", files, files * len, now() - t);
	t = now();
	for (uint64_t i = 0; i < files; i++) {
		struct slice part = { 0 };
		uint64_t n = 0;

		while (n < len && blob_read(b, first + i, &v, n, len, &part) ==
					  0) {
			n += part.len;
			slice_done(&part);
		}
		got += n;
		here += n == len;
	}
	say("read", here, got, now() - t);
	if (here < files || again)
		printf("  (%llu here, %llu waits)\n", (unsigned long long)here,
		       (unsigned long long)again);
}

int main(int argc, char **argv)
{
	struct blob_options o = { .bytes_max = UINT64_C(4) << 30 };
	uint64_t bytes = (argc > 2 ? strtoull(argv[2], NULL, 0) : 256) << 20;
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct blob_stats s;
	struct blob *b;
	int r;

	if (argc < 2)
		return 2;
	sample_bytes = (size_t)MAX(read(fd, sample, sizeof(sample)), 0);
	for (; sample_bytes < sizeof(sample); sample_bytes *= 2)
		memcpy(sample + sample_bytes, sample,
		       MIN(sample_bytes, sizeof(sample) - sample_bytes));
	sample_bytes = sizeof(sample);
	r = blob_open(argv[1], "bench", &o, &b);
	if (r < 0) {
		fprintf(stderr, "%s: %s\n", argv[1], strerror(-r));
		return 1;
	}
	run(b, "small", 1, bytes / 4 / 4096, 4096, false);
	run(b, "large", 10000000, bytes >> 20, 1 << 20, false);
	run(b, "small, random", 20000000, bytes / 4 / 4096, 4096, true);
	run(b, "large, random", 30000000, bytes >> 20, 1 << 20, true);
	blob_get_stats(b, &s);
	printf("on disk %llu of %llu bytes, %llu refused\n",
	       (unsigned long long)s.bytes, (unsigned long long)s.written_bytes,
	       (unsigned long long)s.refused);
	blob_close(b);
	return 0;
}

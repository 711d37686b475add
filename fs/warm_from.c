/* SPDX-License-Identifier: GPL-2.0-or-later */
/* warm_from.c: owns the threads that go through a record.
 *
 * Each takes the next line, in the file's order, so that a directory is met
 * before what is in it, and lists the directory or reads the file as a program
 * would: what waits for the server is a thread of ours, and THREADS of them wait
 * at once. The mount's own limit on that is higher, so that programs are served
 * meanwhile.
 *
 * `lock` guards the file and the progress.
 */
#include "warm_from.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include "../cache/sync.h"
#include "inroot.h"

enum { THREADS = 48, READ_BYTES = 1024 * 1024, TELL_MS = 50 };

struct crew {
	int root_fd;
	dev_t dev;
	uint64_t bytes_max;

	struct mutex lock;
	struct cond ended; /* a thread has */
	FILE *in;
	bool stop;
	unsigned running;
	struct warm_from_progress p;
	uint64_t bad_line; /* 0: none */
};

/* ---- one line ---- */

static int list(int fd)
{
	DIR *d = fdopendir(fd);
	int err = 0;

	if (!d) {
		err = -errno;
		(void)close(fd);
		return err;
	}
	errno = 0;
	while (readdir(d))
		;
	err = -errno;
	(void)closedir(d);
	return err;
}

static bool is_stopped(struct crew *c)
{
	bool stop;

	mutex_lock(&c->lock);
	stop = c->stop;
	mutex_unlock(&c->lock);
	return stop;
}

static int read_all(struct crew *c, int fd, char *buf, uint64_t *ret_bytes)
{
	ssize_t n;

	while ((n = read(fd, buf, READ_BYTES)) > 0) {
		*ret_bytes += (uint64_t)n;
		if (is_stopped(c))
			break;
	}
	return n < 0 ? -errno : 0;
}

/* -ENOENT also when it is of no use: another kind of file, or another
 * filesystem. */
static int use(struct crew *c, enum record_use what, const char *path, char *buf,
	       uint64_t *ret_bytes)
{
	/* Looked at first: opening a device or a FIFO does things. */
	CLEANUP_CLOSE int fd = inroot_open(c->root_fd, path,
					   O_PATH | O_NOFOLLOW);
	struct stat st;
	int r;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_dev != c->dev)
		return -ENOENT;
	if (what == RECORD_CONTENTS && S_ISLNK(st.st_mode))
		return readlinkat(fd, "", buf, PATH_MAX) < 0 ? -errno : 0;
	if (what == RECORD_NAMES ? !S_ISDIR(st.st_mode) :
				   !S_ISREG(st.st_mode))
		return -ENOENT;
	if (what == RECORD_CONTENTS && (uint64_t)st.st_size > c->bytes_max)
		return 0;
	r = inroot_open(c->root_fd, path,
			O_RDONLY | O_NOFOLLOW |
				(what == RECORD_NAMES ? O_DIRECTORY : 0));
	if (r < 0)
		return r;
	if (what == RECORD_NAMES)
		return list(r);
	cleanup_closep(&fd);
	fd = r;
	return read_all(c, fd, buf, ret_bytes);
}

static void count(struct crew *c, enum record_use what, int r, uint64_t bytes)
{
	struct warm_from_progress *p = &c->p;

	mutex_lock(&c->lock);
	p->done++;
	p->bytes += bytes;
	if (r == -ENOENT || r == -ENOTDIR || r == -ELOOP || r == -ESTALE)
		p->gone++;
	else if (r < 0)
		p->failed++;
	else if (what == RECORD_NAMES)
		p->names++;
	else
		p->contents++;
	if (r < 0 && p->failed == 1 && p->error == 0)
		p->error = r;
	mutex_unlock(&c->lock);
}

/* ---- the threads ---- */

/* The next line without its newline, in *@line (malloc'ed). False: there is
 * none, or it is time to end. */
static bool next_line(struct crew *c, char **line, size_t *size)
{
	ssize_t n = -1;

	mutex_lock(&c->lock);
	if (!c->stop)
		n = getline(line, size, c->in);
	mutex_unlock(&c->lock);
	if (n <= 0)
		return false;
	(*line)[strcspn(*line, "\n")] = '\0';
	return true;
}

static void *work(void *arg)
{
	struct crew *c = arg;
	CLEANUP_FREE char *line = NULL;
	CLEANUP_FREE char *buf = malloc(READ_BYTES);
	size_t size = 0;

	while (buf && next_line(c, &line, &size)) {
		enum record_use what;
		uint64_t bytes = 0;
		char *path;
		/* All lines have been understood once. */
		int r = record_parse(line, &what, &path);

		if (r == 0)
			r = use(c, what, path, buf, &bytes);
		count(c, what, r, bytes);
	}
	mutex_lock(&c->lock);
	c->running--;
	cond_signal(&c->ended);
	mutex_unlock(&c->lock);
	return NULL;
}

/* Is all of it understood? Then the next line is the second again. */
static int look_through(struct crew *c)
{
	CLEANUP_FREE char *line = NULL;
	size_t size = 0;
	uint64_t n = 0;
	long second = 0;
	int r = 0;

	while (r == 0 && getline(&line, &size, c->in) > 0) {
		enum record_use what;
		char *path;

		line[strcspn(line, "\n")] = '\0';
		n++;
		if (n == 1 && !record_is_head(line))
			r = -EBADMSG;
		else if (n == 1)
			second = ftell(c->in);
		else
			r = record_parse(line, &what, &path);
	}
	if (r == 0 && ferror(c->in))
		r = -EIO;
	if (n == 0 || r == -EBADMSG) {
		c->bad_line = MAX(n, (uint64_t)1);
		return -EBADMSG;
	}
	c->p.lines = n - 1;
	return r < 0 ? r : fseek(c->in, second, SEEK_SET) < 0 ? -errno : 0;
}

/* Until all threads have ended, or @tell breaks off. */
static int watch(struct crew *c, warm_from_fn *tell, void *arg)
{
	struct warm_from_progress p;
	bool over = false;
	int r = 0;

	while (r == 0 && !over) {
		mutex_lock(&c->lock);
		if (c->running > 0)
			(void)cond_wait_until(&c->ended, &c->lock,
					      clock_ms() + TELL_MS);
		over = c->running == 0;
		p = c->p;
		mutex_unlock(&c->lock);
		r = tell(arg, &p);
	}
	mutex_lock(&c->lock);
	c->stop = true;
	mutex_unlock(&c->lock);
	return r;
}

/* *@ret_left: threads are left that wait for the server, and use @c. */
static int go(struct crew *c, warm_from_fn *tell, void *arg, bool *ret_left)
{
	pthread_t threads[THREADS];
	unsigned n = 0;
	int r;

	c->running = THREADS;
	while (n < THREADS &&
	       pthread_create(&threads[n], NULL, work, c) == 0)
		n++;
	mutex_lock(&c->lock);
	c->running -= THREADS - n; /* what there are do */
	mutex_unlock(&c->lock);
	r = n > 0 ? watch(c, tell, arg) : -EAGAIN;
	*ret_left = r < 0 && n > 0;
	for (unsigned k = 0; k < n; k++)
		(void)(*ret_left ? pthread_detach(threads[k]) :
				   pthread_join(threads[k], NULL));
	return r;
}

static void crew_free(struct crew *c)
{
	if (c->in)
		(void)fclose(c->in);
	cond_destroy(&c->ended);
	mutex_destroy(&c->lock);
	free(c);
}

int warm_from(int root_fd, const char *file, uint64_t bytes_max,
	      warm_from_fn *tell, void *arg, uint64_t *ret_line)
{
	struct crew *c = calloc(1, sizeof(*c));
	bool left = false;
	struct stat st;
	int r = 0;

	if (!c)
		return -ENOMEM;
	c->root_fd = root_fd;
	c->bytes_max = bytes_max;
	mutex_init(&c->lock);
	cond_init(&c->ended);
	c->in = fopen(file, "re");
	if (!c->in || fstat(root_fd, &st) < 0)
		r = -errno;
	else
		c->dev = st.st_dev;
	if (r == 0)
		r = look_through(c);
	*ret_line = c->bad_line;
	if (r == 0)
		r = go(c, tell, arg, &left);
	if (!left)
		crew_free(c);
	return r;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* contents.c: owns the thread that checks the content cache. It is started by a
 * request, ends by itself, and is joined by the next request or at closing.
 *
 * `lock` guards what the thread tells: whether it runs, and how far it is.
 */
#include "contents.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>

#include "../cache/msg.h"
#include "../cache/sync.h"

struct contents {
	struct blob *blob;
	pthread_t thread;
	bool started; /* to be joined; the requests' own */

	struct mutex lock;
	bool running, stop;
	struct blob_check so_far;
	uint64_t total; /* bytes */
	int error;
};

static int tell(void *arg, const struct blob_check *so_far)
{
	struct contents *c = arg;
	bool stop;

	mutex_lock(&c->lock);
	c->so_far = *so_far;
	stop = c->stop;
	mutex_unlock(&c->lock);
	return stop ? -ECANCELED : 0;
}

static void *check(void *arg)
{
	struct contents *c = arg;
	struct blob_check all;
	int r = blob_check(c->blob, tell, c, &all);

	mutex_lock(&c->lock);
	if (r == 0)
		c->so_far = all;
	c->error = r;
	c->running = false;
	mutex_unlock(&c->lock);
	return NULL;
}

static int begin(struct contents *c)
{
	struct blob_stats s;
	bool running;
	int r;

	mutex_lock(&c->lock);
	running = c->running;
	mutex_unlock(&c->lock);
	if (running)
		return 0;
	if (c->started)
		(void)pthread_join(c->thread, NULL);
	blob_get_stats(c->blob, &s);
	mutex_lock(&c->lock);
	c->so_far = (struct blob_check){ 0 };
	c->total = s.bytes;
	c->error = 0;
	c->running = true;
	mutex_unlock(&c->lock);
	r = -pthread_create(&c->thread, NULL, check, c);
	c->started = r == 0;
	if (r < 0) {
		mutex_lock(&c->lock);
		c->running = false;
		mutex_unlock(&c->lock);
	}
	return r;
}

static void answer_state(struct contents *c, FILE *out)
{
	mutex_lock(&c->lock);
	(void)fprintf(out,
		      "checking %d chunks %" PRIu64 " bytes %" PRIu64
		      " damaged %" PRIu64 " of %" PRIu64 " error %d\n",
		      c->running, c->so_far.chunks, c->so_far.bytes,
		      c->so_far.damaged, c->total, -c->error);
	mutex_unlock(&c->lock);
}

int contents_answer(struct contents *c, const char *request, FILE *out)
{
	int r = 0;

	if (!c->blob) {
		(void)fputs("error contents of files are not kept\n", out);
		return 0;
	}
	if (strcmp(request, "contents state") == 0) {
		answer_state(c, out);
		return 0;
	}
	if (strcmp(request, "contents check") == 0)
		r = begin(c);
	else if (strcmp(request, "contents clear") == 0)
		blob_clear(c->blob);
	else
		return -EINVAL;
	(void)fprintf(out, r < 0 ? "error %s\n" : "ok\n", msg_strerror(r));
	return 0;
}

int contents_open(struct blob *blob, struct contents **ret)
{
	struct contents *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->blob = blob;
	mutex_init(&c->lock);
	*ret = c;
	return 0;
}

void contents_close(struct contents *c)
{
	if (!c)
		return;
	mutex_lock(&c->lock);
	c->stop = true;
	mutex_unlock(&c->lock);
	if (c->started)
		(void)pthread_join(c->thread, NULL);
	mutex_destroy(&c->lock);
	free(c);
}

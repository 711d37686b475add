/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remote.c: what all remotes share: the life of a call, its stack of
 * completions, and the blocking form.
 *
 * A call has one reference of its creator's and one of each submission under
 * way, so that a waiter that was interrupted can walk away: the reply finds the
 * call's own memory, and frees it.
 */
#include "remote.h"

#include <assert.h>

static const char *const op_names[REMOTE_OPS] = {
	[REMOTE_NULL] = "NULL",
	[REMOTE_GETATTR] = "GETATTR",
	[REMOTE_SETATTR] = "SETATTR",
	[REMOTE_LOOKUP] = "LOOKUP",
	[REMOTE_ACCESS] = "ACCESS",
	[REMOTE_READLINK] = "READLINK",
	[REMOTE_READ] = "READ",
	[REMOTE_WRITE] = "WRITE",
	[REMOTE_COMMIT] = "COMMIT",
	[REMOTE_CREATE] = "CREATE",
	[REMOTE_MKDIR] = "MKDIR",
	[REMOTE_SYMLINK] = "SYMLINK",
	[REMOTE_MKNOD] = "MKNOD",
	[REMOTE_REMOVE] = "REMOVE",
	[REMOTE_RMDIR] = "RMDIR",
	[REMOTE_RENAME] = "RENAME",
	[REMOTE_LINK] = "LINK",
	[REMOTE_READDIRPLUS] = "READDIRPLUS",
	[REMOTE_FSSTAT] = "FSSTAT",
	[REMOTE_FSINFO] = "FSINFO",
	[REMOTE_PATHCONF] = "PATHCONF",
};

const char *remote_op_name(enum remote_op op)
{
	return op_names[op];
}

/* ---- the life of a call ---- */

struct remote_call *remote_call_new(enum remote_op op, const struct handle *fh,
				    const char *name)
{
	struct remote_call *c;

	if (name && strlen(name) > NAME_BYTES_MAX)
		return NULL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->op = op;
	c->refs = 1;
	if (fh)
		c->fh = *fh;
	if (name)
		strcpy(c->name, name);
	return c;
}

struct remote_call *remote_call_ref(struct remote_call *c)
{
	__atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
	return c;
}

static void drop_data(struct remote_call *c)
{
	if (c->data_of)
		bytes_unref(c->data_of);
	else
		free(c->data);
	c->data_of = NULL;
	c->data = NULL;
	c->data_len = 0;
}

void remote_call_unref(struct remote_call *c)
{
	if (!c || __atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	free(c->entries);
	drop_data(c);
	free(c);
}

static bool op_returns_data(enum remote_op op)
{
	return op == REMOTE_READ || op == REMOTE_READLINK;
}

void remote_call_reset(struct remote_call *c)
{
	if (op_returns_data(c->op))
		drop_data(c);
	free(c->entries);
	c->entries = NULL;
	c->entries_n = 0;
	c->status = 0;
	c->maybe_done = c->eof = false;
	c->has_attr = c->has_dir_attr = c->has_dir2_attr = false;
	c->fh_out.len = 0;
	c->pre.valid = c->pre2.valid = false;
}

/* ---- submission and completion ---- */

void remote_submit(struct remote *r, struct remote_call *c,
		   remote_done_fn *done, void *arg)
{
	assert(c->frames_n < ARRAY_LEN(c->frames));
	c->frames[c->frames_n].fn = done;
	c->frames[c->frames_n].arg = arg;
	c->frames_n++;
	remote_call_ref(c);
	r->v->submit(r, c);
}

void remote_complete(struct remote_call *c)
{
	assert(c->frames_n > 0);
	c->frames_n--;
	c->frames[c->frames_n].fn(c, c->frames[c->frames_n].arg);
	remote_call_unref(c);
}

void remote_get_info(struct remote *r, struct remote_info *ret)
{
	memset(ret, 0, sizeof(*ret));
	r->v->info(r, ret);
}

void remote_close(struct remote *r)
{
	if (r)
		r->v->close(r);
}

/* ---- the blocking form ---- */

void remote_intr_raise(struct remote_intr *i)
{
	__atomic_store_n(&i->raised, true, __ATOMIC_RELEASE);
}

/* One waiter's half of a blocking call. It is shared with the completion, and
 * freed by whichever of the two lets go last: an interrupted waiter leaves
 * before the completion comes, and takes its remote_intr with it. */
struct wait {
	struct mutex lock; /* guards what follows */
	struct cond cond;
	bool over;
	unsigned refs;
};

static void wait_unref(struct wait *w)
{
	bool last;

	mutex_lock(&w->lock);
	last = --w->refs == 0;
	mutex_unlock(&w->lock);
	if (!last)
		return;
	cond_destroy(&w->cond);
	mutex_destroy(&w->lock);
	free(w);
}

static void wait_done(struct remote_call *c, void *arg)
{
	struct wait *w = arg;

	(void)c;
	mutex_lock(&w->lock);
	w->over = true;
	cond_broadcast(&w->cond);
	mutex_unlock(&w->lock);
	wait_unref(w);
}

bool remote_intr_is_fatal(struct remote_intr *i)
{
	return __atomic_load_n(&i->raised, __ATOMIC_ACQUIRE) &&
	       (!i->fatal || i->fatal(i->arg));
}

/* How often a waiter looks whether it was interrupted. A reply is never
 * delayed by this: it wakes the waiter itself. */
enum { INTR_POLL_MS = 100 };

int remote_run(struct remote *r, struct remote_call *c, struct remote_intr *intr,
	       unsigned timeout_ms)
{
	uint64_t end = timeout_ms ? clock_ms() + timeout_ms : UINT64_MAX;
	struct wait *w = calloc(1, sizeof(*w));
	int status = 0;

	if (!w)
		return -ENOMEM;
	mutex_init(&w->lock);
	cond_init(&w->cond);
	w->refs = 2;
	remote_submit(r, c, wait_done, w);

	mutex_lock(&w->lock);
	while (!w->over) {
		uint64_t now = clock_ms();

		if (now >= end) {
			status = -EAGAIN;
			break;
		}
		(void)cond_wait_until(&w->cond, &w->lock,
				      MIN(end, now + INTR_POLL_MS));
		if (w->over || !intr)
			continue;
		mutex_unlock(&w->lock);
		bool fatal = remote_intr_is_fatal(intr);
		mutex_lock(&w->lock);
		if (fatal && !w->over) {
			status = -EINTR;
			break;
		}
	}
	if (w->over)
		status = c->status;
	mutex_unlock(&w->lock);
	wait_unref(w);
	return status;
}

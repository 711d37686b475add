/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remote_mem_conn.c: a connection to the server in memory.
 *
 * A connection has a lock of its own for its queue, never held together with
 * the server's. A call that waits in the queue has not been executed: it is
 * when its time comes, in the connection's thread. Without a queue calls are
 * executed and completed within remote_submit().
 */
#include "remote_mem_tree.h"

struct queued {
	struct remote_call *call;
	uint64_t due_ms;
	struct queued *next;
};

struct connection {
	struct remote base;
	struct remote_mem *mem;
	bool async;
	pthread_t thread;
	struct mutex lock; /* guards what follows */
	struct cond cond;  /* the queue has grown, or closing is set */
	struct queued *first, **last;
	bool closing;
	uint64_t calls[REMOTE_OPS], replies;
};

static void answer(struct connection *conn, struct remote_call *c)
{
	mem_execute(conn->mem, c);
	mutex_lock(&conn->lock);
	conn->replies++;
	mutex_unlock(&conn->lock);
	remote_complete(c);
}

static void *connection_thread(void *arg)
{
	struct connection *conn = arg;

	mutex_lock(&conn->lock);
	while (conn->first || !conn->closing) {
		struct queued *q = conn->first;

		if (!q) {
			cond_wait(&conn->cond, &conn->lock);
			continue;
		}
		if (!conn->closing && clock_ms() < q->due_ms) {
			(void)cond_wait_until(&conn->cond, &conn->lock,
					      q->due_ms);
			continue;
		}
		conn->first = q->next;
		if (!q->next)
			conn->last = &conn->first;
		bool lost = conn->closing;
		mutex_unlock(&conn->lock);
		if (lost) {
			q->call->status = -ENOTCONN;
			remote_complete(q->call);
		} else {
			answer(conn, q->call);
		}
		free(q);
		mutex_lock(&conn->lock);
	}
	mutex_unlock(&conn->lock);
	return NULL;
}

static void connection_submit(struct remote *r, struct remote_call *c)
{
	struct connection *conn = CONTAINER_OF(r, struct connection, base);
	struct queued *q = conn->async ? mem_alloc(sizeof(*q)) : NULL;
	unsigned delay_ms;

	mutex_lock(&conn->mem->lock);
	delay_ms = conn->mem->o.delay_ms;
	mutex_unlock(&conn->mem->lock);
	mutex_lock(&conn->lock);
	conn->calls[c->op]++;
	if (q) {
		q->call = c;
		q->due_ms = clock_ms() + delay_ms;
		*conn->last = q;
		conn->last = &q->next;
		cond_signal(&conn->cond);
	}
	mutex_unlock(&conn->lock);
	if (!q)
		answer(conn, c);
}

static void connection_info(struct remote *r, struct remote_info *ret)
{
	struct connection *conn = CONTAINER_OF(r, struct connection, base);

	mutex_lock(&conn->lock);
	ret->connections = ret->connected = 1;
	memcpy(ret->calls, conn->calls, sizeof(ret->calls));
	ret->replies = conn->replies;
	mutex_unlock(&conn->lock);
	(void)snprintf(ret->address, sizeof(ret->address), "memory");
}

static void connection_close(struct remote *r)
{
	struct connection *conn = CONTAINER_OF(r, struct connection, base);

	mutex_lock(&conn->lock);
	conn->closing = true;
	cond_signal(&conn->cond);
	mutex_unlock(&conn->lock);
	if (conn->async)
		(void)pthread_join(conn->thread, NULL);
	cond_destroy(&conn->cond);
	mutex_destroy(&conn->lock);
	free(conn);
}

static const struct remote_vtable connection_vtable = {
	.submit = connection_submit,
	.info = connection_info,
	.close = connection_close,
};

struct remote *remote_mem_connect(struct remote_mem *m)
{
	struct connection *conn = mem_alloc(sizeof(*conn));

	conn->base.v = &connection_vtable;
	conn->mem = m;
	conn->last = &conn->first;
	mutex_init(&conn->lock);
	cond_init(&conn->cond);
	mutex_lock(&m->lock);
	conn->async = m->o.async;
	mutex_unlock(&m->lock);
	if (conn->async &&
	    pthread_create(&conn->thread, NULL, connection_thread, conn) != 0)
		abort();
	return &conn->base;
}

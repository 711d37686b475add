/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nfs_conn.c: one connection to the server: a thread, a libnfs context, an
 * eventfd to wake it.
 *
 *  state        context   queue              in flight   leaves it when
 *  -----        -------   -----              ---------   --------------
 *  DOWN         none      empty              none        a call comes, and the
 *                                                        back-off has passed
 *  CONNECTING   being     waits; -ENOTCONN   none        connected: UP; failed:
 *               made      on failure                     DOWN, longer back-off
 *  UP           one       sent in batches    any number  broken, silent for
 *                                                        timeo, closing: DOWN
 *
 * Each connection made has a fresh context, so that nothing of an old one can
 * reach a new one. When a connection is lost, what libnfs was given may have
 * been executed by the server (-ECONNRESET, maybe_done), what waited in the
 * queue was not (-ENOTCONN). So that little is uncertain, no more than a batch
 * is given to libnfs before the socket has taken the one before.
 *
 * A call completes exactly once: with its reply, from libnfs's callback; or
 * else after libnfs is done with it, from the list of flights, whatever libnfs
 * did or did not say about it.
 *
 * The thread's life: sleep, send, serve, complete. Completions run in it with
 * no lock held; they may submit further calls, here or to other connections.
 *
 * Back-off: 100 ms after the first failure, twice as long after each further
 * one, 5 s at most. A connection that broke without one reply counts as a
 * failure: else a server that accepts and drops would be asked without pause.
 */
#include <linux/tcp.h> /* TCP_INFO with byte counts; glibc's has none */
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "../cache/msg.h"
#include "nfs.h"

enum {
	BACKOFF_MIN_MS = 100,
	BACKOFF_MAX_MS = 5000,
	CONNECT_MS = 10000,
	BATCH_CALLS = 128,
	BATCH_BYTES = 1024 * 1024,
};

/* ---- under the lock, from any thread ---- */

bool nfs_conn_may_try(struct nfs *nfs, const struct nfs_conn *c,
		      uint64_t now_ms)
{
	(void)nfs;
	return c->state == NFS_DOWN && now_ms >= c->retry_ms;
}

void nfs_conn_kick(struct nfs *nfs, struct nfs_conn *c)
{
	(void)nfs;
	c->state = NFS_CONNECTING;
	c->asleep = false;
	nfs_conn_wake(c);
}

bool nfs_conn_push(struct nfs *nfs, struct nfs_conn *c,
		   struct remote_call *call)
{
	bool wake = c->asleep;

	(void)nfs;
	call->next = NULL;
	if (c->queue_tail)
		c->queue_tail->next = call;
	else
		c->queue_head = call;
	c->queue_tail = call;
	c->load++;
	c->asleep = false;
	return wake;
}

void nfs_conn_wake(struct nfs_conn *c)
{
	static const uint64_t one = 1;

	/* Fails only when the counter is full: then it is awake. */
	(void)!write(c->wake_fd, &one, sizeof(one));
}

void nfs_conn_add_bytes(struct nfs *nfs, const struct nfs_conn *c,
			uint64_t *out, uint64_t *in)
{
	struct tcp_info i = { 0 };
	socklen_t len = sizeof(i);

	(void)nfs;
	if (c->fd < 0 ||
	    getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &i, &len) < 0)
		return;
	*out += i.tcpi_bytes_acked;
	*in += i.tcpi_bytes_received;
}

/* ---- flights: the thread's own ---- */

static struct nfs_flight *flight_new(struct nfs_conn *c,
				     struct remote_call *call)
{
	struct nfs_flight *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->conn = c;
	f->call = call;
	f->cookie = call->cookie;
	memcpy(f->verf, call->verf, sizeof(f->verf));
	f->sent_ms = clock_ms();
	f->prev = c->flights_tail;
	if (f->prev)
		f->prev->next = f;
	else
		c->flights = f;
	c->flights_tail = f;
	return f;
}

static void flight_free(struct nfs_flight *f)
{
	struct nfs_conn *c = f->conn;

	if (f->prev)
		f->prev->next = f->next;
	else
		c->flights = f->next;
	if (f->next)
		f->next->prev = f->prev;
	else
		c->flights_tail = f->prev;
	bytes_unref(f->buf);
	free(f);
}

/* The call leaves the connection. */
static void flight_end(struct nfs_flight *f, int status)
{
	struct remote_call *call = f->call;

	f->conn->completed++;
	flight_free(f);
	call->status = status;
	remote_complete(call);
}

void nfs_flight_finish(struct nfs_flight *f, int status)
{
	f->conn->heard = true;
	__atomic_add_fetch(&f->conn->nfs->replies, 1, __ATOMIC_RELAXED);
	flight_end(f, status);
}

static void flight_send(struct nfs_flight *f)
{
	int r = nfs_flight_start(f);

	if (r < 0)
		flight_end(f, r);
}

/* After libnfs returned, and the connection is fine: flights that the server
 * rejected as messages are over, those that are to go again go. */
static void sweep(struct nfs_conn *c)
{
	struct nfs_flight *next;

	if (!c->sweep)
		return;
	c->sweep = false;
	for (struct nfs_flight *f = c->flights; f; f = next) {
		next = f->next;
		if (f->again) {
			f->again = false;
			f->rejected = 0;
			flight_send(f);
		} else if (f->rejected) {
			f->call->maybe_done = f->rejected == -ETIMEDOUT;
			nfs_flight_finish(f, f->rejected);
		}
	}
}

static void fail_list(struct remote_call *list, int status)
{
	struct remote_call *next;

	for (struct remote_call *call = list; call; call = next) {
		next = call->next;
		call->status = status;
		remote_complete(call);
	}
}

/* ---- states ---- */

static struct remote_call *take_queue(struct nfs *nfs, struct nfs_conn *c)
	REQUIRES(nfs->lock)
{
	struct remote_call *list = c->queue_head;

	(void)nfs;
	c->queue_head = c->queue_tail = NULL;
	return list;
}

static void enter_down(struct nfs *nfs, struct nfs_conn *c, bool failed)
	REQUIRES(nfs->lock)
{
	(void)nfs;
	c->state = NFS_DOWN;
	c->load = 0;
	c->fd = -1;
	if (failed) {
		c->backoff_ms = MIN(MAX(2 * c->backoff_ms,
					(unsigned)BACKOFF_MIN_MS),
				    (unsigned)BACKOFF_MAX_MS);
		c->retry_ms = clock_ms() + c->backoff_ms;
	} else {
		c->backoff_ms = 0;
		c->retry_ms = 0;
	}
}

/* UP -> DOWN. Calls in flight end with @status; they, and those that wait,
 * complete when the state is settled and the context is gone. */
static void lose(struct nfs_conn *c, int status)
{
	struct nfs *nfs = c->nfs;
	struct remote_call *waiting;

	msg_debug("nfs", "connection lost: %s", msg_strerror(status));
	mutex_lock(&nfs->lock);
	nfs_conn_add_bytes(nfs, c, &nfs->bytes_out, &nfs->bytes_in);
	waiting = take_queue(nfs, c);
	enter_down(nfs, c, !c->heard);
	mutex_unlock(&nfs->lock);

	rpc_destroy_context(c->rpc);
	c->rpc = NULL;
	nfs_reader_done(&c->reader);
	c->sweep = false;
	while (c->flights) {
		c->flights->call->maybe_done = true;
		flight_end(c->flights, status);
	}
	c->completed = 0; /* enter_down() has taken the load off */
	fail_list(waiting, -ENOTCONN);
}

static void drain_wake_fd(struct nfs_conn *c)
{
	uint64_t n;

	(void)!read(c->wake_fd, &n, sizeof(n));
}

static void attempt(struct nfs_conn *c)
{
	struct nfs *nfs = c->nfs;
	struct remote_call *waiting = NULL;
	bool closing;
	int r;

	/* In this order: who closes sets the flag, then wakes. */
	drain_wake_fd(c);
	mutex_lock(&nfs->lock);
	closing = nfs->closing;
	mutex_unlock(&nfs->lock);
	if (closing)
		return;
	r = nfs_rpc_connect(nfs->server.address, nfs->server.port,
			    MIN(nfs->timeo_ms, (unsigned)CONNECT_MS),
			    c->wake_fd, &c->rpc);
	mutex_lock(&nfs->lock);
	if (r == 0) {
		c->xid = nfs_rpc_random();
		c->state = NFS_UP;
		c->fd = rpc_get_fd(c->rpc);
		c->heard = false;
		nfs->reconnects += c->ever_up;
		c->ever_up = true;
	} else if (r != -ECANCELED || nfs->closing) {
		waiting = take_queue(nfs, c);
		enter_down(nfs, c, true);
	} /* else a late wake-up from before: the next round tries again */
	mutex_unlock(&nfs->lock);
	fail_list(waiting, -ENOTCONN);
}

/* ---- the thread ---- */

/* Take calls from the queue for one batch; they come back as a list. */
static struct remote_call *take_batch(struct nfs_conn *c, unsigned *ret_n)
{
	struct nfs *nfs = c->nfs;
	struct remote_call *list, **tail;
	size_t bytes = 0;
	unsigned n = 0;

	mutex_lock(&nfs->lock);
	list = c->queue_head;
	tail = &list;
	while (*tail && n < BATCH_CALLS && bytes < BATCH_BYTES) {
		n++;
		nfs->calls[(*tail)->op]++;
		if ((*tail)->op == REMOTE_WRITE)
			bytes += (*tail)->data_len;
		tail = &(*tail)->next;
	}
	c->queue_head = *tail;
	if (!*tail)
		c->queue_tail = NULL;
	*tail = NULL;
	mutex_unlock(&nfs->lock);
	*ret_n = n;
	return list;
}

static void set_cork(struct nfs_conn *c, int on)
{
	(void)setsockopt(rpc_get_fd(c->rpc), IPPROTO_TCP, TCP_CORK, &on,
			 sizeof(on));
}

/* Unless the socket is still busy with the last batch, give libnfs the next.
 * libnfs sends each message by itself, and with TCP_NODELAY each would be a
 * packet by itself: the cork puts those of a batch together. Returns
 * rpc_service()'s result. */
static int send_batch(struct nfs_conn *c)
{
	struct remote_call *list, *next;
	unsigned n;
	int r;

	if (rpc_which_events(c->rpc) & POLLOUT)
		return 0;
	list = take_batch(c, &n);
	if (!list)
		return 0;
	for (; list; list = next) {
		struct nfs_flight *f = flight_new(c, list);

		next = list->next;
		if (f) {
			flight_send(f);
			continue;
		}
		c->completed++;
		list->status = -ENOMEM;
		remote_complete(list);
	}
	if (n > 1)
		set_cork(c, 1);
	r = rpc_service(c->rpc, POLLOUT);
	if (n > 1)
		set_cork(c, 0);
	return r;
}

/* How long the thread may wait for the next event; and from now on, if it may
 * wait at all, submitters wake it. */
static int settle(struct nfs_conn *c, bool busy)
{
	struct nfs *nfs = c->nfs;
	uint64_t now = clock_ms(), end;
	bool more;

	mutex_lock(&nfs->lock);
	c->load -= c->completed;
	c->completed = 0;
	more = c->queue_head != NULL && !busy;
	c->asleep = !more && !nfs->closing;
	more = more || nfs->closing;
	mutex_unlock(&nfs->lock);
	if (more)
		return 0;
	if (!c->flights)
		return -1;
	end = c->flights->sent_ms + nfs->timeo_ms;
	return end > now ? (int)(end - now) : 0;
}

static bool is_silent(const struct nfs_conn *c)
{
	return c->flights &&
	       clock_ms() >= c->flights->sent_ms + c->nfs->timeo_ms;
}

static const char *grammar_of_flight(void *arg, uint32_t xid)
{
	const struct nfs_conn *c = arg;

	/* Nearly in the order of the calls: found near the head. */
	for (const struct nfs_flight *f = c->flights; f; f = f->next)
		if (f->xid == xid)
			return nfs_reply_grammar(f->call->op, f->plain);
	return NULL;
}

/* What the server sent before it hung up is read first. */
static int serve_socket(struct nfs_conn *c, int revents)
{
	if (revents & POLLIN) {
		if (nfs_reader_serve(&c->reader, c->rpc, grammar_of_flight,
				     c) < 0)
			return -ECONNRESET;
		revents &= ~(POLLIN | POLLHUP | POLLERR);
	}
	return revents ? rpc_service(c->rpc, revents) : 0;
}

/* One round of a connection that is UP. */
static void serve(struct nfs_conn *c)
{
	struct pollfd p[2];
	int events;

	if (send_batch(c) < 0) {
		lose(c, -ECONNRESET);
		return;
	}
	events = rpc_which_events(c->rpc);
	p[0] = (struct pollfd){ rpc_get_fd(c->rpc), (short)events, 0 };
	p[1] = (struct pollfd){ c->wake_fd, POLLIN, 0 };
	if (poll(p, 2, settle(c, events & POLLOUT)) < 0)
		return; /* EINTR: no signal is delivered here, but stops are */
	if (p[1].revents)
		drain_wake_fd(c);
	if (p[0].revents && serve_socket(c, p[0].revents) < 0) {
		lose(c, -ECONNRESET);
		return;
	}
	sweep(c);
	if (is_silent(c))
		lose(c, -ETIMEDOUT);
}

static void sleep_down(struct nfs_conn *c)
{
	struct pollfd p = { c->wake_fd, POLLIN, 0 };

	if (poll(&p, 1, -1) > 0)
		drain_wake_fd(c);
}

static void *conn_main(void *arg)
{
	struct nfs_conn *c = arg;
	struct nfs *nfs = c->nfs;

	for (;;) {
		enum nfs_conn_state state;
		bool closing;

		mutex_lock(&nfs->lock);
		c->asleep = false;
		closing = nfs->closing;
		state = c->state;
		mutex_unlock(&nfs->lock);
		if (closing)
			break;
		if (state == NFS_UP) {
			serve(c);
		} else if (state == NFS_DOWN) {
			sleep_down(c);
		} else {
			attempt(c);
		}
	}
	return NULL;
}

int nfs_conn_start(struct nfs_conn *c)
{
	sigset_t all, old;
	pthread_attr_t attr;
	int r;

	c->fd = -1;
	c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->wake_fd < 0)
		return -errno;
	/* Signals are for the program's main thread. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, NFS_STACK_BYTES);
	r = pthread_create(&c->thread, &attr, conn_main, c);
	(void)pthread_attr_destroy(&attr);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r != 0)
		(void)close(c->wake_fd);
	return -r;
}

void nfs_conn_stop(struct nfs_conn *c)
{
	struct nfs *nfs = c->nfs;
	struct remote_call *waiting;

	nfs_conn_wake(c);
	(void)pthread_join(c->thread, NULL);
	if (c->rpc)
		lose(c, -ECONNRESET);
	mutex_lock(&nfs->lock);
	waiting = take_queue(nfs, c);
	c->state = NFS_DOWN;
	mutex_unlock(&nfs->lock);
	fail_list(waiting, -ENOTCONN);
	(void)close(c->wake_fd);
}

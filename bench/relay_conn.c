/* SPDX-License-Identifier: GPL-2.0-or-later */
/* relay_conn.c: owns the connections. Each has two directions, and each
 * direction a queue of chunks with the time at which they are due; what was
 * read at t is sent at t + delay, in order. A queue may hold much more than
 * bandwidth times delay of a loopback connection, so the delay costs latency
 * and no throughput. End of file is a chunk of length 0, so that a half-close
 * travels behind the data before it.
 *
 * A connection: connecting -> open -> (end of file in one direction) -> dead.
 * Dead ones are freed after the round of events, since a later event of the
 * same round may still point to them.
 *
 * The first bytes of a connection are held for one round trip more, the time
 * a real network takes for TCP's handshake.
 */
#include "relay.h"

#include <err.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>

enum {
	READ_BYTES = 256 * 1024,
	QUEUE_BYTES_MAX = 64 * 1024 * 1024,
	HOLD_BYTES = 64,
};

struct chunk {
	struct chunk *next;
	int64_t due_ns;
	size_t len, off; /* len 0: end of file */
	uint8_t data[];
};

enum side { CLIENT, SERVER };

/* What came from one side and goes to the other. */
struct direction {
	struct chunk *head, **tail;
	size_t queued_bytes;
	bool eof_read, eof_sent;
	bool blocked; /* the receiver's socket is full */
	struct rpc_stream rpc;
};

enum verdict { UNDECIDED, PASS, SWALLOW };

struct conn {
	struct conn *next, **prevp;
	struct watch watch[2]; /* by enum side */
	struct direction from[2];
	bool connecting, dead;
	int64_t open_ns; /* when a real handshake would be over */

	/* Calls without a reply yet, to know what a reply answers. */
	struct rpc_call *calls;
	unsigned calls_n, calls_room;

	/* The reply that is coming in: what is known of it, and its first
	 * bytes, held until its xid is known. */
	enum verdict verdict;
	uint8_t hold[HOLD_BYTES];
	size_t hold_n;
	bool doomed; /* swallowed a reply, so it must be reset */
};

static struct conn *conns, *graveyard;

static void conn_kill(struct conn *c, bool reset)
{
	if (c->dead)
		return;
	for (int i = 0; i < 2; i++) {
		static const struct linger rst = { .l_onoff = 1 };
		int fd = c->watch[i].fd;

		if (fd < 0)
			continue;
		watch_set(&c->watch[i], 0);
		if (reset) {
			(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &rst,
					 sizeof(rst));
		} else {
			/* Unread bytes would turn the FIN into an RST. */
			char sink[4096];

			(void)shutdown(fd, SHUT_WR);
			while (recv(fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
				;
		}
		(void)close(fd);
		c->watch[i].fd = -1;
	}
	relay.inflight -= c->calls_n;
	relay.connections_open--;
	c->dead = true;
	*c->prevp = c->next;
	if (c->next)
		c->next->prevp = c->prevp;
	c->next = graveyard;
	graveyard = c;
}

void conns_bury(void)
{
	while (graveyard) {
		struct conn *c = graveyard;

		graveyard = c->next;
		for (int i = 0; i < 2; i++)
			while (c->from[i].head) {
				struct chunk *k = c->from[i].head;

				c->from[i].head = k->next;
				free(k);
			}
		free(c->calls);
		free(c);
	}
}

/* Tell epoll what each side waits for now. */
static void conn_update(struct conn *c)
{
	if (c->dead)
		return;
	for (int i = 0; i < 2; i++) {
		const struct direction *in = &c->from[i], *out = &c->from[!i];
		uint32_t events = 0;

		if (relay.stalled) {
			watch_set(&c->watch[i], 0);
			continue;
		}
		if (!in->eof_read && in->queued_bytes < QUEUE_BYTES_MAX &&
		    !(i == SERVER && c->connecting))
			events |= EPOLLIN;
		if (out->blocked || (i == SERVER && c->connecting))
			events |= EPOLLOUT;
		watch_set(&c->watch[i], events);
	}
}

static void enqueue(struct conn *c, struct direction *d, struct chunk *k)
{
	k->next = NULL;
	k->off = 0;
	k->due_ns = MAX(now_ns(), c->open_ns) + relay.delay_ns;
	*d->tail = k;
	d->tail = &k->next;
	d->queued_bytes += k->len;
}

static struct chunk *chunk_new(size_t room)
{
	struct chunk *k = malloc(sizeof(*k) + room);

	if (!k)
		errx(1, "out of memory");
	k->len = 0;
	return k;
}

/* Send what is due. May kill the connection. */
static void direction_deliver(struct conn *c, enum side from, int64_t now)
{
	struct direction *d = &c->from[from];
	int fd = c->watch[!from].fd;

	while (!c->dead && d->head && d->head->due_ns <= now && !d->blocked) {
		struct chunk *k = d->head;
		ssize_t n;

		if (k->len == 0) {
			(void)shutdown(fd, SHUT_WR);
			d->eof_sent = true;
		} else {
			n = send(fd, k->data + k->off, k->len - k->off,
				 MSG_NOSIGNAL | MSG_DONTWAIT);
			if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
				d->blocked = errno == EAGAIN;
				return;
			}
			if (n < 0) {
				conn_kill(c, /* reset= */ true);
				return;
			}
			d->queued_bytes -= (size_t)n;
			k->off += (size_t)n;
			if (k->off < k->len)
				continue;
		}
		d->head = k->next;
		if (!d->head)
			d->tail = &d->head;
		free(k);
	}
	if (!c->dead && c->from[CLIENT].eof_sent && c->from[SERVER].eof_sent)
		conn_kill(c, /* reset= */ false);
}

static void conn_deliver(struct conn *c, int64_t now)
{
	if (c->connecting)
		return;
	direction_deliver(c, CLIENT, now);
	if (!c->dead)
		direction_deliver(c, SERVER, now);
	conn_update(c);
}

void conns_deliver(void)
{
	int64_t now = now_ns();

	if (relay.stalled)
		return;
	for (struct conn *c = conns, *next; c; c = next) {
		next = c->next;
		conn_deliver(c, now);
	}
}

int64_t conns_next_due(void)
{
	int64_t due = INT64_MAX;

	if (relay.stalled)
		return due;
	for (const struct conn *c = conns; c; c = c->next)
		for (int i = 0; i < 2 && !c->connecting; i++)
			if (c->from[i].head && !c->from[i].blocked)
				due = MIN(due, c->from[i].head->due_ns);
	return due;
}

static void call_seen(struct conn *c)
{
	struct rpc_call call;

	if (!rpc_call_parse(&c->from[CLIENT].rpc, &call))
		return;
	rpc_counts_add(&relay.counts, &call);
	if (c->calls_n == c->calls_room) {
		unsigned room = c->calls_room ? 2 * c->calls_room : 64;
		void *grown = reallocarray(c->calls, room, sizeof(call));

		if (!grown)
			errx(1, "out of memory");
		c->calls = grown;
		c->calls_room = room;
	}
	c->calls[c->calls_n++] = call;
	relay.inflight_max = MAX(relay.inflight_max, ++relay.inflight);
}

/* The xid of a reply is known: take its call off the list, and decide. */
static enum verdict reply_seen(struct conn *c)
{
	uint32_t xid = rpc_xid(&c->from[SERVER].rpc);
	char buf[RPC_NAME_BYTES];

	for (unsigned i = 0; i < c->calls_n; i++) {
		struct rpc_call call = c->calls[i];

		if (call.xid != xid)
			continue;
		c->calls[i] = c->calls[--c->calls_n];
		relay.inflight--;
		if (relay.drops_left == 0 ||
		    (*relay.drop_name &&
		     strcmp(relay.drop_name, rpc_call_name(&call, buf)) != 0))
			break;
		relay.drops_left--;
		relay.drops++;
		c->doomed = true;
		return SWALLOW;
	}
	/* Nothing may follow a swallowed reply: the client would see a gap
	 * that no network makes. */
	return c->doomed ? SWALLOW : PASS;
}

static void took_calls(struct conn *c, const uint8_t *p, size_t len)
{
	struct rpc_stream *s = &c->from[CLIENT].rpc;
	unsigned events;

	for (size_t n; len; p += n, len -= n) {
		n = rpc_stream_step(s, p, len, RPC_CALL_HEAD_BYTES, &events);
		if (events & RPC_HEAD)
			call_seen(c);
	}
}

static void append(struct chunk *k, const void *p, size_t n)
{
	memcpy(k->data + k->len, p, n);
	k->len += n;
}

/* Copy to @out what of the server's bytes the client shall see. */
static void took_replies(struct conn *c, const uint8_t *p, size_t len,
			 struct chunk *out)
{
	struct rpc_stream *s = &c->from[SERVER].rpc;
	unsigned events;

	for (size_t n; len; p += n, len -= n) {
		n = rpc_stream_step(s, p, len, RPC_REPLY_HEAD_BYTES, &events);
		if (c->verdict == UNDECIDED && !events &&
		    c->hold_n + n <= HOLD_BYTES) {
			memcpy(c->hold + c->hold_n, p, n);
			c->hold_n += n;
			continue;
		}
		if (events & RPC_HEAD)
			c->verdict = reply_seen(c);
		else if (c->verdict == UNDECIDED)
			c->verdict = PASS; /* not a reply we know */
		if (c->verdict == PASS) {
			append(out, c->hold, c->hold_n);
			append(out, p, n);
		}
		c->hold_n = 0;
		if (events & RPC_END)
			c->verdict = UNDECIDED;
	}
}

/* A connection that swallowed a reply is reset once no other reply shall be
 * swallowed on it, or none can come because the client waits. */
static bool doom_is_due(const struct conn *c)
{
	return c->doomed && (relay.drops_left == 0 || c->calls_n == 0);
}

static void read_eof(struct conn *c, enum side from)
{
	struct direction *d = &c->from[from];

	if (from == SERVER && c->hold_n && !c->doomed) {
		struct chunk *k = chunk_new(c->hold_n);

		append(k, c->hold, c->hold_n);
		enqueue(c, d, k);
	}
	d->eof_read = true;
	enqueue(c, d, chunk_new(0));
}

static void conn_read(struct conn *c, enum side from)
{
	static uint8_t buf[READ_BYTES];
	struct direction *d = &c->from[from];
	ssize_t n = recv(c->watch[from].fd, buf, sizeof(buf), MSG_DONTWAIT);
	struct chunk *k;

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			conn_kill(c, /* reset= */ true);
		return;
	}
	if (n == 0) {
		read_eof(c, from);
		return;
	}
	k = chunk_new((size_t)n + HOLD_BYTES);
	if (from == CLIENT) {
		relay.bytes_up += (uint64_t)n;
		took_calls(c, buf, (size_t)n);
		append(k, buf, (size_t)n);
	} else {
		relay.bytes_down += (uint64_t)n;
		took_replies(c, buf, (size_t)n, k);
	}
	if (k->len)
		enqueue(c, d, k);
	else
		free(k);
	if (doom_is_due(c)) {
		relay.resets++;
		conn_kill(c, /* reset= */ true);
	}
}

static void side_ready(struct conn *c, enum side side, uint32_t events)
{
	int error = 0;

	if (c->dead)
		return;
	if (side == SERVER && c->connecting) {
		socklen_t len = sizeof(error);

		if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
			return;
		(void)getsockopt(c->watch[SERVER].fd, SOL_SOCKET, SO_ERROR,
				 &error, &len);
		if (error) {
			conn_kill(c, /* reset= */ true);
			return;
		}
		c->connecting = false;
		conn_update(c);
		return;
	}
	if (events & EPOLLOUT)
		c->from[!side].blocked = false;
	if (events & (EPOLLIN | EPOLLERR | EPOLLHUP) &&
	    !c->from[side].eof_read)
		conn_read(c, side);
	else if (events & EPOLLERR)
		conn_kill(c, /* reset= */ true);
	if (!c->dead)
		conn_deliver(c, now_ns());
}

static void client_ready(struct watch *w, uint32_t events)
{
	side_ready(CONTAINER_OF(w, struct conn, watch[CLIENT]), CLIENT, events);
}

static void server_ready(struct watch *w, uint32_t events)
{
	side_ready(CONTAINER_OF(w, struct conn, watch[SERVER]), SERVER, events);
}

static int connect_to(const struct address *to)
{
	static const int on = 1;
	int fd = socket(to->sa.ss_family,
			SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (relay.reserved_port && to->sa.ss_family == AF_INET)
		(void)bindresvport(fd, NULL);
	if (connect(fd, (const struct sockaddr *)&to->sa, to->len) < 0 &&
	    errno != EINPROGRESS) {
		int r = -errno;

		(void)close(fd);
		return r;
	}
	return fd;
}

void conn_accept(struct map *map)
{
	static const int on = 1;
	int fd = accept4(map->listener.fd, NULL, NULL,
			 SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct conn *c;

	if (fd < 0)
		return; /* the client has gone away again */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c = calloc(1, sizeof(*c));
	if (!c)
		errx(1, "out of memory");
	c->watch[CLIENT] = (struct watch){ .ready = client_ready, .fd = fd };
	c->watch[SERVER] = (struct watch){ .ready = server_ready,
					   .fd = connect_to(&map->to) };
	c->from[CLIENT].tail = &c->from[CLIENT].head;
	c->from[SERVER].tail = &c->from[SERVER].head;
	c->connecting = true;
	c->open_ns = now_ns() + 2 * relay.delay_ns;
	c->next = conns;
	c->prevp = &conns;
	if (conns)
		conns->prevp = &c->next;
	conns = c;
	relay.connections++;
	relay.connections_open++;
	if (c->watch[SERVER].fd < 0)
		conn_kill(c, /* reset= */ true);
	conn_update(c);
}

void conns_close_all(bool reset)
{
	while (conns) {
		relay.resets += reset;
		conn_kill(conns, reset);
	}
}

void conns_stall(bool stall)
{
	relay.stalled = stall;
	for (struct conn *c = conns; c; c = c->next)
		conn_update(c);
	conns_deliver();
}

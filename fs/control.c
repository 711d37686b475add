/* SPDX-License-Identifier: GPL-2.0-or-later */
/* control.c: owns the control socket and its thread.
 *
 * One thread polls the listening socket, an eventfd that ends it, and at most
 * CLIENTS_MAX clients. A client is in one of two states: READING its line
 * (out == NULL) or WRITING the answer. Nothing blocks on a client: sockets are
 * non-blocking, and one that does not finish in CLIENT_MS is dropped. No lock:
 * all of it belongs to the thread.
 */
#include "control.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "../cache/msg.h"
#include "../cache/sync.h"
#include "runtime.h"

enum {
	CLIENTS_MAX = 16,
	REQUEST_BYTES_MAX = 64,
	CLIENT_MS = 10000,
	ASK_MS = 10000,
	ANSWER_BYTES_MAX = 1024 * 1024,
};

struct client {
	int fd;
	uint64_t deadline_ms;
	char in[REQUEST_BYTES_MAX];
	size_t in_n;
	char *out; /* malloc'ed */
	size_t out_n, out_done;
};

struct control {
	int listen_fd, stop_fd;
	pthread_t thread;
	control_answer_fn *answer;
	void *arg;
	struct client clients[CLIENTS_MAX];
	unsigned clients_n;
};

static int address(const char *mountpoint, struct sockaddr_un *ret)
{
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	runtime_path(mountpoint, "sock", ret->sun_path);
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/* ---- the thread ---- */

static void drop(struct control *c, unsigned i)
{
	(void)close(c->clients[i].fd);
	free(c->clients[i].out);
	c->clients[i] = c->clients[--c->clients_n];
}

static void accept_one(struct control *c)
{
	int fd = accept4(c->listen_fd, NULL, NULL,
			 SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0)
		c->clients[c->clients_n++] = (struct client){
			.fd = fd, .deadline_ms = clock_ms() + CLIENT_MS,
		};
}

static int prepare_answer(struct control *c, struct client *cl)
{
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);
	int r;

	if (!out)
		return -ENOMEM;
	r = c->answer(c->arg, cl->in, out);
	if (r == -EINVAL)
		(void)fprintf(out, "unknown request '%s'\n", cl->in);
	if (fclose(out) != 0) {
		free(text);
		return -ENOMEM;
	}
	cl->out = text;
	cl->out_n = n;
	return 0;
}

/* Move the client on. 0: not finished; else it is to be dropped. */
static int serve(struct control *c, struct client *cl)
{
	ssize_t n;

	if (!cl->out) {
		char *newline;

		n = recv(cl->fd, cl->in + cl->in_n,
			 sizeof(cl->in) - 1 - cl->in_n, 0);
		if (n <= 0)
			return n < 0 && errno == EAGAIN ? 0 : 1;
		cl->in_n += (size_t)n;
		newline = memchr(cl->in, '\n', cl->in_n);
		if (!newline)
			return cl->in_n == sizeof(cl->in) - 1;
		*newline = '\0';
		if (prepare_answer(c, cl) < 0)
			return 1;
	}
	n = send(cl->fd, cl->out + cl->out_done, cl->out_n - cl->out_done,
		 MSG_NOSIGNAL);
	if (n < 0)
		return errno != EAGAIN;
	cl->out_done += (size_t)n;
	return cl->out_done == cl->out_n;
}

/* False when it is time to stop. */
static bool turn(struct control *c)
{
	struct pollfd p[CLIENTS_MAX + 2] = {
		{ .fd = c->stop_fd, .events = POLLIN },
		/* A full table: let them wait in the backlog. */
		{ .fd = c->clients_n < CLIENTS_MAX ? c->listen_fd : -1,
		  .events = POLLIN },
	};
	uint64_t now;

	for (unsigned i = 0; i < c->clients_n; i++)
		p[i + 2] = (struct pollfd){
			.fd = c->clients[i].fd,
			.events = c->clients[i].out ? POLLOUT : POLLIN,
		};
	if (poll(p, c->clients_n + 2, c->clients_n ? 1000 : -1) < 0)
		return errno == EINTR;
	if (p[0].revents)
		return false;
	now = clock_ms();
	/* Downwards: drop() moves the last one into the gap. */
	for (unsigned i = c->clients_n; i-- > 0;)
		if ((p[i + 2].revents && serve(c, &c->clients[i])) ||
		    now > c->clients[i].deadline_ms)
			drop(c, i);
	if (p[1].revents)
		accept_one(c);
	return true;
}

static void *thread_main(void *arg)
{
	struct control *c = arg;

	while (turn(c))
		;
	while (c->clients_n > 0)
		drop(c, 0);
	return NULL;
}

/* ---- public ---- */

static int listen_at(const char *mountpoint)
{
	struct sockaddr_un a;
	CLEANUP_CLOSE int fd = address(mountpoint, &a);
	int r, other;

	if (fd < 0)
		return -errno;
	r = bind(fd, (struct sockaddr *)&a, sizeof(a));
	if (r < 0 && errno == EADDRINUSE) {
		other = control_connect(mountpoint);
		if (other >= 0) {
			(void)close(other);
			return -EADDRINUSE;
		}
		/* Left by a daemon that was killed. */
		(void)unlink(a.sun_path);
		r = bind(fd, (struct sockaddr *)&a, sizeof(a));
	}
	if (r < 0 || listen(fd, CLIENTS_MAX) < 0 ||
	    fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	return steal_fd(&fd);
}

int control_open(const char *mountpoint, control_answer_fn *answer, void *arg,
		 struct control **ret)
{
	struct control *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->answer = answer;
	c->arg = arg;
	c->stop_fd = eventfd(0, EFD_CLOEXEC);
	r = c->listen_fd = c->stop_fd < 0 ? -errno : listen_at(mountpoint);
	if (r >= 0)
		r = -pthread_create(&c->thread, NULL, thread_main, c);
	if (r < 0) {
		cleanup_closep(&c->listen_fd);
		cleanup_closep(&c->stop_fd);
		free(c);
		return r;
	}
	*ret = c;
	return 0;
}

void control_close(struct control *c)
{
	if (!c)
		return;
	(void)eventfd_write(c->stop_fd, 1);
	(void)pthread_join(c->thread, NULL);
	(void)close(c->listen_fd);
	(void)close(c->stop_fd);
	free(c);
}

/* ---- clients ---- */

int control_connect(const char *mountpoint)
{
	struct sockaddr_un a;
	CLEANUP_CLOSE int fd = address(mountpoint, &a);

	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return -errno;
	return steal_fd(&fd);
}

int control_ask(int fd, const char *request, char **ret)
{
	struct timeval limit = { .tv_sec = ASK_MS / 1000 };
	CLEANUP_FREE char *text = malloc(ANSWER_BYTES_MAX + 1);
	char line[REQUEST_BYTES_MAX];
	int len = snprintf(line, sizeof(line), "%s\n", request);
	size_t n = 0;
	ssize_t got;

	if (!text)
		return -ENOMEM;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) <
		    0 ||
	    send(fd, line, (size_t)len, MSG_NOSIGNAL) != len)
		return -errno;
	while (n < ANSWER_BYTES_MAX &&
	       (got = recv(fd, text + n, ANSWER_BYTES_MAX - n, 0)) != 0) {
		if (got < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		n += (size_t)got;
	}
	/* The connection of a daemon that ends closes without an answer. */
	if (n == 0)
		return -ECONNRESET;
	text[n] = '\0';
	*ret = STEAL_PTR(text);
	return 0;
}

int control_pidfd(int fd, pid_t *ret_pid)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	long r;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return -errno;
	r = syscall(SYS_pidfd_open, peer.pid, 0);
	if (r < 0)
		return -errno;
	*ret_pid = peer.pid;
	return (int)r;
}

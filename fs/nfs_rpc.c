/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nfs_rpc.c: a connected libnfs context, and calls one waits for.
 *
 * libnfs is used for what it is good at, messages and framing. The connection
 * is ours: credentials, socket options and the reason of a failure, which
 * libnfs only tells as text.
 *
 * When root connects libnfs binds a reserved port (below 1024), which exports
 * without `insecure` ask for.
 */
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "../cache/msg.h"
#include "nfs.h"

/* libnfs counts xids and reserved ports in static variables, and looks ports
 * up with getservbyport(): one thread at a time. */
static struct mutex connect_lock = MUTEX_INIT;

uint32_t nfs_rpc_random(void)
{
	uint32_t n;

	if (getrandom(&n, sizeof(n), GRND_NONBLOCK) != sizeof(n))
		n = (uint32_t)clock_ms() ^ (uint32_t)getpid() << 16;
	return n;
}

static struct rpc_context *context_new(void)
{
	char host[HOST_NAME_MAX + 1] = "";
	struct rpc_context *rpc;
	struct AUTH *auth;

	if (gethostname(host, sizeof(host) - 1) < 0 || !host[0])
		strcpy(host, "nfsrootfs");
	rpc = rpc_init_context();
	if (!rpc)
		return NULL;
	auth = libnfs_authunix_create(host, 0, 0, 0, NULL);
	if (!auth) {
		rpc_destroy_context(rpc);
		return NULL;
	}
	rpc_set_auth(rpc, auth);
	rpc_set_next_xid(rpc, nfs_rpc_random());
	return rpc;
}

/* Small messages at once; and learn within a minute that a silent peer is
 * gone, even while no call is in flight. */
static void set_socket_options(int fd)
{
	static const struct {
		int level, name, value;
	} options[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, 30 },
		{ IPPROTO_TCP, TCP_KEEPINTVL, 10 },
		{ IPPROTO_TCP, TCP_KEEPCNT, 3 },
	};

	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		if (setsockopt(fd, options[i].level, options[i].name,
			       &options[i].value, sizeof(int)) < 0)
			msg_debug("nfs", "socket option %d: %m, ignoring",
				  options[i].name);
}

static int socket_error(int fd)
{
	int err = 0;
	socklen_t len = sizeof(err);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		return -errno;
	return -err;
}

static void connected_cb(struct rpc_context *rpc, int status, void *data,
			 void *arg)
{
	(void)rpc, (void)status, (void)data, (void)arg;
}

/* The socket of @rpc is connecting. */
static int wait_connected(struct rpc_context *rpc, uint64_t end, int cancel_fd)
{
	struct pollfd p[2] = { { rpc_get_fd(rpc), POLLOUT, 0 },
			       { cancel_fd, POLLIN, 0 } };

	for (;;) {
		uint64_t now = clock_ms();
		int n, err;

		if (now >= end)
			return -ETIMEDOUT;
		n = poll(p, 2, (int)(end - now));
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n <= 0)
			continue;
		if (p[1].revents)
			return -ECANCELED;
		/* Asked before libnfs asks: reading clears it. */
		err = socket_error(p[0].fd);
		if (err < 0)
			return err;
		if (p[0].revents & (POLLERR | POLLHUP))
			return -ECONNRESET;
		/* libnfs now learns that it is connected. */
		return rpc_service(rpc, POLLOUT) < 0 ? -ECONNRESET : 0;
	}
}

int nfs_rpc_connect(const char *address, unsigned port, unsigned timeout_ms,
		    int cancel_fd, struct rpc_context **ret)
{
	uint64_t end = clock_ms() + timeout_ms;
	struct rpc_context *rpc;
	int err = 0;

	mutex_lock(&connect_lock);
	rpc = context_new();
	if (rpc) {
		errno = 0;
		/* On failure libnfs has errno of what failed, or 0. */
		if (rpc_connect_async(rpc, address, (int)port, connected_cb,
				      NULL) < 0)
			err = errno ? -errno : -EHOSTUNREACH;
	}
	mutex_unlock(&connect_lock);
	if (!rpc)
		return -ENOMEM;
	if (err == 0)
		err = wait_connected(rpc, end, cancel_fd);
	if (err < 0) {
		msg_debug("nfs", "%s port %u: %s", address, port,
			  msg_strerror(err));
		rpc_destroy_context(rpc);
		return err;
	}
	set_socket_options(rpc_get_fd(rpc));
	*ret = rpc;
	return 0;
}

int nfs_rpc_errno(int status, const void *data)
{
	const char *text = data;

	if (status == RPC_STATUS_TIMEOUT)
		return -ETIMEDOUT;
	if (status != RPC_STATUS_ERROR || !text)
		return -EREMOTEIO;
	if (strstr(text, "not accepted"))
		return -EACCES;
	if (strstr(text, "Procedure not available"))
		return -EOPNOTSUPP;
	if (strstr(text, "Program"))
		return -EPROTONOSUPPORT;
	return -EREMOTEIO;
}

void nfs_wait_cb(struct rpc_context *rpc, int status, void *data, void *arg)
{
	struct nfs_wait *w = arg;

	(void)rpc;
	if (w->over)
		return;
	w->over = true;
	if (status != RPC_STATUS_SUCCESS)
		w->status = nfs_rpc_errno(status, data);
	else if (w->take)
		w->take(data, w->out);
}

/* There is but one call. */
static const char *grammar_of_wait(void *arg, uint32_t xid)
{
	const struct nfs_wait *w = arg;

	(void)xid;
	return w->grammar;
}

static int wait_over(struct rpc_context *rpc, struct nfs_wait *w,
		     struct nfs_reader *reader, uint64_t end)
{
	bool broken = false;

	while (!w->over && !broken) {
		struct pollfd p = { rpc_get_fd(rpc),
				    (short)rpc_which_events(rpc), 0 };
		uint64_t now = clock_ms();
		int n;

		if (now >= end)
			return -ETIMEDOUT;
		n = poll(&p, 1, (int)(end - now));
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n <= 0)
			continue;
		if (p.revents & POLLIN)
			broken = nfs_reader_serve(reader, rpc, grammar_of_wait,
						  w) < 0;
		else
			broken = rpc_service(rpc, p.revents) < 0;
	}
	/* When the connection breaks libnfs calls back, too, with an error. */
	if (broken && (!w->over || w->status < 0))
		return -ECONNRESET;
	return w->status;
}

int nfs_wait(struct rpc_context *rpc, struct nfs_wait *w, unsigned timeout_ms)
{
	struct nfs_reader reader = { 0 };
	int r = wait_over(rpc, w, &reader, clock_ms() + timeout_ms);

	nfs_reader_done(&reader);
	return r;
}

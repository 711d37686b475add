/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nfs.c: the remote that is a server: opening and closing it, and which of its
 * connections takes a call.
 *
 * The connection with the fewest calls in flight among those that are UP; if
 * none is, one that is connecting. Each submission also makes connections that
 * are DOWN try again, unless they failed a short while ago. The first
 * connection is kept free of calls that nobody waits for: behind hundreds of
 * those a call that somebody waits for would wait for them all. When there is
 * nothing to wait for, the call completes with -ENOTCONN in the submitter's
 * thread: patience is the business of the layer above.
 */
#include "nfs.h"

static struct nfs *nfs_of(struct remote *r)
{
	return CONTAINER_OF(r, struct nfs, remote);
}

/* NULL: there is no connection, and none is to be expected right now. */
static struct nfs_conn *choose(struct nfs *nfs, unsigned first)
	REQUIRES(nfs->lock)
{
	struct nfs_conn *best = NULL;
	uint64_t now = 0;

	for (unsigned i = first; i < nfs->conns_n; i++) {
		struct nfs_conn *c = &nfs->conns[i];

		if (c->state == NFS_DOWN) {
			now = now ? now : clock_ms();
			if (!nfs_conn_may_try(nfs, c, now))
				continue;
			nfs_conn_kick(nfs, c);
		}
		if (!best || c->state > best->state ||
		    (c->state == best->state && c->load < best->load))
			best = c;
	}
	return best;
}

static void submit(struct remote *r, struct remote_call *call)
{
	struct nfs *nfs = nfs_of(r);
	struct nfs_conn *c = NULL;
	bool wake = false;

	mutex_lock(&nfs->lock);
	if (!nfs->closing && call->background)
		c = choose(nfs, 1);
	if (!nfs->closing && (!c || c->state != NFS_UP))
		c = choose(nfs, 0);
	if (c)
		wake = nfs_conn_push(nfs, c, call);
	mutex_unlock(&nfs->lock);
	if (!c) {
		call->status = -ENOTCONN;
		remote_complete(call);
	} else if (wake) {
		nfs_conn_wake(c);
	}
}

static void info(struct remote *r, struct remote_info *ret)
{
	struct nfs *nfs = nfs_of(r);

	mutex_lock(&nfs->lock);
	ret->connections = nfs->conns_n;
	ret->bytes_out = nfs->bytes_out;
	ret->bytes_in = nfs->bytes_in;
	for (unsigned i = 0; i < nfs->conns_n; i++) {
		ret->connected += nfs->conns[i].state == NFS_UP;
		nfs_conn_add_bytes(nfs, &nfs->conns[i], &ret->bytes_out,
				   &ret->bytes_in);
	}
	memcpy(ret->calls, nfs->calls, sizeof(ret->calls));
	ret->reconnects = nfs->reconnects;
	mutex_unlock(&nfs->lock);
	ret->replies = __atomic_load_n(&nfs->replies, __ATOMIC_RELAXED);
	(void)snprintf(ret->address, sizeof(ret->address), "%.40s port %u",
		       nfs->server.address, nfs->server.port);
}

/* End the first @n connections and free @nfs. */
static void destroy(struct nfs *nfs, unsigned n)
{
	mutex_lock(&nfs->lock);
	nfs->closing = true;
	mutex_unlock(&nfs->lock);
	for (unsigned i = 0; i < n; i++)
		nfs_conn_stop(&nfs->conns[i]);
	mutex_destroy(&nfs->lock);
	free(nfs->path);
	free(nfs);
}

static void close_remote(struct remote *r)
{
	struct nfs *nfs = nfs_of(r);
	struct nfs_server server = nfs->server;
	CLEANUP_FREE char *path = STEAL_PTR(nfs->path);

	destroy(nfs, nfs->conns_n);
	nfs_unmount_root(&server, path);
}

static const struct remote_vtable vtable = {
	.submit = submit,
	.info = info,
	.close = close_remote,
};

static int start(const struct remote_nfs_options *o,
		 const struct nfs_server *server, struct nfs **ret)
{
	unsigned n = MAX(o->nconnect, 1U);
	struct nfs *nfs = calloc(1, sizeof(*nfs) + n * sizeof(nfs->conns[0]));

	if (!nfs)
		return -ENOMEM;
	nfs->remote.v = &vtable;
	nfs->server = *server;
	nfs->timeo_ms = o->timeo_ms;
	nfs->conns_n = n;
	mutex_init(&nfs->lock);
	nfs->path = strdup(o->path);
	if (!nfs->path) {
		destroy(nfs, 0);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < n; i++) {
		int r;

		nfs->conns[i].nfs = nfs;
		r = nfs_conn_start(&nfs->conns[i]);
		if (r < 0) {
			destroy(nfs, i);
			return r;
		}
	}
	*ret = nfs;
	return 0;
}

int remote_nfs_open(const struct remote_nfs_options *o, struct remote **ret,
		    struct handle *ret_root, char **ret_why)
{
	struct nfs_server server;
	struct handle root;
	struct nfs *nfs;
	int r;

	if (ret_why)
		*ret_why = NULL;
	r = nfs_locate(o, &server, ret_why);
	if (r < 0)
		return r;
	r = nfs_mount_root(&server, o->path, &root, ret_why);
	if (r < 0)
		return r;
	r = start(o, &server, &nfs);
	if (r < 0) {
		nfs_unmount_root(&server, o->path);
		return r;
	}
	*ret = &nfs->remote;
	*ret_root = root;
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vfs.c: opens and closes the filesystem, keeps the sequence of changes, counts
 * the calls that nobody waits for, and owns the one worker thread, which moves
 * on the flights that nobody waits for (flight.c), asks ahead (ahead.c), makes the
 * tours that commands ask for (tour.c), and at the end sees to it that there is
 * one.
 */
#include "ahead.h"
#include "fetch.h"
#include "flight.h"
#include "view.h"
#include "tour.h"

#include <assert.h>

/* ---- the sequence ---- */

static uint64_t *changed_slot(struct vfs *v, uint64_t ino)
{
	return &v->changed[ino * 0x9E3779B97F4A7C15u >> 52];
}

uint64_t vfs_sent(struct vfs *v)
{
	return __atomic_load_n(&v->seq, __ATOMIC_ACQUIRE);
}

void vfs_touch(struct vfs *v, uint64_t ino)
{
	uint64_t n = __atomic_add_fetch(&v->seq, 1, __ATOMIC_ACQ_REL);

	/* Two touches of one slot may store in either order; both numbers are
	 * above any fill's that was sent before. */
	__atomic_store_n(changed_slot(v, ino), n, __ATOMIC_RELEASE);
}

bool vfs_is_newer(struct vfs *v, uint64_t ino, uint64_t sent)
{
	return __atomic_load_n(changed_slot(v, ino), __ATOMIC_ACQUIRE) > sent;
}

struct moment vfs_moment(struct vfs *v)
{
	return (struct moment){ .sent = vfs_sent(v),
				.stamp = meta_now(v->meta) };
}

struct timespec vfs_unique_time(struct vfs *v)
{
	uint64_t last, now, delta = v->time_delta_ns;
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	now = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	now -= now % delta;
	last = __atomic_load_n(&v->last_time_ns, __ATOMIC_RELAXED);
	do {
		if (now <= last)
			now = last + delta;
	} while (!__atomic_compare_exchange_n(&v->last_time_ns, &last, now,
					      false, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
	return (struct timespec){ .tv_sec = (time_t)(now / 1000000000u),
				  .tv_nsec = (long)(now % 1000000000u) };
}

/* ---- calls nobody waits for ---- */

static void submitted_done(struct remote_call *c, void *arg)
{
	(void)c;
	vfs_submitted(arg);
}

void vfs_submit(struct vfs *v, struct remote_call *call, remote_done_fn *done,
		void *arg)
{
	mutex_lock(&v->lock);
	v->in_flight++;
	mutex_unlock(&v->lock);
	remote_submit(v->remote, call, done ? done : submitted_done,
		      done ? arg : v);
	remote_call_unref(call);
}

void vfs_submitted(struct vfs *v)
{
	mutex_lock(&v->lock);
	assert(v->in_flight > 0);
	if (--v->in_flight == 0)
		cond_broadcast(&v->cond);
	mutex_unlock(&v->lock);
}

void vfs_stir(struct vfs *v)
{
	mutex_lock(&v->lock);
	v->stirred = true;
	cond_broadcast(&v->cond);
	mutex_unlock(&v->lock);
}

void vfs_settle(struct vfs *v)
{
	mutex_lock(&v->lock);
	while (v->in_flight > 0 || v->working || v->stirred ||
	       !TAILQ_EMPTY(&v->replies))
		cond_wait(&v->cond, &v->lock);
	mutex_unlock(&v->lock);
}

void vfs_wait_submitted(struct vfs *v)
{
	mutex_lock(&v->lock);
	while (v->in_flight > 0)
		cond_wait(&v->cond, &v->lock);
	mutex_unlock(&v->lock);
}

/* ---- opening and closing ---- */

/* In a bracket: is the number of an inode of use to somebody, though the local
 * disk has no room to remember it? */
static bool is_needed(void *arg, uint64_t ino)
{
	struct vfs *v = arg;
	struct timespec ignored;

	return nodes_known(v->nodes, ino) || view_is_pending(v, ino) ||
	       (v->times && times_pending(v->times, ino, &ignored));
}

static int fetch_limits(struct vfs *v, const struct handle *root,
			struct attr *ret_root)
{
	struct remote_call *c = remote_call_new(REMOTE_FSINFO, root, NULL);
	int r;

	if (!c)
		return -ENOMEM;
	r = remote_run(v->remote, c, NULL, 0);
	if (r == 0) {
		v->fsinfo = c->fsinfo;
		*ret_root = c->attr;
		if (!c->has_attr) {
			remote_call_unref(c);
			c = remote_call_new(REMOTE_GETATTR, root, NULL);
			if (!c)
				return -ENOMEM;
			r = remote_run(v->remote, c, NULL, 0);
			*ret_root = c->attr;
		}
	}
	remote_call_unref(c);
	if (r < 0)
		return r;

	c = remote_call_new(REMOTE_PATHCONF, root, NULL);
	if (!c)
		return -ENOMEM;
	r = remote_run(v->remote, c, NULL, 0);
	if (r == 0)
		v->pathconf = c->pathconf;
	else /* some servers do not know: assume what all local ones do */
		v->pathconf.name_max = NAME_BYTES_MAX;
	remote_call_unref(c);

	/* find(1) asks for the space left, so that it belongs to what is to be
	 * known before the first program runs. */
	c = remote_call_new(REMOTE_FSSTAT, root, NULL);
	if (!c)
		return -ENOMEM;
	if (remote_run(v->remote, c, NULL, 0) == 0)
		vfs_space_learn(v, &c->fsstat, vfs_sent(v));
	remote_call_unref(c);
	return 0;
}

static uint32_t limit_bytes(uint32_t server, unsigned option)
{
	uint32_t n = MIN(server ? server : 8192u, (uint32_t)LIMIT_IO_BYTES);

	return option ? MIN(n, option) : n;
}

/* The root keeps its number, whatever its handle. A root that is another
 * directory than the one of the cache makes the whole cache void. */
static int adopt_root(struct vfs *v, const struct handle *root,
		      const struct attr *a, const struct moment *when)
{
	struct meta_inode i;
	int r;

	meta_begin(v->meta);
	r = meta_get(v->meta, META_ROOT, &i);
	if (r == 0 && !handle_equal(&i.handle, root) &&
	    (i.attr.fsid != a->fsid || i.attr.fileid != a->fileid)) {
		msg_debug("vfs", "the export leads to another directory now; "
				 "what was cached of the old one is dropped");
		(void)meta_forget(v->meta, META_ROOT);
		r = -ENOENT;
	}
	if (r == 0) {
		i.handle = *root;
		vfs_merge(v, &i, a, when, false);
	} else {
		i = (struct meta_inode){
			.ino = META_ROOT,
			.parent = META_ROOT,
			.checked = when->stamp,
			.attr = *a,
			.server_mtime = a->mtime,
			.server_ctime = a->ctime,
			.data_ctime = a->ctime,
			.handle = *root,
		};
	}
	r = meta_put(v->meta, &i);
	meta_end(v->meta);
	return r;
}

/* While the vfs closes: what is still under way is nothing that the next mount
 * cannot do (held files) or that matters (a time the server set itself), so a
 * server that is away does not keep us for ever. */
static void watch_closing(struct vfs *v) REQUIRES(v->lock)
{
	enum { LOOK_MS = 100 };
	uint64_t away_since = 0;

	while (!v->closed) {
		uint64_t now = clock_ms();

		if (!remote_retry_is_away(v->remote))
			away_since = 0;
		else if (!away_since)
			away_since = now;
		else if (now - away_since > LIMIT_CLOSE_MS)
			remote_retry_give_up(v->remote);
		(void)cond_wait_until(&v->cond, &v->lock, now + LOOK_MS);
	}
}

static void *worker_main(void *arg)
{
	struct vfs *v = arg;
	uint64_t due_ms = UINT64_MAX;

	mutex_lock(&v->lock);
	while (!v->closing) {
		bool stirred = v->stirred || clock_ms() >= due_ms;

		v->working = stirred || !TAILQ_EMPTY(&v->replies);
		if (!v->working) {
			cond_broadcast(&v->cond);
			if (due_ms == UINT64_MAX)
				cond_wait(&v->cond, &v->lock);
			else
				(void)cond_wait_until(&v->cond, &v->lock,
						      due_ms);
			continue;
		}
		v->stirred = false;
		mutex_unlock(&v->lock);
		(void)flights_work(v);
		if (stirred) {
			uint64_t tours_ms = tours_work(v);

			due_ms = MIN(ahead_work(v), tours_ms);
		}
		mutex_lock(&v->lock);
	}
	watch_closing(v);
	mutex_unlock(&v->lock);
	return NULL;
}

static void vfs_free(struct vfs *v)
{
	flights_free(v);
	ahead_free(v->ahead);
	fetch_close(v->fetch);
	tours_free(v->tours);
	for (unsigned k = 0; k < v->pins_n; k++)
		free(v->pins[k].name);
	nodes_free(v->nodes);
	cond_destroy(&v->cond);
	mutex_destroy(&v->lock);
	free(v);
}

static void set_client(struct vfs *v)
{
	if (gethostname(v->client, sizeof(v->client) - 1) < 0 || !v->client[0])
		strcpy(v->client, "unknown");
	for (char *p = v->client; *p; p++)
		if (*p == '/')
			*p = '_';
}

/* What a mount starts from: the limits, the root, the held files' directory. */
static int start(struct vfs *v, const struct handle *root)
{
	struct moment when = vfs_moment(v);
	struct attr a;
	int r = fetch_limits(v, root, &a);

	if (r < 0)
		return r;
	if (!S_ISDIR(a.mode))
		return -ENOTDIR;
	v->fsinfo.read_max = limit_bytes(v->fsinfo.read_max,
					 v->config->read_bytes_max);
	v->fsinfo.write_max = limit_bytes(v->fsinfo.write_max,
					  v->config->write_bytes_max);
	v->time_delta_ns =
		(uint64_t)v->fsinfo.time_delta.tv_sec * 1000000000u +
		(uint64_t)v->fsinfo.time_delta.tv_nsec;
	if (v->time_delta_ns == 0 || v->time_delta_ns > 2000000000u)
		v->time_delta_ns = 1;
	r = adopt_root(v, root, &a, &when);
	if (r < 0)
		return r;
	r = meta_sweep(v->meta);
	if (r < 0)
		return r;
	meta_begin(v->meta);
	view_restore(v);
	meta_end(v->meta);
	return hold_open(v, root);
}

int vfs_open(const struct config *config, struct meta *meta,
	     struct blob *blob, struct wback *wback, struct remote *remote,
	     const struct handle *root, struct stats *stats, struct vfs **ret)
{
	struct vfs *v = calloc(1, sizeof(*v));
	int r;

	if (!v)
		return -ENOMEM;
	v->config = config;
	v->meta = meta;
	v->wback = wback;
	v->remote = remote;
	v->stats = stats;
	v->session = meta_session_start(meta);
	v->trust_from = meta_was_closed(meta) ? STAMP_DOUBTED + 1 : v->session;
	v->clock_lead_ns = INT64_MAX;
	TAILQ_INIT(&v->replies);
	mutex_init(&v->lock);
	cond_init(&v->cond);
	set_client(v);
	r = nodes_new(&stats->nodes, &v->nodes);
	if (r == 0)
		r = ahead_new(stats, &v->ahead);
	if (r == 0)
		r = tours_new(&v->tours);
	if (r == 0)
		r = start(v, root);
	if (r == 0)
		r = policy_open(v);
	if (r == 0)
		r = fetch_open(v, blob, &v->fetch);
	if (r == 0)
		r = times_open(v, &v->times);
	if (r == 0)
		r = teller_start(v);
	if (r == 0) {
		r = -pthread_create(&v->worker, NULL, worker_main, v);
		if (r < 0)
			teller_stop(v);
	}
	if (r < 0)
		times_close(v->times);
	if (r < 0) {
		vfs_wait_submitted(v);
		vfs_free(v);
		return r;
	}
	/* The kernel holds the root without ever having looked it up. */
	nodes_ref(v->nodes, META_ROOT);
	/* Not before: view_restore() holds the log's lock, which it takes. */
	meta_set_keep(meta, is_needed, v);
	*ret = v;
	return 0;
}

void vfs_close(struct vfs *v)
{
	if (!v)
		return;
	mutex_lock(&v->lock);
	v->closing = true;
	cond_broadcast(&v->cond);
	mutex_unlock(&v->lock);
	meta_set_keep(v->meta, NULL, NULL); /* it asks what is closed now */
	teller_stop(v);
	times_close(v->times);
	hold_close(v);
	vfs_wait_submitted(v);
	mutex_lock(&v->lock);
	v->closed = true;
	cond_broadcast(&v->cond);
	mutex_unlock(&v->lock);
	(void)pthread_join(v->worker, NULL);
	vfs_free(v);
}

/* ---- pins ---- */

static int pin(struct vfs *v, uint64_t dir, const char *name, uint64_t ino)
{
	int r = 0;

	mutex_lock(&v->lock);
	for (unsigned k = 0; k < v->pins_n; k++)
		if (v->pins[k].dir == dir && strcmp(v->pins[k].name, name) == 0)
			goto out;
	if (v->pins_n == PINS_MAX) {
		r = -ENOSPC;
		goto out;
	}
	char *copy = strdup(name);
	if (!copy) {
		r = -ENOMEM;
		goto out;
	}
	v->pins[v->pins_n++] = (struct pin){ dir, ino, copy };
out:
	mutex_unlock(&v->lock);
	return r;
}

int vfs_pin_path(struct vfs *v, const char *path)
{
	CLEANUP_FREE char *copy = strdup(path);
	uint64_t dir = META_ROOT;
	char *rest = copy, *name;

	if (!copy)
		return -ENOMEM;
	while ((name = strsep(&rest, "/")) != NULL) {
		struct caller nobody = { 0 };
		struct meta_inode d, i;
		int r;

		if (!*name || strcmp(name, ".") == 0)
			continue;
		r = vfs_walk(v, &nobody, dir, name, &d, &i);
		if (r == 0 && !S_ISDIR(i.attr.mode))
			r = -ENOTDIR;
		if (r == 0)
			r = pin(v, dir, name, i.ino);
		if (r < 0)
			return r;
		dir = i.ino;
	}
	return 0;
}

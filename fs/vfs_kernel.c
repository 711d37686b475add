/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vfs_kernel.c: what the kernel is told unasked: to ask again for attributes and
 * names, and to drop what its page cache has of a file.
 *
 * A file that somebody else changed (vfs_fill.c finds out) may lie in the page
 * cache as it was. The teller, a thread, has it dropped: the kernel then waits
 * for those who read the file just now, and they perhaps for the server, so
 * nobody else can. Who is about to tell the kernel what the file is now waits
 * until that is done, or for a moment: what is opened after that is read anew.
 *
 * vfs.lock guards the list of such files: the first is being dropped.
 */
#include "vfs_int.h"

enum { WAIT_MS = 100 };

void vfs_set_kernel(struct vfs *v, const struct vfs_kernel *k)
{
	mutex_lock(&v->lock);
	v->kernel = k ? *k : (struct vfs_kernel){ 0 };
	while (!k && v->telling > 0)
		cond_wait(&v->cond, &v->lock);
	mutex_unlock(&v->lock);
}

/* False: it cannot be told anything. */
static bool begin(struct vfs *v, struct vfs_kernel *ret) REQUIRES(v->lock)
{
	*ret = v->kernel;
	v->telling += ret->arg != NULL;
	return ret->arg;
}

static void end(struct vfs *v) REQUIRES(v->lock)
{
	v->telling--;
	cond_broadcast(&v->cond);
}

void vfs_tell_kernel(struct vfs *v, uint64_t ino, uint64_t dir,
		     const char *name)
{
	struct vfs_kernel k;
	bool can;

	if (!nodes_known(v->nodes, ino))
		return;
	mutex_lock(&v->lock);
	can = begin(v, &k);
	mutex_unlock(&v->lock);
	if (!can)
		return;
	k.attr(k.arg, ino);
	if (name)
		k.name(k.arg, dir, name);
	mutex_lock(&v->lock);
	end(v);
	mutex_unlock(&v->lock);
}

/* ---- contents ---- */

static bool is_stale(const struct vfs *v, uint64_t ino, size_t from)
	REQUIRES(v->lock)
{
	for (size_t k = from; k < v->stale_n; k++)
		if (v->stale[k] == ino)
			return true;
	return false;
}

static void set_n(struct vfs *v, size_t n) REQUIRES(v->lock)
{
	__atomic_store_n(&v->stale_n, n, __ATOMIC_RELEASE);
}

void vfs_stale(struct vfs *v, uint64_t ino)
{
	if (!nodes_known(v->nodes, ino))
		return;
	mutex_lock(&v->lock);
	/* The first may have been dropped already. */
	if (v->kernel.arg && !is_stale(v, ino, 1)) {
		uint64_t *grown = reallocarray(v->stale, v->stale_n + 1,
					       sizeof(*grown));

		if (!grown)
			abort(); /* or it would be read as it was, for ever */
		v->stale = grown;
		v->stale[v->stale_n] = ino;
		set_n(v, v->stale_n + 1);
		cond_broadcast(&v->cond);
	}
	mutex_unlock(&v->lock);
}

void vfs_stale_wait(struct vfs *v, uint64_t ino)
{
	uint64_t end_ms;

	if (__atomic_load_n(&v->stale_n, __ATOMIC_ACQUIRE) == 0)
		return;
	end_ms = clock_ms() + WAIT_MS;
	mutex_lock(&v->lock);
	while (is_stale(v, ino, 0) && clock_ms() < end_ms)
		(void)cond_wait_until(&v->cond, &v->lock, end_ms);
	mutex_unlock(&v->lock);
}

static void *teller_main(void *arg)
{
	struct vfs *v = arg;
	struct vfs_kernel k;

	mutex_lock(&v->lock);
	while (!v->closing) {
		if (v->stale_n == 0) {
			cond_wait(&v->cond, &v->lock);
			continue;
		}
		if (begin(v, &k)) {
			uint64_t ino = v->stale[0];

			mutex_unlock(&v->lock);
			k.contents(k.arg, ino);
			mutex_lock(&v->lock);
			end(v);
		}
		set_n(v, v->stale_n - 1);
		memmove(v->stale, v->stale + 1, v->stale_n * sizeof(*v->stale));
		cond_broadcast(&v->cond);
	}
	mutex_unlock(&v->lock);
	return NULL;
}

int teller_start(struct vfs *v)
{
	return -pthread_create(&v->teller, NULL, teller_main, v);
}

void teller_stop(struct vfs *v)
{
	mutex_lock(&v->lock);
	v->closing = true;
	cond_broadcast(&v->cond);
	mutex_unlock(&v->lock);
	(void)pthread_join(v->teller, NULL);
	free(v->stale);
	v->stale = NULL;
}

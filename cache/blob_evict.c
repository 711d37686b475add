/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blob_evict.c: owns which contents go when there is no room. No state, no
 * locks; all of it is done by the writer, or while nobody else has the cache.
 *
 * Packs go as a whole, oldest first. A chunk in it that was read since it was
 * written gets a second chance: it is moved to the newest pack, as it is, and
 * its mark is gone; to stay longer it must be read again. What is moved is at
 * most a third of what goes, so that making room always makes room: what is
 * used more than that is not cached by any order, and the oldest of it is lost.
 * This comes near "least recently used" for one bit a part of a pack and no
 * work when reading.
 *
 * The bound: packs take at most 15/16 of it (blob_packs_max), less what moving
 * can need meanwhile. The disk: below keep_free nothing is moved, and a batch
 * removes at most a few packs, since some filesystems count freed room late.
 * Where the disk says "full" before that (a quota), the oldest pack goes each
 * time.
 */
#include "blob_int.h"

#include <sys/statvfs.h>

#include "msg.h"

enum { DISK_TRIES = 3 };

static bool current_has_room(const struct blob *b)
{
	return b->current && b->current->used < b->pack_bytes;
}

struct moving {
	struct blob *b;
	uint64_t left; /* bytes that may still be moved */
	struct scratch *sc;
};

static int move_touched(void *arg, struct pack *p, uint64_t at,
			const struct blob_rec *rec)
{
	struct moving *m = arg;
	struct blob *b = m->b;
	struct blob_slot from;
	struct blob_rec r;
	uint64_t bytes = blob_aligned(blob_rec_bytes(rec));

	if (!blob_pack_touched(b, p, at) ||
	    blob_index_get(b, rec->ino, rec->index, NULL, &from) < 0 ||
	    from.pack != p->number || (uint64_t)from.unit * BLOB_ALIGN != at)
		return 0;
	if (bytes > m->left)
		return 1;
	if (blob_pack_read(p, &from, m->sc->stored, &r) < 0)
		return 0; /* damaged; it would be found when it is read */
	if (!blob_batch_fits(&b->batch, r.stored) && blob_batch_write(b) < 0)
		return 1;
	if (b->batch.n == 0 && !current_has_room(b) && blob_pack_begin(b) < 0)
		return 1;
	blob_batch_add(b, &r, m->sc->stored + BLOB_HEAD_BYTES, &from, NULL);
	m->left -= bytes;
	return 0;
}

/* @budget: bytes that may be moved. False: there is none to remove. */
static bool evict_oldest(struct blob *b, uint64_t budget)
{
	struct pack *p = blob_pack_oldest(b);
	struct moving m = { .b = b };

	if (!p)
		return false;
	m.left = MIN(budget, p->used / 3);
	if (m.left > 0 && p != b->current)
		m.sc = blob_scratch_get(b);
	if (m.sc) {
		(void)blob_pack_walk(b, p, move_touched, &m);
		(void)blob_batch_write(b);
		blob_scratch_put(b, m.sc);
	}
	msg_debug("blob", "pack %u goes, %llu bytes", p->number,
		  (unsigned long long)p->used);
	blob_count(&b->stat.evicted_bytes, p->used);
	blob_pack_remove(b, p);
	blob_pack_unref(p);
	return true;
}

static uint64_t disk_free(const struct blob *b)
{
	struct statvfs st;

	if (fstatvfs(b->dir_fd, &st) < 0)
		return UINT64_MAX;
	return (uint64_t)st.f_bavail * st.f_frsize;
}

/* What moving can add before it frees, and a batch. */
static uint64_t reserve(const struct blob *b)
{
	return b->pack_bytes / 3 + BLOB_BATCH_BYTES + BLOB_PAGE_BYTES;
}

static uint64_t packs_bytes(struct blob *b, unsigned *ret_n)
{
	uint64_t n;

	mutex_lock(&b->lock);
	n = b->packs_bytes;
	*ret_n = b->packs_n;
	mutex_unlock(&b->lock);
	return n;
}

int blob_evict_room(struct blob *b)
{
	uint64_t need = BLOB_BATCH_BYTES + BLOB_PAGE_BYTES;
	int r;

	if (b->o.bytes_max < BLOB_BYTES_MIN)
		return -ENOSPC;
	if (b->hit_wall)
		(void)evict_oldest(b, 0);
	b->hit_wall = false;
	for (unsigned tries = 0;;) {
		unsigned n;
		uint64_t bytes = packs_bytes(b, &n);
		bool full = bytes + reserve(b) + need > blob_packs_max(b) ||
			    n >= BLOB_PACKS_MAX;
		uint64_t room = disk_free(b);
		bool tight =
			room < b->o.keep_free || room - b->o.keep_free < need;

		if (!full && !tight)
			break;
		if (tight && tries++ >= DISK_TRIES)
			return -ENOSPC;
		if (!evict_oldest(b, tight ? 0 : b->pack_bytes / 3))
			return -ENOSPC;
	}
	r = current_has_room(b) ? 0 : blob_pack_begin(b);
	b->hit_wall = r == -ENOSPC || r == -EDQUOT;
	return r;
}

void blob_evict_trim(struct blob *b)
{
	unsigned n;

	while (packs_bytes(b, &n) > blob_packs_max(b) || n > BLOB_PACKS_MAX)
		(void)evict_oldest(b, 0);
}

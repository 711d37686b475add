/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blob_write.c: owns what is on its way into the content cache: the queue, the
 * writer (a thread), and the batch it works on.
 *
 * An item is a chunk in memory, shared with whoever else has it. States of an
 * item:
 *
 *   queued    in the queue; readers find it
 *   in work   the writer compresses and appends it; readers still find it
 *   gone      readers find it in the index, or, if it was dropped, nowhere
 *
 * Dropping marks the item, then deletes from the index under `change`; the
 * writer looks at the mark under `change` before it puts. So whichever comes
 * first, a dropped chunk does not come back.
 *
 * The queue is bounded; what does not fit is not kept, and the caller goes on.
 * The writer takes many chunks at once, compresses them one behind the other
 * and appends them with one write, so that a burst of small files costs few
 * calls and lies together. It alone changes packs and the batch.
 *
 * `lock` guards the queue and the hash. After a failure of the disk nothing is
 * taken for PAUSE_MS; reading goes on.
 */
#include "blob_int.h"

#include <signal.h>

#include "msg.h"

enum { ZSTD_LEVEL = 1, PAUSE_MS = 1000 };

static uint64_t item_bytes(uint32_t len)
{
	return sizeof(struct item) + len;
}

static unsigned hash_head(uint64_t ino, uint32_t index)
{
	uint64_t h = (ino + index) * UINT64_C(0x9e3779b97f4a7c15);

	return (unsigned)(h >> 32) % BLOB_QUEUE_HEADS;
}

/* ---- items ---- */

void blob_item_unref(struct item *i)
{
	if (i && __atomic_sub_fetch(&i->refs, 1, __ATOMIC_ACQ_REL) == 0) {
		slice_done(&i->data);
		free(i);
	}
}

static struct item *item_find(struct blob *b, uint64_t ino, uint32_t index)
	REQUIRES(b->lock)
{
	struct item *i = b->hash[hash_head(ino, index)];

	while (i && (i->ino != ino || i->index != index))
		i = i->hash_next;
	return i;
}

struct item *blob_item_get(struct blob *b, uint64_t ino, uint32_t index,
			   const struct blob_version *v)
{
	struct item *i;

	mutex_lock(&b->lock);
	i = item_find(b, ino, index);
	if (i && !atomic_load(&i->dropped) && blob_version_equal(&i->v, v))
		(void)__atomic_add_fetch(&i->refs, 1, __ATOMIC_RELAXED);
	else
		i = NULL;
	mutex_unlock(&b->lock);
	return i;
}

void blob_items_drop(struct blob *b, uint64_t ino, const struct blob_version *v)
{
	mutex_lock(&b->lock);
	for (unsigned h = 0; b->queued > 0 && h < BLOB_QUEUE_HEADS; h++)
		for (struct item *i = b->hash[h]; i; i = i->hash_next)
			if (i->ino == ino && blob_version_equal(&i->v, v))
				atomic_store(&i->dropped, true);
	mutex_unlock(&b->lock);
}

static void item_enqueue(struct blob *b, struct item *i) REQUIRES(b->lock)
{
	struct item *old = item_find(b, i->ino, i->index);
	unsigned head = hash_head(i->ino, i->index);

	if (old)
		atomic_store(&old->dropped, true);
	i->hash_next = b->hash[head];
	b->hash[head] = i;
	*b->last = i;
	b->last = &i->next;
	cond_signal(&b->wake);
}

/* Readers do not find it any more. */
static void item_finish(struct blob *b, struct item *i) REQUIRES(b->lock)
{
	struct item **at = &b->hash[hash_head(i->ino, i->index)];

	while (*at != i)
		at = &(*at)->hash_next;
	*at = i->hash_next;
	b->queued -= item_bytes(i->data.len);
	blob_item_unref(i);
}

/* ---- the queue ---- */

static int queue_reserve(struct blob *b, uint64_t bytes)
{
	int r = 0;

	mutex_lock(&b->lock);
	if (b->queued + bytes > BLOB_QUEUE_BYTES)
		r = -EAGAIN;
	else
		b->queued += bytes;
	mutex_unlock(&b->lock);
	return r;
}

static int chunk_queue(struct blob *b, uint64_t ino,
		       const struct blob_version *v, uint32_t index,
		       const struct slice *data)
{
	struct item *i;
	int r = queue_reserve(b, item_bytes(data->len));

	if (r < 0)
		return r;
	i = malloc(sizeof(*i));
	if (i)
		*i = (struct item){ .refs = 1,
				    .ino = ino,
				    .v = *v,
				    .index = index,
				    .data = slice_ref(data) };
	mutex_lock(&b->lock);
	if (i)
		item_enqueue(b, i);
	else
		b->queued -= item_bytes(data->len);
	mutex_unlock(&b->lock);
	return i ? 0 : -ENOMEM;
}

static int refuses(struct blob *b)
{
	if (b->o.bytes_max < BLOB_BYTES_MIN)
		return -ENOSPC;
	if (atomic_load(&b->paused_until) == 0 ||
	    atomic_load(&b->paused_until) <= clock_ms())
		return 0;
	return atomic_load(&b->paused_error);
}

int blob_write(struct blob *b, uint64_t ino, const struct blob_version *v,
	       uint64_t offset, const struct slice *data)
{
	uint64_t skip = (BLOB_CHUNK_BYTES - offset % BLOB_CHUNK_BYTES) %
			BLOB_CHUNK_BYTES;
	int error = refuses(b);

	while (skip < data->len && offset + skip < v->size) {
		uint64_t index = (offset + skip) / BLOB_CHUNK_BYTES;
		struct slice chunk = { .of = data->of, .at = data->at + skip };
		int r = error;

		if (index > UINT32_MAX)
			break;
		chunk.len = blob_chunk_bytes(v->size, (uint32_t)index);
		if (chunk.len > data->len - skip)
			break;
		if (r == 0)
			r = chunk_queue(b, ino, v, (uint32_t)index, &chunk);
		if (r < 0) {
			blob_count(&b->stat.refused, 1);
			error = r;
		}
		skip += chunk.len;
	}
	return error;
}

void blob_flush(struct blob *b)
{
	mutex_lock(&b->lock);
	while (b->first || b->working)
		cond_wait(&b->idle, &b->lock);
	mutex_unlock(&b->lock);
}

/* ---- the batch ---- */

bool blob_batch_fits(const struct batch *t, uint32_t raw)
{
	return t->n < BLOB_BATCH_CHUNKS &&
	       t->bytes + blob_aligned(BLOB_HEAD_BYTES + raw) <=
		       BLOB_BATCH_BYTES;
}

void blob_batch_add(struct blob *b, struct blob_rec *r, const void *payload,
		    const struct blob_slot *from, const struct item *item)
{
	struct batch *t = &b->batch;
	uint64_t at = b->current->used + t->bytes;
	uint8_t *head = t->data + t->bytes;
	size_t bytes = blob_rec_bytes(r), padded = blob_aligned(bytes);

	if (payload != head + BLOB_HEAD_BYTES)
		memcpy(head + BLOB_HEAD_BYTES, payload, r->stored);
	memset(head + bytes, 0, padded - bytes);
	blob_rec_encode(&b->current->key, at, r, head + BLOB_HEAD_BYTES, head);
	t->chunk[t->n].to =
		(struct blob_slot){ .ino = r->ino,
				    .index = r->index,
				    .pack = b->current->number,
				    .unit = (uint32_t)(at / BLOB_ALIGN),
				    .stored = r->stored,
				    .compressed = r->compressed };
	t->chunk[t->n].from = from ? *from : (struct blob_slot){ 0 };
	t->chunk[t->n].item = item;
	t->bytes += padded;
	t->n++;
}

static void batch_index(struct blob *b)
{
	struct batch *t = &b->batch;

	for (unsigned n = 0; n < t->n; n++) {
		const struct item *i = t->chunk[n].item;
		int r = 0;

		mutex_lock(&b->change);
		if (!i) {
			r = blob_index_move(b, &t->chunk[n].from,
					    &t->chunk[n].to);
			blob_count(&b->stat.kept, r == 0);
		} else if (!atomic_load(&i->dropped)) {
			r = blob_index_put(b, &t->chunk[n].to, &i->v);
			blob_count(r < 0 ? &b->stat.refused : &b->stat.written,
				   1);
			blob_count(&b->stat.written_bytes, i->data.len);
			blob_count(&b->stat.stored_bytes,
				   t->chunk[n].to.stored);
		}
		mutex_unlock(&b->change);
	}
}

/* Takes nothing for a moment. */
static void pause_for(struct blob *b, int r)
{
	if (r != -ENOSPC && r != -EDQUOT && !b->warned) {
		b->warned = true;
		msg_warning(
			"content cache: cannot write: %s; what is read from "
			"the server may not be kept",
			msg_strerror(r));
	}
	atomic_store(&b->paused_error, r);
	atomic_store(&b->paused_until, clock_ms() + PAUSE_MS);
}

int blob_batch_write(struct blob *b)
{
	struct batch *t = &b->batch;
	int r = 0;

	if (t->n == 0)
		return 0;
	r = blob_pack_append(b, b->current, t->data, t->bytes);
	if (r == 0) {
		batch_index(b);
	} else {
		b->current = NULL; /* its end may not be what it should */
		b->hit_wall = r == -ENOSPC || r == -EDQUOT;
		pause_for(b, r);
		blob_count(&b->stat.refused, t->n);
	}
	t->n = 0;
	t->bytes = 0;
	return r;
}

/* Right into its place; as it is if that does not save a sixteenth. */
static void compress_into_batch(struct blob *b, const struct item *i)
{
	uint8_t *to = b->batch.data + b->batch.bytes + BLOB_HEAD_BYTES;
	const struct slice *data = &i->data;
	size_t room = data->len - MAX(data->len / 16, 1u), n = 0;
	struct blob_rec r = { .ino = i->ino, .v = i->v, .index = i->index };

	if (room > 0)
		n = ZSTD_compressCCtx(b->zstd, to, room, data->at, data->len,
				      ZSTD_LEVEL);
	r.compressed = n > 0 && !ZSTD_isError(n);
	r.stored = r.compressed ? (uint32_t)n : data->len;
	blob_batch_add(b, &r, r.compressed ? to : data->at, NULL, i);
}

/* ---- the writer ---- */

/* The next items, as many as surely fit into one batch, off the queue. */
static struct item *take(struct blob *b) REQUIRES(b->lock)
{
	struct item *first = b->first, **end = &b->first;
	uint64_t bytes = 0;

	for (unsigned n = 0; *end && n < BLOB_BATCH_CHUNKS; n++) {
		bytes += blob_aligned(BLOB_HEAD_BYTES + (*end)->data.len);
		if (bytes > BLOB_BATCH_BYTES)
			break;
		end = &(*end)->next;
	}
	b->first = *end;
	*end = NULL;
	if (!b->first)
		b->last = &b->first;
	return first;
}

static void write_items(struct blob *b, struct item *items)
{
	int r = refuses(b);

	if (r == 0) {
		r = blob_evict_room(b);
		if (r < 0)
			pause_for(b, r);
	}
	for (struct item *i = items; i; i = i->next) {
		if (r < 0)
			blob_count(&b->stat.refused, 1);
		else if (!atomic_load(&i->dropped))
			compress_into_batch(b, i);
	}
	(void)blob_batch_write(b);
}

static void finish_items(struct blob *b, struct item *items) REQUIRES(b->lock)
{
	while (items) {
		struct item *next = items->next;

		item_finish(b, items);
		items = next;
	}
}

/* What was queued goes too. */
static void clear_all(struct blob *b) REQUIRES(b->lock)
{
	struct pack *p;

	finish_items(b, b->first);
	b->first = NULL;
	b->last = &b->first;
	mutex_unlock(&b->lock);
	while ((p = blob_pack_oldest(b))) {
		blob_pack_remove(b, p);
		blob_pack_unref(p);
	}
	mutex_lock(&b->change);
	(void)blob_index_reset(b);
	mutex_unlock(&b->change);
	mutex_lock(&b->lock);
	b->clear = false;
	cond_broadcast(&b->idle);
}

static void *writer_main(void *arg)
{
	struct blob *b = arg;
	struct item *items;

	mutex_lock(&b->lock);
	while (!b->stop || b->first || b->clear) {
		if (b->clear) {
			clear_all(b);
			continue;
		}
		if (!b->first) {
			cond_wait(&b->wake, &b->lock);
			continue;
		}
		items = take(b);
		b->working = true;
		mutex_unlock(&b->lock);
		write_items(b, items);
		mutex_lock(&b->lock);
		finish_items(b, items);
		b->working = false;
		if (!b->first)
			cond_broadcast(&b->idle);
	}
	mutex_unlock(&b->lock);
	return NULL;
}

void blob_clear(struct blob *b)
{
	mutex_lock(&b->lock);
	b->clear = true;
	cond_signal(&b->wake);
	while (b->clear)
		cond_wait(&b->idle, &b->lock);
	mutex_unlock(&b->lock);
}

/* It takes no signal: those belong to the program's own threads. */
int blob_writer_start(struct blob *b)
{
	sigset_t all, old;
	int r;

	b->batch.data = malloc(BLOB_BATCH_BYTES);
	b->zstd = ZSTD_createCCtx();
	if (!b->batch.data || !b->zstd)
		return -ENOMEM;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	r = -pthread_create(&b->writer, NULL, writer_main, b);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	b->running = r == 0;
	return r;
}

void blob_writer_stop(struct blob *b)
{
	if (b->running) {
		mutex_lock(&b->lock);
		b->stop = true;
		cond_signal(&b->wake);
		mutex_unlock(&b->lock);
		(void)pthread_join(b->writer, NULL);
	}
	free(b->batch.data);
	(void)ZSTD_freeCCtx(b->zstd);
}

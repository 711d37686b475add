/* SPDX-License-Identifier: GPL-2.0-or-later */
/* meta_env.c: owns the metadata cache's one LMDB transaction, the thread that
 * commits it, and the room on disk that a commit needs.
 *
 * The transaction. One write transaction is always open; every read and write
 * of every thread uses it, under the lock that is the bracket. So a put is seen
 * at once, long before it is on disk, and a bracket sees one state. LMDB says a
 * transaction belongs to one thread. What binds a write transaction there is
 * only the writers' lock, which MDB_NOLOCK leaves out, and thread-local storage
 * serves readers alone; therefore serial use from many threads is sound.
 *
 * Commits. The committer thread commits META_COMMIT_MS after the first change;
 * a bracket that ends with more than META_OPS_SOFT changes does so itself. Only
 * a bracket of more than META_OPS_MAX changes is cut in two. MDB_NOSYNC: a
 * commit is write(2) into the page cache, and the last committed state survives
 * the death of the process. A commit that fails is reported once; the cache
 * goes on with the state of the last one that worked, and what was put since,
 * a second's worth, is forgotten as if the process had died.
 *
 * Room. The file is kept longer than its contents, by allocated blocks, so that
 * a commit finds its space: TXN pages are the most that one transaction can
 * add. A change that grows needs two TXN, one that shrinks needs one; without
 * room the change is refused beforehand with -ENOSPC, since LMDB would throw
 * the whole transaction away (meta_spare.c has then what must be kept). The
 * file's length exceeds its contents too, so a
 * file that is shorter than LMDB's page count was truncated (and would give
 * SIGBUS). A filesystem that cannot allocate gets the length only.
 */
#include "meta_int.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include "msg.h"

enum {
	IDLE_MS = 5000,

	/* The pages one transaction can add: each change copies or splits a
	 * leaf; branches above are shared; then the list of free pages. */
	TXN_PAGES = META_OPS_MAX * 9 / 4 + 256,
};

/* Commits will follow. */
static int mark_open(struct meta *m) REQUIRES(m->lock)
{
	int r;

	if (m->marked_open)
		return 0;
	r = meta_files_mark(m, MARK_OPEN);
	if (r == 0)
		m->marked_open = true;
	return r;
}

/* ---- errors and time ---- */

uint64_t meta_boot_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

int meta_errno(int rc)
{
	if (rc >= 0)
		return -rc;
	switch (rc) {
	case MDB_NOTFOUND:
		return -ENOENT;
	case MDB_MAP_FULL:
	case MDB_TXN_FULL:
		return -ENOSPC;
	case MDB_VERSION_MISMATCH:
		return -EMEDIUMTYPE;
	case MDB_BAD_VALSIZE:
		return -EINVAL;
	case MDB_BAD_TXN:
	case MDB_PANIC:
		return -EIO;
	default: /* CORRUPTED, INVALID, PAGE_NOTFOUND, INCOMPATIBLE, ... */
		return -EUCLEAN;
	}
}

static void lose(struct meta *m, int r) REQUIRES(m->lock)
{
	m->lost = r;
	if (m->commit_failed)
		return;
	m->commit_failed = true;
	msg_error("metadata cache: cannot commit: %s; going on without what "
		  "was cached in the last second",
		  msg_strerror(r));
}

int meta_env_fail(struct meta *m, int rc)
{
	int r = meta_errno(rc);

	if (m->broken)
		return m->broken;
	mdb_txn_abort(m->txn);
	m->txn = NULL;
	if (r == -EUCLEAN) {
		m->broken = r;
		(void)meta_files_mark(m, MARK_DAMAGED);
		msg_error("metadata cache: damaged (%s); it will be made anew "
			  "at the next mount",
			  mdb_strerror(rc));
		return r;
	}
	lose(m, r);
	(void)meta_env_begin(m);
	return r;
}

/* ---- room ---- */

/* Make the file @bytes long, of allocated blocks where that is possible. */
static int file_extend(struct meta *m, uint64_t used, uint64_t bytes)
	REQUIRES(m->lock)
{
	int r = 0;

	if (fallocate(m->data_fd, 0, (off_t)used, (off_t)(bytes - used)) < 0)
		r = -errno;
	if (r == -EOPNOTSUPP || r == -ENOSYS)
		r = ftruncate(m->data_fd, (off_t)bytes) < 0 ? -errno : 0;
	if (r == 0)
		m->file_bytes = bytes;
	return r;
}

/* After a commit: see to the room of the next transactions. */
static void room_renew(struct meta *m) REQUIRES(m->lock)
{
	uint64_t txn = (uint64_t)TXN_PAGES * m->page_bytes, used;
	MDB_envinfo info;

	(void)mdb_env_info(m->env, &info);
	used = (uint64_t)(info.me_last_pgno + 1) * m->page_bytes;
	for (unsigned n = 3; n > 0; n--) {
		uint64_t need = used + n * txn;

		if (n < 3 && need <= m->file_bytes)
			break;
		if (need <= m->map_bytes && file_extend(m, used, need) == 0)
			break;
	}
	m->room[NEED_GROW] = m->file_bytes >= used + 2 * txn;
	m->room[NEED_SHRINK] = m->file_bytes >= used + txn;
}

int meta_env_room(struct meta *m, unsigned ops, enum meta_need need)
{
	assert(!m->walking);
	if (!m->broken && m->ops + ops > META_OPS_MAX)
		(void)meta_env_commit(m);
	if (m->broken)
		return m->broken;
	/* Space may have been freed; a commit would look only after changes. */
	if (!m->room[need] && m->ops == 0 && clock_ms() >= m->room_again_ms) {
		room_renew(m);
		m->room_again_ms = clock_ms() + META_ROOM_AGAIN_MS;
	}
	if (need == NEED_GROW && m->no_room)
		return -ENOSPC;
	return m->room[need] ? 0 : -ENOSPC;
}

/* ---- the transaction ---- */

int meta_env_begin(struct meta *m)
{
	int rc = mdb_txn_begin(m->env, NULL, 0, &m->txn);

	m->ops = 0;
	if (rc != 0) {
		m->txn = NULL;
		m->broken = meta_errno(rc);
		msg_error("metadata cache: cannot go on: %s", mdb_strerror(rc));
		return m->broken;
	}
	room_renew(m);
	return 0;
}

static int info_put(struct meta *m, uint64_t bound) REQUIRES(m->lock)
{
	uint8_t record[INFO_RECORD_BYTES_MAX];

	m->info.next_ino = bound;
	return meta_db_put(m, m->info_db, META_INFO_KEY, strlen(META_INFO_KEY),
			   record, meta_info_encode(&m->info, record));
}

int meta_env_commit_bound(struct meta *m, uint64_t bound)
{
	int r = m->broken;

	if (r == 0 && bound != m->ino_bound)
		r = info_put(m, bound);
	if (r < 0)
		return r;
	r = mark_open(m);
	if (r < 0)
		return meta_env_fail(m, -r);
	r = meta_errno(mdb_txn_commit(m->txn));
	m->txn = NULL;
	if (r == 0) {
		m->ino_bound = bound;
		m->commits++;
	} else {
		lose(m, r);
	}
	if (meta_env_begin(m) < 0)
		return m->broken;
	return r;
}

int meta_env_commit(struct meta *m)
{
	uint64_t bound = m->ino_bound;

	if (m->next_ino + META_INO_RESERVE / 2 > bound)
		bound = m->next_ino + META_INO_RESERVE;
	return meta_env_commit_bound(m, bound);
}

void meta_env_changed(struct meta *m)
{
	if (m->ops++ > 0)
		return;
	m->due_ms = clock_ms() + META_COMMIT_MS;
	cond_signal(&m->wake);
}

int meta_db_get(struct meta *m, MDB_dbi db, const void *key, size_t key_len,
		MDB_val *ret_data)
{
	MDB_val k = { key_len, (void *)(uintptr_t)key };
	int rc;

	if (m->broken)
		return m->broken;
	rc = mdb_get(m->txn, db, &k, ret_data);
	if (rc == MDB_NOTFOUND)
		return -ENOENT;
	return rc == 0 ? 0 : meta_env_fail(m, rc);
}

int meta_db_put(struct meta *m, MDB_dbi db, const void *key, size_t key_len,
		const void *data, size_t len)
{
	MDB_val k = { key_len, (void *)(uintptr_t)key };
	MDB_val v = { len, (void *)(uintptr_t)data };
	int rc;

	if (m->broken)
		return m->broken;
	rc = mdb_put(m->txn, db, &k, &v, 0);
	if (rc != 0)
		return meta_env_fail(m, rc);
	meta_env_changed(m);
	return 0;
}

int meta_db_del(struct meta *m, MDB_dbi db, const void *key, size_t key_len)
{
	MDB_val k = { key_len, (void *)(uintptr_t)key };
	int rc;

	if (m->broken)
		return m->broken;
	rc = mdb_del(m->txn, db, &k, NULL);
	if (rc == MDB_NOTFOUND)
		return -ENOENT;
	if (rc != 0)
		return meta_env_fail(m, rc);
	meta_env_changed(m);
	return 0;
}

void meta_env_bracket_end(struct meta *m)
{
	if (m->broken || m->ops < META_OPS_SOFT)
		return;
	if (m->marked_open) {
		(void)meta_env_commit(m);
	} else {
		m->due_ms = clock_ms();
		cond_signal(&m->wake);
	}
}

/* ---- sync, and the committer ---- */

/* What is committed reaches the disk, without holding up brackets; then, if it
 * still is all there is, the mark says so. */
static int sync_committed(struct meta *m) REQUIRES(m->lock)
{
	uint64_t commits = m->commits;
	int r;

	mutex_unlock(&m->lock);
	r = meta_errno(mdb_env_sync(m->env, 1));
	mutex_lock(&m->lock);
	if (r < 0 || m->broken || m->commits != commits || !m->marked_open)
		return r;
	m->marked_open = false;
	return meta_files_mark(m, MARK_CLEAN);
}

int meta_env_sync(struct meta *m)
{
	int r;

	mutex_lock(&m->lock);
	r = m->ops > 0 ? meta_env_commit(m) : m->broken;
	if (r == 0)
		r = m->lost;
	m->lost = 0;
	if (r == 0)
		r = sync_committed(m);
	mutex_unlock(&m->lock);
	return r;
}

/* True when @deadline passed; false when something may have changed. */
static bool wait_until(struct meta *m, uint64_t deadline_ms) REQUIRES(m->lock)
{
	return clock_ms() >= deadline_ms ||
	       !cond_wait_until(&m->wake, &m->lock, deadline_ms);
}

/* The committer's commit: only it waits for the mark without the lock. */
static void commit_due(struct meta *m) REQUIRES(m->lock)
{
	uint64_t commits = m->commits;
	int r;

	if (!m->marked_open) {
		mutex_unlock(&m->lock);
		r = meta_files_mark(m, MARK_OPEN);
		mutex_lock(&m->lock);
		/* Else another thread may have written "clean" over it. */
		if (r == 0 && m->commits == commits)
			m->marked_open = true;
	}
	if (m->ops > 0 && !m->broken)
		(void)meta_env_commit(m);
}

static void *committer(void *arg)
{
	struct meta *m = arg;

	mutex_lock(&m->lock);
	while (!m->stop && !m->broken) {
		uint64_t commits = m->commits;

		if (m->ops > 0) {
			if (wait_until(m, m->due_ms) && m->ops > 0 &&
			    clock_ms() >= m->due_ms)
				commit_due(m);
		} else if (m->marked_open) {
			if (wait_until(m, clock_ms() + IDLE_MS) &&
			    m->ops == 0 && m->commits == commits)
				(void)sync_committed(m);
		} else {
			cond_wait(&m->wake, &m->lock);
		}
	}
	mutex_unlock(&m->lock);
	return NULL;
}

/* The committer takes no signal: those belong to the program's own threads. */
int meta_env_start(struct meta *m)
{
	sigset_t all, old;
	int r;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	r = -pthread_create(&m->committer, NULL, committer, m);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	m->running = r == 0;
	return r;
}

void meta_env_stop(struct meta *m)
{
	if (!m->running)
		return;
	mutex_lock(&m->lock);
	m->stop = true;
	cond_signal(&m->wake);
	mutex_unlock(&m->lock);
	(void)pthread_join(m->committer, NULL);
}

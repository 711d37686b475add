/* SPDX-License-Identifier: GPL-2.0-or-later */
/* meta_files.c: owns the metadata cache's files from outside: finding,
 * checking, locking and closing them, and the mark.
 *
 * Files in the cache's directory: "data.mdb", LMDB's, and "lock", ours: flocked
 * while in use (LMDB's own lock is not), and holding one line, the mark.
 *
 * The mark says whether the data can be trusted after the machine went down,
 * when pages reach the disk in any order:
 *
 *   none      a new cache: there is no data either
 *   clean     the data was synced, and nothing was committed after
 *   closed    the same, and nothing was put after either
 *   open      commits follow; trusted only during the same boot (boot id)
 *   damaged   LMDB met a page that makes no sense
 *
 *   none --open--> open --idle, sync--> clean --before a commit--> open
 *                  open, clean --close--> closed --open--> open
 *
 * "open" is on disk before the commit it announces; "clean" and "closed" are
 * written after the sync they report. The committer syncs once when nothing was
 * committed for IDLE_MS, so a machine that loses power at rest keeps its cache.
 *
 * Of a cache that is not closed, what was put since its last commit is missing,
 * also when it is clean: the process may have died before the next commit.
 */
#include "meta_int.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>

#include "msg.h"

enum {
	FORMAT_VERSION = 2,
	MARK_BYTES = 64,
	BOOT_ID_BYTES = 36,

	/* A stamp is the session's number and the microseconds in it, so no
	 * stamp has to be on disk before it is given out. Two years a
	 * mount, 260,000 mounts. */
	STAMP_US_BITS = 46,
};

/* ---- the mark ---- */

static void read_boot_id(char out[BOOT_ID_BYTES + 1])
{
	CLEANUP_FCLOSE FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (!f || fscanf(f, "%36s", out) != 1)
		strcpy(out, "-"); /* equals no boot, not even itself */
}

int meta_files_mark(const struct meta *m, enum meta_mark mark)
{
	static const char *const word[] = { [MARK_CLEAN] = "clean",
					    [MARK_CLOSED] = "closed",
					    [MARK_OPEN] = "open",
					    [MARK_DAMAGED] = "damaged" };
	char boot[BOOT_ID_BYTES + 1], line[MARK_BYTES + 1];
	ssize_t n;

	read_boot_id(boot);
	(void)snprintf(line, sizeof(line), "meta %-4d %-8s%-*s\n",
		       FORMAT_VERSION, word[mark], MARK_BYTES - 1 - 5 - 5 - 8,
		       boot);
	n = pwrite(m->lock_fd, line, MARK_BYTES, 0);
	if (n != MARK_BYTES)
		return n < 0 ? -errno : -EIO;
	/* That all is well may reach the disk when it likes. */
	if (mark != MARK_CLEAN && mark != MARK_CLOSED &&
	    fdatasync(m->lock_fd) < 0)
		return -errno;
	return 0;
}

/* Whether the data, which is there if @data, may be used. */
static int mark_check(struct meta *m, bool data)
{
	char line[MARK_BYTES + 1] = "", word[9], was[BOOT_ID_BYTES + 1];
	char boot[BOOT_ID_BYTES + 1];
	ssize_t n = pread(m->lock_fd, line, MARK_BYTES, 0);
	int version;

	if (n < 0)
		return -errno;
	if (!data)
		return 0;
	if (sscanf(line, "meta %4d %8s %36s\n", &version, word, was) != 3)
		return -EUCLEAN;
	if (version != FORMAT_VERSION)
		return -EMEDIUMTYPE;
	m->was_closed = strcmp(word, "closed") == 0;
	if (m->was_closed || strcmp(word, "clean") == 0)
		return 0;
	read_boot_id(boot);
	if (strcmp(word, "open") == 0 && strcmp(was, "-") != 0 &&
	    strcmp(was, boot) == 0)
		return 0;
	return -EUCLEAN;
}

/* ---- open and close ---- */

static int lock_open(struct meta *m, const char *dir)
{
	CLEANUP_FREE char *path = NULL;

	if (asprintf(&path, "%s/lock", dir) < 0)
		return -ENOMEM;
	m->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (m->lock_fd < 0)
		return -errno;
	if (flock(m->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	return 0;
}

/* LMDB is about to abort(): the next process must not try again. */
static void env_assert(MDB_env *env, const char *text)
{
	struct meta *m = mdb_env_get_userctx(env);

	(void)meta_files_mark(m, MARK_DAMAGED);
	msg_error("metadata cache: damaged (%s); it will be made anew", text);
}

/* The map is address space only; take less where that is limited (valgrind says
 * EINVAL). */
static int lmdb_open(struct meta *m, const char *path)
{
	const unsigned flags = MDB_NOSUBDIR | MDB_NOSYNC | MDB_NOLOCK |
			       MDB_NOTLS | MDB_NORDAHEAD;
	const uint64_t most = UINT64_C(1) << (sizeof(size_t) > 4 ? 36 : 30);
	size_t bytes = (size_t)most;
	int rc;

	for (;; bytes /= 2) {
		rc = mdb_env_create(&m->env);
		if (rc == 0)
			rc = mdb_env_set_mapsize(m->env, bytes);
		if (rc == 0)
			rc = mdb_env_set_maxdbs(m->env, 5);
		if (rc == 0)
			rc = mdb_env_open(m->env, path, flags, 0600);
		if (rc == 0)
			break;
		mdb_env_close(m->env);
		m->env = NULL;
		if ((rc != ENOMEM && rc != EINVAL) || bytes < (size_t)64 << 20)
			return meta_errno(rc);
	}
	(void)mdb_env_set_userctx(m->env, m);
	(void)mdb_env_set_assert(m->env, env_assert);
	(void)mdb_env_get_fd(m->env, &m->data_fd);
	return fcntl(m->data_fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : 0;
}

static int data_open(struct meta *m, const char *dir)
{
	CLEANUP_FREE char *path = NULL;
	MDB_envinfo info;
	MDB_stat stat;
	struct stat st;
	int r;

	if (asprintf(&path, "%s/data.mdb", dir) < 0)
		return -ENOMEM;
	r = mark_check(m, lstat(path, &st) == 0 && st.st_size > 0);
	if (r < 0)
		return r;
	r = lmdb_open(m, path);
	if (r < 0)
		return r;
	(void)mdb_env_info(m->env, &info);
	(void)mdb_env_stat(m->env, &stat);
	if (fstat(m->data_fd, &st) < 0)
		return -errno;
	m->page_bytes = stat.ms_psize;
	m->map_bytes = info.me_mapsize;
	m->file_bytes = (uint64_t)st.st_size;
	if ((uint64_t)(info.me_last_pgno + 1) * m->page_bytes > m->file_bytes)
		return -EUCLEAN;
	return 0;
}

static int databases_open(struct meta *m) REQUIRES(m->lock)
{
	const struct {
		const char *name;
		MDB_dbi *db;
	} all[] = { { "inodes", &m->inodes },
		    { "index", &m->index },
		    { "names", &m->names },
		    { "targets", &m->targets },
		    { "info", &m->info_db } };

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		int rc = mdb_dbi_open(m->txn, all[i].name, MDB_CREATE,
				      all[i].db);

		if (rc != 0)
			return meta_env_fail(m, rc);
	}
	return 0;
}

static int info_make(struct meta *m, const char *server)
{
	if (getrandom(m->info.secret, SIP_KEY_BYTES, 0) != SIP_KEY_BYTES)
		return -EIO;
	m->info.next_ino = META_INO_FIRST;
	strcpy(m->info.server, server);
	return 0;
}

/* Read, or make, what the cache says of itself; and begin a session. */
static int session_open(struct meta *m, const char *server) REQUIRES(m->lock)
{
	MDB_envinfo info;
	MDB_val v;
	int r = meta_db_get(m, m->info_db, META_INFO_KEY, strlen(META_INFO_KEY),
			    &v);

	(void)mdb_env_info(m->env, &info);
	if (r == -ENOENT)
		r = info.me_last_txnid == 0 ? info_make(m, server) : -EUCLEAN;
	else if (r == 0 && meta_info_decode(v.mv_data, v.mv_size, &m->info) < 0)
		r = -EUCLEAN;
	if (r < 0)
		return r;
	if (strcmp(m->info.server, server) != 0)
		return -EXDEV;
	meta_keys_derive(m->info.secret, &m->keys);
	m->info.session++;
	m->session_start = m->info.session << STAMP_US_BITS;
	m->opened_us = meta_boot_us();
	m->next_ino = m->info.next_ino;
	return meta_env_commit_bound(m, m->next_ino + META_INO_RESERVE);
}

int meta_files_open(struct meta *m, const char *dir, const char *server)
{
	int r;

	m->lock_fd = -1;
	if (strlen(server) >= SERVER_BYTES_MAX)
		return -ENAMETOOLONG;
	r = lock_open(m, dir);
	if (r == 0)
		r = data_open(m, dir);
	if (r < 0)
		return r;
	mutex_lock(&m->lock);
	r = meta_env_begin(m);
	if (r == 0)
		r = databases_open(m);
	if (r == 0)
		r = session_open(m, server);
	mutex_unlock(&m->lock);
	return r < 0 ? r : meta_env_start(m);
}

/* Commit what is left, give back the room, and say that all is on disk, if it
 * is. */
static void finish(struct meta *m) REQUIRES(m->lock)
{
	MDB_envinfo info;
	bool whole;

	m->bracket = true;
	spare_return(m, true);
	whole = m->spare_n == 0 && !m->commit_failed;
	if ((m->ops > 0 || m->ino_bound != m->next_ino) &&
	    meta_env_commit_bound(m, m->next_ino) < 0)
		whole = false;
	if (m->broken)
		return;
	(void)mdb_env_info(m->env, &info);
	(void)ftruncate(m->data_fd,
			(off_t)((info.me_last_pgno + 1) * m->page_bytes));
	if (mdb_env_sync(m->env, 1) == 0)
		(void)meta_files_mark(m, whole ? MARK_CLOSED : MARK_CLEAN);
}

void meta_files_close(struct meta *m)
{
	meta_env_stop(m);
	mutex_lock(&m->lock);
	if (m->running)
		finish(m);
	spare_free(m);
	mdb_txn_abort(m->txn);
	mutex_unlock(&m->lock);
	mdb_env_close(m->env);
	if (m->lock_fd >= 0)
		(void)close(m->lock_fd);
}

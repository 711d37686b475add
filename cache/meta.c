/* SPDX-License-Identifier: GPL-2.0-or-later */
/* meta.c: owns the inodes of the metadata cache and the index that finds them
 * by handle, or by fsid and fileid.
 *
 * The index has, for an inode whose handle is known, one entry under the hash
 * of the handle and one under that of (fsid, fileid). An entry only proposes an
 * inode; the inode's record decides. So entries may be stale, or point to
 * another inode after a collision, without harm; and of two inodes that claim
 * the same key the one put last has it. An inode without a handle is not known
 * to the server: its fileid means nothing, and it is not indexed.
 *
 * A record whose check fails is counted and deleted, and was never there. As
 * that makes names vanish, a directory that lost one is no longer complete.
 *
 * Locks: all under the bracket.
 */
#include <string.h>

#include "meta_int.h"

enum {
	PUT_OPS = 5, /* the record; two index entries out, two in */
	DROP_OPS = 4, /* and a symlink's target */
};

int meta_open(const char *dir, const char *server, struct meta **ret)
{
	struct meta *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	mutex_init(&m->lock);
	cond_init(&m->wake);
	m->name_offset = meta_name_offset;
	m->spare_soft = META_SPARE_SOFT;
	TAILQ_INIT(&m->spares);
	r = meta_files_open(m, dir, server);
	if (r < 0) {
		meta_close(m);
		return r;
	}
	*ret = m;
	return 0;
}

void meta_close(struct meta *m)
{
	if (!m)
		return;
	meta_files_close(m);
	cond_destroy(&m->wake);
	mutex_destroy(&m->lock);
	free(m);
}

void meta_begin(struct meta *m) NO_LOCK_ANALYSIS
{
	mutex_lock(&m->lock);
	m->bracket = true;
}

void meta_end(struct meta *m) NO_LOCK_ANALYSIS
{
	if (m->spare_n > 0 && m->room[NEED_GROW] && !m->broken)
		spare_return(m, false);
	meta_env_bracket_end(m);
	m->bracket = false;
	mutex_unlock(&m->lock);
}

bool meta_was_closed(const struct meta *m)
{
	return m->was_closed;
}

uint64_t meta_life(const struct meta *m)
{
	return sip_hash(&m->keys.name, "life", 4);
}

bool meta_has_room(struct meta *m)
{
	meta_bracket_check(m);
	return meta_env_room(m, PUT_OPS, NEED_GROW) == 0;
}

void meta_set_keep(struct meta *m, meta_keep_fn *fn, void *arg)
{
	meta_begin(m);
	m->keep = fn;
	m->keep_arg = arg;
	meta_end(m);
}

uint64_t meta_offset(const struct meta *m, const char *name)
{
	return m->name_offset(&m->keys, name, strlen(name));
}

uint64_t meta_now(const struct meta *m)
{
	return m->session_start + (meta_boot_us() - m->opened_us);
}

uint64_t meta_session_start(const struct meta *m)
{
	return m->session_start;
}

int meta_sync(struct meta *m)
{
	return meta_env_sync(m);
}

void meta_get_stats(struct meta *m, struct meta_stats *ret)
{
	struct stat st;
	MDB_stat db;

	*ret = (struct meta_stats){ 0 };
	mutex_lock(&m->lock);
	if (m->txn && mdb_stat(m->txn, m->inodes, &db) == 0)
		ret->inodes = db.ms_entries + m->spare_n;
	if (m->txn && mdb_stat(m->txn, m->names, &db) == 0)
		ret->names = db.ms_entries;
	ret->commits = m->commits;
	mutex_unlock(&m->lock);
	if (fstat(m->data_fd, &st) == 0)
		ret->bytes_on_disk = (uint64_t)st.st_blocks * 512;
}

/* ---- the index ---- */

static int index_get(struct meta *m, uint64_t hash, uint64_t *ret_ino)
	REQUIRES(m->lock)
{
	uint8_t key[8];
	MDB_val v;
	int r;

	meta_u64_put(key, hash);
	r = meta_db_get(m, m->index, key, sizeof(key), &v);
	if (r < 0)
		return r;
	return meta_index_decode(v.mv_data, v.mv_size, ret_ino) < 0 ? -ENOENT
								    : 0;
}

static int index_set(struct meta *m, uint64_t hash, uint64_t ino)
	REQUIRES(m->lock)
{
	uint8_t key[8], record[INDEX_RECORD_BYTES_MAX];

	meta_u64_put(key, hash);
	return meta_db_put(m, m->index, key, sizeof(key), record,
			   meta_index_encode(ino, record));
}

/* Unless another inode has taken the entry over. */
static int index_drop(struct meta *m, uint64_t hash, uint64_t ino)
	REQUIRES(m->lock)
{
	uint64_t found;
	uint8_t key[8];
	int r = index_get(m, hash, &found);

	if (r < 0 || found != ino)
		return r == -ENOENT ? 0 : r;
	meta_u64_put(key, hash);
	return meta_db_del(m, m->index, key, sizeof(key));
}

static uint64_t handle_hash(const struct meta *m, const struct meta_inode *n)
{
	return meta_handle_hash(&m->keys, &n->handle);
}

static uint64_t fileid_hash(const struct meta *m, const struct meta_inode *n)
{
	return meta_fileid_hash(&m->keys, n->attr.fsid, n->attr.fileid);
}

/* From what the index says of @old to what it must say of @new; either may
 * have no handle. What is the same in both is left alone, so that an old inode
 * does not take an entry back from the one that followed it. */
static int index_update(struct meta *m, const struct meta_inode *old,
			const struct meta_inode *new) REQUIRES(m->lock)
{
	bool was = old->handle.len > 0, is = new->handle.len > 0;
	bool same_fileid = old->attr.fsid == new->attr.fsid &&
			   old->attr.fileid == new->attr.fileid;
	int r = 0;

	if (was && is && handle_equal(&old->handle, &new->handle) &&
	    same_fileid)
		return 0;
	if (was && !(is && handle_equal(&old->handle, &new->handle)))
		r = index_drop(m, handle_hash(m, old), old->ino);
	if (r == 0 && was && !(is && same_fileid))
		r = index_drop(m, fileid_hash(m, old), old->ino);
	if (r == 0 && is && !(was && handle_equal(&old->handle, &new->handle)))
		r = index_set(m, handle_hash(m, new), new->ino);
	if (r == 0 && is && !(was && same_fileid))
		r = index_set(m, fileid_hash(m, new), new->ino);
	return r;
}

/* ---- inodes ---- */

static int record_get(struct meta *m, uint64_t ino, struct meta_inode *ret)
	REQUIRES(m->lock)
{
	uint8_t key[INO_KEY_BYTES];
	MDB_val v;
	int r;

	meta_u64_put(key, ino);
	r = meta_db_get(m, m->inodes, key, sizeof(key), &v);
	if (r < 0)
		return r;
	if (meta_inode_decode(&m->keys, ino, v.mv_data, v.mv_size, ret) == 0)
		return 0;
	m->damaged++;
	if (!m->walking && meta_env_room(m, 1, NEED_SHRINK) == 0)
		(void)meta_db_del(m, m->inodes, key, sizeof(key));
	return m->broken ? m->broken : -ENOENT;
}

int meta_get(struct meta *m, uint64_t ino, struct meta_inode *ret)
{
	const struct meta_inode *spare;

	meta_bracket_check(m);
	spare = spare_get(m, ino);
	if (!spare || m->broken)
		return record_get(m, ino, ret);
	*ret = *spare;
	return 0;
}

int meta_put(struct meta *m, const struct meta_inode *in)
{
	uint8_t key[INO_KEY_BYTES], record[INODE_RECORD_BYTES_MAX];
	struct meta_inode old = { 0 };
	int r;

	meta_bracket_check(m);
	if (in->ino == 0 || in->handle.len > HANDLE_BYTES_MAX)
		return -EINVAL;
	r = meta_env_room(m, PUT_OPS, NEED_GROW);
	if (r < 0)
		return r == -ENOSPC ? spare_put(m, in) : r;
	r = record_get(m, in->ino, &old);
	if (r < 0 && r != -ENOENT)
		return r;
	meta_u64_put(key, in->ino);
	r = meta_db_put(m, m->inodes, key, sizeof(key), record,
			meta_inode_encode(&m->keys, in, record));
	if (r == 0)
		r = index_update(m, &old, in);
	if (r == 0)
		spare_drop(m, in->ino);
	return r;
}

/* The record and its index entries. */
static int record_drop(struct meta *m, uint64_t ino) REQUIRES(m->lock)
{
	static const struct meta_inode none;
	uint8_t key[INO_KEY_BYTES];
	struct meta_inode old;
	int r = record_get(m, ino, &old);

	if (r == 0)
		r = meta_env_room(m, DROP_OPS, NEED_SHRINK);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	meta_u64_put(key, ino);
	r = meta_db_del(m, m->inodes, key, sizeof(key));
	if (r == 0 && S_ISLNK(old.attr.mode))
		r = meta_db_del(m, m->targets, key, sizeof(key));
	if (r == -ENOENT) /* its target is not known */
		r = 0;
	return r < 0 ? r : index_update(m, &old, &none);
}

int meta_inode_drop(struct meta *m, uint64_t ino)
{
	int r = record_drop(m, ino);

	if (r == 0)
		spare_drop(m, ino);
	return r;
}

/* The names of a directory may take more than one transaction. The inode goes
 * first: a crash then leaves names without a directory, which nobody finds and
 * meta_sweep() removes, not a directory that misses names. */
int meta_forget(struct meta *m, uint64_t ino)
{
	int r;

	meta_bracket_check(m);
	r = meta_inode_drop(m, ino);
	return r < 0 ? r : meta_names_drop(m, ino);
}

uint64_t meta_new_ino(struct meta *m)
{
	meta_bracket_check(m);
	if (m->next_ino >= m->ino_bound && !m->broken)
		(void)meta_env_commit(m);
	return m->next_ino++;
}

void meta_skip_inos(struct meta *m, uint64_t bound)
{
	meta_bracket_check(m);
	if (bound <= m->next_ino)
		return;
	m->next_ino = bound;
	if (m->next_ino >= m->ino_bound && !m->broken)
		(void)meta_env_commit(m);
}

void meta_dir_incomplete(struct meta *m, uint64_t dir)
{
	struct meta_inode n;

	if (meta_get(m, dir, &n) < 0)
		return;
	n.flags &= ~(uint32_t)META_COMPLETE;
	n.flags |= META_RELIST;
	/* Without room: rather no directory than one that misses a name. */
	if (meta_put(m, &n) < 0)
		(void)meta_inode_drop(m, dir);
}

/* ---- targets of symlinks ---- */

int meta_target_get(struct meta *m, const struct meta_inode *i, char **ret)
{
	uint8_t key[INO_KEY_BYTES];
	struct timespec mtime;
	const char *target;
	size_t len;
	MDB_val v;
	int r;

	meta_bracket_check(m);
	meta_u64_put(key, i->ino);
	r = meta_db_get(m, m->targets, key, sizeof(key), &v);
	if (r < 0)
		return r;
	if (meta_target_decode(&m->keys, i->ino, v.mv_data, v.mv_size, &mtime,
			       &target, &len) < 0) {
		m->damaged++;
		return -ENOENT;
	}
	if (!timespec_equal(&mtime, &i->server_mtime))
		return -ENOENT;
	if (!ret)
		return 0;
	*ret = strndup(target, len);
	return *ret ? 0 : -ENOMEM;
}

int meta_target_put(struct meta *m, const struct meta_inode *i,
		    const char *target)
{
	uint8_t key[INO_KEY_BYTES], record[TARGET_RECORD_BYTES_MAX];
	size_t len = strlen(target);
	int r;

	meta_bracket_check(m);
	if (len == 0 || len > META_TARGET_MAX)
		return -EINVAL;
	r = meta_env_room(m, 1, NEED_GROW);
	if (r < 0)
		return r;
	meta_u64_put(key, i->ino);
	return meta_db_put(m, m->targets, key, sizeof(key), record,
			   meta_target_encode(&m->keys, i->ino,
					      &i->server_mtime, target, len,
					      record));
}

/* ---- find ---- */

/* Is @n, which was known under another handle, the file with @a? Servers use a
 * fileid again, hence ctime; a directory's ctime moves with every name in it.
 */
static bool same_file(const struct meta_inode *n, const struct attr *a)
{
	if (n->attr.fsid != a->fsid || n->attr.fileid != a->fileid ||
	    ((n->attr.mode ^ a->mode) & S_IFMT) || (n->flags & META_REMOVED))
		return false;
	return S_ISDIR(a->mode) ||
	       (timespec_equal(&n->server_ctime, &a->ctime) &&
		timespec_equal(&n->server_mtime, &a->mtime));
}

int meta_find(struct meta *m, const struct handle *h, const struct attr *attr,
	      struct meta_inode *ret)
{
	const struct meta_inode *spare;
	struct meta_inode n;
	uint64_t ino;
	int r = -ENOENT;

	meta_bracket_check(m);
	spare = spare_find(m, h);
	if (spare && !m->broken) {
		*ret = *spare;
		return 0;
	}
	if (h->len > 0 && h->len <= HANDLE_BYTES_MAX)
		r = index_get(m, meta_handle_hash(&m->keys, h), &ino);
	if (r == 0)
		r = meta_get(m, ino, &n);
	if (r == 0 && handle_equal(&n.handle, h)) {
		*ret = n;
		return 0;
	}
	if ((r < 0 && r != -ENOENT) || !attr)
		return r < 0 ? r : -ENOENT;
	r = index_get(m, meta_fileid_hash(&m->keys, attr->fsid, attr->fileid),
		      &ino);
	if (r == 0)
		r = meta_get(m, ino, &n);
	if (r == 0 && !same_file(&n, attr))
		r = -ENOENT;
	if (r == 0)
		*ret = n;
	return r;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sim_fs.c: the filesystem against a model (sim_model.h), at random: operations,
 * flushes of the write-back log, faults of the server and of the way to it, a
 * local disk without room for the metadata cache, unmounting, and deaths of the
 * process. What the filesystem shows must be the model at any time; and what the
 * server has, once all is sent.
 *
 *	sim_fs [SEEDS]         as many seeds, from 1 on (SIM_SEEDS)
 *	SEED=n sim_fs          this one, telling what it does
 *
 * A death loses nothing of what was written to the log's files: they are copied
 * at one moment, while calls are under way; from that moment on nothing reaches
 * the server any more; and the copy is the log of the next life. The metadata
 * cache is then as it was, or older, or gone.
 */
#include "sim.h"

#include "../fs/tour.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SEEDS_DEFAULT = 200 };
#else
enum { SEEDS_DEFAULT = 10000 };
#endif

/* ---- operations ---- */

static int any_dir(struct sim *s)
{
	for (;;) {
		int k = chance(s, 3) ? (int)chance(s, NODES) : TOP;

		if (s->m.n[k].used && s->m.n[k].nlink && S_ISDIR(s->m.n[k].mode))
			return k;
	}
}

/* With a name or, sometimes, without one any more. ABSENT: there is none. */
static int any_node(struct sim *s, mode_t type, bool named)
{
	for (unsigned k = 0; k < 2 * NODES; k++) {
		int node = 1 + (int)chance(s, NODES - 1);
		const struct node *n = &s->m.n[node];

		if (n->used && (n->nlink || (!named && n->refs)) &&
		    (!type || (n->mode & S_IFMT) == type))
			return node;
	}
	return ABSENT;
}

static void entered(struct sim *s, int dir, int name, int node,
		    const struct vfs_entry *e)
{
	struct node *n = &s->m.n[node];

	n->ino = e->ino;
	n->refs++;
	n->mtime = e->attr.mtime;
	model_enter(&s->m, dir, name, node);
	compare_attr(s, node, &e->attr, "create");
}

static void op_create(struct sim *s)
{
	static const mode_t types[] = { S_IFREG, S_IFREG, S_IFREG, S_IFDIR,
					S_IFDIR, S_IFLNK, S_IFIFO };
	mode_t mode = types[chance(s, ARRAY_LEN(types))];
	int dir = any_dir(s), name = (int)chance(s, NAMES), node, r;
	const struct caller c = { .uid = chance(s, 3), .gid = chance(s, 3) };
	const char *text = model_name(name);
	uint64_t d = ino_of(s, dir);
	struct vfs_entry e;

	node = model_new(&s->m, mode);
	if (node == ABSENT)
		return;
	s->m.n[node].mode |= S_ISLNK(mode) ? 0777 : chance(s, 01000);
	mode = s->m.n[node].mode;
	s->m.n[node].uid = c.uid;
	s->m.n[node].gid = c.gid;
	say(s, "create %d/%s %o as %d\n", dir, text, mode, node);
	if (S_ISDIR(mode)) {
		r = vfs_mkdir(s->f.v, &c, d, text, mode & 07777, &e);
	} else if (S_ISLNK(mode)) {
		(void)snprintf(s->m.n[node].target, 16, "to/%d", node);
		s->m.n[node].size = strlen(s->m.n[node].target);
		r = vfs_symlink(s->f.v, &c, d, text, s->m.n[node].target, &e);
	} else {
		r = vfs_mknod(s->f.v, &c, d, text, mode, 0, &e);
	}
	if (s->m.n[dir].child[name] != ABSENT) {
		expect(s, "create", r, -EEXIST);
		s->m.n[node].used = false;
		return;
	}
	expect(s, "create", r, 0);
	entered(s, dir, name, node, &e);
}

static void op_link(struct sim *s)
{
	int node = any_node(s, 0, true), dir = any_dir(s);
	int name = (int)chance(s, NAMES), r;
	struct vfs_entry e;
	uint64_t ino;

	if (node == ABSENT || S_ISDIR(s->m.n[node].mode))
		return;
	say(s, "link %d as %d/%s\n", node, dir, model_name(name));
	ino = ino_of(s, node);
	r = vfs_link(s->f.v, &root_user, ino, ino_of(s, dir), model_name(name),
		     &e);
	if (s->m.n[dir].child[name] != ABSENT) {
		expect(s, "link", r, -EEXIST);
		return;
	}
	expect(s, "link", r, 0);
	entered(s, dir, name, node, &e);
}

static void op_remove(struct sim *s)
{
	int dir = any_dir(s), name = (int)chance(s, NAMES), r;
	int node = s->m.n[dir].child[name];
	const char *text = model_name(name);

	know(s, dir, name);
	say(s, "remove %d/%s, %d\n", dir, text, node);
	if (node != ABSENT && S_ISDIR(s->m.n[node].mode)) {
		r = vfs_rmdir(s->f.v, &root_user, ino_of(s, dir), text);
		expect(s, "rmdir", r,
		       model_is_empty(&s->m, node) ? 0 : -ENOTEMPTY);
	} else {
		r = vfs_unlink(s->f.v, &root_user, ino_of(s, dir), text);
		expect(s, "unlink", r, node == ABSENT ? -ENOENT : 0);
	}
	if (r == 0)
		model_leave(&s->m, dir, name);
}

static void op_rename(struct sim *s)
{
	int dir = any_dir(s), name = (int)chance(s, NAMES);
	int newdir = chance(s, 2) ? dir : any_dir(s);
	int newname = (int)chance(s, NAMES), r, want = 0;
	int node = s->m.n[dir].child[name];
	int there = s->m.n[newdir].child[newname];

	if (node == ABSENT || (dir == newdir && name == newname))
		return;
	/* The kernel's checks. */
	if (S_ISDIR(s->m.n[node].mode) && model_is_below(&s->m, newdir, node))
		return;
	if (there != ABSENT &&
	    S_ISDIR(s->m.n[there].mode) != S_ISDIR(s->m.n[node].mode))
		return;
	if (there != ABSENT && S_ISDIR(s->m.n[there].mode) &&
	    model_is_below(&s->m, dir, there))
		want = -ENOTEMPTY;
	if (there != ABSENT && !model_is_empty(&s->m, there))
		want = -ENOTEMPTY;
	know(s, dir, name);
	know(s, newdir, newname);
	say(s, "rename %d/%s, %d, to %d/%s, %d\n", dir, model_name(name), node,
	    newdir, model_name(newname), there);
	r = vfs_rename(s->f.v, &root_user, ino_of(s, dir), model_name(name),
		       ino_of(s, newdir), model_name(newname), 0);
	expect(s, "rename", r, want);
	if (r == 0 && node != there)
		model_move(&s->m, dir, name, newdir, newname);
}

static void set_attrs(struct sim *s, int node, unsigned valid)
{
	struct node *n = &s->m.n[node];
	struct remote_sattr set = { .valid = valid };
	struct vfs_entry e;

	set.mode = chance(s, 01000);
	set.uid = chance(s, 3);
	set.gid = chance(s, 3);
	set.size = chance(s, chance(s, 3) ? 3000 : DATA) *
		   (uint64_t)(chance(s, 3) > 0);
	set.mtime = (struct timespec){ (time_t)(1600000000 + s->clock++),
				       (long)chance(s, 1000000000) };
	say(s, "set %x of %d: %o %u:%u size %llu mtime %lld\n", valid, node,
	    set.mode, set.uid, set.gid, (unsigned long long)set.size,
	    (long long)set.mtime.tv_sec);
	expect(s, "setattr", vfs_setattr(s->f.v, &root_user, ino_of(s, node),
					 &set, &e), 0);
	if (valid & REMOTE_SET_MODE)
		n->mode = (n->mode & S_IFMT) | set.mode;
	if (valid & REMOTE_SET_UID)
		n->uid = set.uid;
	if (valid & REMOTE_SET_GID)
		n->gid = set.gid;
	if (valid & REMOTE_SET_SIZE) {
		model_resize(n, set.size);
		n->mtime = e.attr.mtime;
	}
	if (valid & REMOTE_SET_MTIME) {
		n->mtime = set.mtime;
		n->has_mtime = S_ISDIR(n->mode);
	}
	compare_attr(s, node, &e.attr, "setattr");
}

static void op_setattr(struct sim *s)
{
	int node = any_node(s, 0, false);
	unsigned valid;

	if (node == ABSENT || S_ISLNK(s->m.n[node].mode))
		return;
	valid = chance(s, 64) & (REMOTE_SET_MODE | REMOTE_SET_UID |
				 REMOTE_SET_GID | REMOTE_SET_MTIME);
	if (S_ISREG(s->m.n[node].mode) && chance(s, 2))
		valid |= REMOTE_SET_SIZE;
	if (valid)
		set_attrs(s, node, valid);
}

static void op_write(struct sim *s)
{
	int node = any_node(s, S_IFREG, false);
	struct node *n;
	uint64_t offset = chance(s, 3) ? chance(s, 1000) : chance(s, 5000);
	uint32_t len = 1 + chance(s, chance(s, 3) ? 100 : 3000);
	struct timespec from;
	char data[3000];

	if (node == ABSENT)
		return;
	n = &s->m.n[node];
	if (chance(s, 2))
		offset = MIN(n->size, (uint64_t)5000);
	memset(data, (int)(1 + chance(s, 120)), sizeof(data));
	say(s, "write %d at %llu, %u bytes of %d\n", node,
	    (unsigned long long)offset, len, data[0]);
	(void)clock_gettime(CLOCK_REALTIME, &from);
	expect(s, "write", vfs_write(s->f.v, &root_user, ino_of(s, node),
				     offset, data, len), 0);
	memcpy(n->data + offset, data, len);
	n->size = MAX(n->size, offset + len);
	written(s, node, &from);
	if (chance(s, 2))
		set_attrs(s, node, REMOTE_SET_MTIME);
}

static void op_look(struct sim *s)
{
	int node = any_node(s, 0, false);

	if (chance(s, 2))
		(void)look_up(s, any_dir(s), (int)chance(s, NAMES));
	else if (chance(s, 2))
		compare_dir(s, any_dir(s), chance(s, 2));
	else if (node != ABSENT)
		compare_node(s, node);
	if (node != ABSENT && chance(s, 4) == 0) {
		int r = vfs_fsync(s->f.v, &root_user, ino_of(s, node));

		if (r < 0 && !s->refuses)
			expect(s, "fsync", r, 0);
	}
}

/* What is seen by nobody any more. The kernel holds directories of what it
 * knows. */
static void op_forget(struct sim *s)
{
	int node = 1 + (int)chance(s, NODES - 1);
	struct node *n = &s->m.n[node];

	if (!n->used || !n->refs)
		return;
	for (int k = 0; k < NAMES && S_ISDIR(n->mode); k++)
		if (n->child[k] != ABSENT && s->m.n[n->child[k]].refs)
			return;
	say(s, "forget %d\n", node);
	vfs_forget(s->f.v, n->ino, n->refs);
	n->refs = 0;
	if (s->fills) /* there may be no room to remember it */
		n->ino = 0;
	if (!n->nlink)
		n->used = false;
}

/* ---- sending, and what goes wrong ---- */

static void op_fault(struct sim *s)
{
	static const enum fault_kind kinds[] = {
		FAULT_LOST, FAULT_LOST, FAULT_LOST_CALL, FAULT_NOT_SENT,
		FAULT_TIMEOUT, FAULT_DELAY, FAULT_DELAY,
	};
	static const enum remote_op ops[] = {
		REMOTE_CREATE, REMOTE_MKDIR, REMOTE_SYMLINK, REMOTE_MKNOD,
		REMOTE_REMOVE, REMOTE_RMDIR, REMOTE_RENAME, REMOTE_LINK,
		REMOTE_WRITE, REMOTE_SETATTR, REMOTE_COMMIT, REMOTE_OPS,
		REMOTE_LOOKUP, REMOTE_READDIRPLUS,
	};
	struct fault_rule rule = {
		.kind = kinds[chance(s, ARRAY_LEN(kinds))],
		.op = ops[chance(s, ARRAY_LEN(ops))],
		.skip = chance(s, 3), .times = 1, .delay_ms = 1,
	};

	if (s->refuses)
		rule.kind = FAULT_DELAY;
	else if (chance(s, 200) == 0)
		rule.kind = FAULT_JUKEBOX;
	say(s, "fault %d of %d after %u\n", rule.kind, rule.op, rule.skip);
	(void)fault_add(s->f.fault, &rule);
	total.faults++;
	if (chance(s, 3) == 0)
		remote_mem_restart(s->f.mem);
}

/* A refusal: what is refused stays, and is sent when asked for again. */
static void op_refuse(struct sim *s)
{
	static const int errors[] = { -ENOSPC, -EACCES, -EDQUOT };
	static const enum remote_op ops[] = { REMOTE_CREATE, REMOTE_WRITE,
					      REMOTE_RENAME, REMOTE_MKDIR,
					      REMOTE_REMOVE, REMOTE_SETATTR };
	struct fault_rule rule = {
		.kind = FAULT_ERROR, .error = errors[chance(s, 3)],
		.op = ops[chance(s, ARRAY_LEN(ops))], .times = 1,
	};

	say(s, "refuse %d\n", rule.op);
	(void)fault_add(s->f.fault, &rule);
	total.faults++;
}

static void send_everything(struct sim *s)
{
	int r = 0;

	say(s, "send all\n");
	/* Each try ends with what was refused; few are. */
	for (unsigned k = 0; k < 20; k++) {
		wback_retry_all(s->f.wback); /* as `nfsrootfs sync` does */
		r = flush_wait(s->f.flush, flush_force(s->f.flush), NULL,
			       clock_ms() + 20000);
		if (r == 0 || r == -EAGAIN)
			break;
	}
	expect(s, "send all", r, 0);
	wback_check(s->f.wback);
}

static void op_send(struct sim *s)
{
	switch (chance(s, 4)) {
	case 0:
		send_everything(s);
		break;
	case 1:
		say(s, "pressure\n");
		flush_pressure(s->f.flush);
		break;
	default:
		say(s, "force\n");
		wback_retry_all(s->f.wback);
		(void)flush_force(s->f.flush);
		break;
	}
	if (chance(s, 3) == 0)
		(void)usleep(chance(s, 300));
}

/* ---- lives ---- */

/* Never matches. */
static bool tell_call(const struct remote_call *c, void *arg)
{
	(void)arg;
	if (c->op != REMOTE_GETATTR && c->op != REMOTE_LOOKUP)
		fprintf(stderr, "    %s %s %s\n", remote_op_name(c->op), c->name,
			c->name2);
	return false;
}

static void clear_faults(struct sim *s)
{
	const struct fault_rule rule = { .kind = FAULT_ERROR, .op = REMOTE_OPS,
					 .match = tell_call };

	fault_clear(s->f.fault);
	if (s->tell)
		(void)fault_add(s->f.fault, &rule);
}

static void begin_life(struct sim *s)
{
	s->life++;
	total.mounts++;
	mount_fs(&s->f);
	clear_faults(s);
	wback_check(s->f.wback);
}

static void end_life(struct sim *s)
{
	unmount_fs(&s->f);
}

/* What is on the disk when the process dies at this moment. The cache is never
 * newer than the log: it commits later. */
static void snapshot(struct sim *s, const char *log, const char *meta)
{
	char from[600];

	(void)meta_sync(s->f.meta);
	meta_begin(s->f.meta);
	mutex_lock(&s->f.wback->order);
	fault_clear(s->f.fault); /* a delayed one would get through */
	fault_set_away(s->f.fault, true);
	dir_of(s, "log", from);
	copy_dir(s, from, log);
	dir_of(s, "meta", from);
	copy_dir(s, from, meta);
	mutex_unlock(&s->f.wback->order);
	meta_end(s->f.meta);
}

static void die(struct sim *s)
{
	char log[600], log_copy[600], meta[600], meta_copy[600], old[600];
	unsigned cache = chance(s, 4);

	say(s, "death; cache %u\n", cache);
	total.deaths++;
	dir_of(s, "log", log);
	dir_of(s, "log.copy", log_copy);
	dir_of(s, "meta", meta);
	dir_of(s, "meta.copy", meta_copy);
	dir_of(s, "meta.old", old);
	snapshot(s, log_copy, meta_copy);
	/* The rest is only to get rid of it. */
	remote_retry_give_up(s->f.remote);
	end_life(s);
	move_dir(s, log_copy, log);
	remove_tree(meta);
	if (cache == 0) {
		remove_tree(meta_copy);
		remove_tree(old); /* its numbers are given out anew */
	} else if (cache > 1 || access(old, F_OK) != 0) {
		move_dir(s, meta_copy, meta);
	} else {
		move_dir(s, old, meta);
	}
	if (cache == 1 && access(meta_copy, F_OK) == 0)
		move_dir(s, meta_copy, old); /* for another time */
	model_new_life(&s->m, true); /* the last numbers may be lost */
	begin_life(s);
}

/* The tree is gone through while other things happen: listed, so that replies
 * that are older than changes come back later than those; or doubted. */
static void op_tour(struct sim *s)
{
	enum tour_kind kind = chance(s, 2) ? TOUR_META : TOUR_REFRESH;
	uint64_t id;
	int r = tour_start(s->f.v, kind, META_ROOT, UINT64_MAX, &id);

	say(s, "tour %d\n", (int)kind);
	assert_true(r == 0 || r == -EBUSY);
	if (r == 0 && chance(s, 2) == 0)
		tour_stop(s->f.v, id);
}

static void op_life(struct sim *s)
{
	bool forget = chance(s, 3) == 0;
	char meta[600];

	if (chance(s, 3)) {
		die(s);
	} else {
		say(s, "remount%s\n", forget ? " without cache" : "");
		clear_faults(s);
		end_life(s);
		dir_of(s, "meta", meta);
		if (forget) {
			remove_tree(meta);
			dir_of(s, "meta.old", meta);
			remove_tree(meta);
		}
		model_new_life(&s->m, forget || s->sparing || s->fills);
		begin_life(s);
	}
	if (chance(s, 2))
		compare_all(s);
}

/* The local disk fills up, or is emptied: the metadata cache keeps what it must
 * in memory, and forgets the rest. */
static void op_room(struct sim *s)
{
	bool no_room;

	meta_begin(s->f.meta);
	no_room = s->f.meta->no_room = !s->f.meta->no_room;
	s->f.meta->spare_soft = 4;
	meta_end(s->f.meta);
	say(s, "%s room for the cache\n", no_room ? "no" : "again");
}

static void step(struct sim *s)
{
	static void (*const ops[])(struct sim *s) = {
		op_create, op_create, op_create, op_create, op_create,
		op_remove, op_remove, op_remove, op_rename, op_rename,
		op_rename, op_link,   op_write,  op_write,  op_write,
		op_write,  op_setattr, op_setattr, op_look, op_forget,
		op_forget, op_fault,  op_send,   op_send,   op_tour,
	};

	total.ops++;
	if (s->fills && (run_random(&s->disk_rng) >> 33) % 6 == 0)
		op_room(s);
	if (chance(s, 25) == 0)
		op_life(s);
	else if (s->refuses && chance(s, 12) == 0)
		op_refuse(s); /* and no lost replies: the server knows its own */
	else
		ops[chance(s, ARRAY_LEN(ops))](s);
}

static void run_seed_of(struct sim *s, uint64_t seed, struct run_dir *dir)
{
	struct remote_mem_options o = { 0 };
	unsigned steps;
	char path[600];

	s->seed = seed;
	s->rng = seed * 0x9E3779B97F4A7C15u | 1;
	s->life = 0;
	s->trace_n = 0;
	s->trace[0] = 0;
	s->disk_rng = ~s->rng;
	for (unsigned k = 0; k < 8; k++) {
		(void)run_random(&s->rng);
		(void)run_random(&s->disk_rng);
	}
	s->fills = run_random(&s->disk_rng) >> 62 == 0;
	memset(&s->f, 0, sizeof(s->f));
	s->f.dir = dir;
	s->f.back = true;
	s->f.keep = seed % 2 == 0;
	s->f.retry.timeo_ms = 60000;
	config_init(&s->f.config);
	s->f.config.delay_ms = 3600 * 1000;
	s->f.config.log_bytes_max = 8 << 20;
	s->f.config.write_bytes_max = 1024;
	s->f.config.ac_ms = chance(s, 4) ? 60000 : 0;
	s->f.segment_bytes = 48 * 1024;
	if (chance(s, 4) == 0)
		o.omit = chance(s, 8);
	s->sparing = o.omit != 0;
	s->f.mem = remote_mem_new(&o);
	s->refuses = chance(s, 6) == 0;
	steps = 20 + chance(s, 40);
	model_init(&s->m);
	current = s;
	begin_life(s);
	for (unsigned k = 0; k < steps; k++)
		step(s);
	compare_all(s);
	clear_faults(s);
	send_everything(s);
	compare_all(s);
	for (unsigned k = 0; k < 2; k++) {
		end_life(s);
		compare_server(s);
		dir_of(s, "meta", path);
		remove_tree(path);
		model_new_life(&s->m, true);
		begin_life(s);
		compare_all(s);
	}
	end_life(s);
	current = NULL;
	remote_mem_free(s->f.mem);
	config_done(&s->f.config);
	for (unsigned k = 0; k < 3; k++) {
		static const char *const names[] = { "meta", "log", "meta.old" };

		dir_of(s, names[k], path);
		remove_tree(path);
	}
	total.seeds++;
}

#include "sim_run.h"

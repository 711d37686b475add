/* SPDX-License-Identifier: GPL-2.0-or-later */
/* retry_check.c: owns the knowledge of which calls do harm when repeated, what
 * the server then says, and what proves that it was this call that did it:
 *
 *   REMOVE, RMDIR   -ENOENT   nothing more can be known
 *   CREATE, MKNOD   -EEXIST   the mtime that the call set: the caller chooses
 *                             one that is unique in nanoseconds
 *   MKDIR           -EEXIST   the same; if it set none: mode, owner, emptiness
 *   SYMLINK         -EEXIST   the target
 *   LINK            -EEXIST   the file's handle or number
 *   RENAME          -ENOENT   the file's handle under its new name
 *
 * A call may also meet its own first attempt under way: servers make a file and
 * set its times a moment later. So an empty one of the right type, whose mtime is
 * another, is not judged before the server was given time (-EINPROGRESS).
 *
 * A question (struct question) is a LOOKUP of the name that the call was to make;
 * then a GETATTR, if the server left the attributes out, and a READLINK of a
 * symlink. It is freed when the verdict is told. No locks.
 */
#include "retry_check.h"

int retry_already_done(enum remote_op op)
{
	switch (op) {
	case REMOTE_REMOVE:
	case REMOTE_RMDIR:
	case REMOTE_RENAME:
		return -ENOENT;
	case REMOTE_CREATE:
	case REMOTE_MKDIR:
	case REMOTE_SYMLINK:
	case REMOTE_MKNOD:
	case REMOTE_LINK:
		return -EEXIST;
	default:
		return 0;
	}
}

static uint64_t to_ns(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * 1000000000 + (uint64_t)t->tv_nsec;
}

/* Is @found the mtime that @c set? A disk may have cut it down to the unit that
 * the server admits, or to a finer one: Linux says one second whatever the
 * filesystem keeps. */
static bool mtime_is_ours(const struct remote_call *c, uint64_t unit,
			  const struct timespec *found)
{
	uint64_t set = to_ns(&c->set.mtime), is = to_ns(found);

	if (!(c->set.valid & REMOTE_SET_MTIME))
		return false;
	for (uint64_t finer = 1; finer < unit; finer *= 10)
		if (is == set - set % finer)
			return true;
	return is == set - set % unit;
}

static bool dir_is_ours(const struct remote_call *c, uint64_t unit_ns,
			const struct attr *a)
{
	unsigned valid = c->set.valid;

	if (!S_ISDIR(a->mode))
		return false;
	if (valid & REMOTE_SET_MTIME)
		return mtime_is_ours(c, unit_ns, &a->mtime);
	/* Below a set-group-ID directory it has inherited that bit. */
	if ((valid & REMOTE_SET_MODE) &&
	    ((a->mode ^ c->set.mode) & (07777 & ~(uint32_t)S_ISGID)))
		return false;
	/* Some filesystems give every directory one link. */
	return (!(valid & REMOTE_SET_UID) || a->uid == c->set.uid) &&
	       (!(valid & REMOTE_SET_GID) || a->gid == c->set.gid) &&
	       a->nlink <= 2;
}

static bool node_is_alike(const struct remote_call *c, const struct attr *a)
{
	if ((a->mode ^ c->set.mode) & S_IFMT)
		return false;
	return (!S_ISCHR(a->mode) && !S_ISBLK(a->mode)) ||
	       (a->rdev_major == c->rdev_major &&
		a->rdev_minor == c->rdev_minor);
}

/* May it be ours, but for the mtime? */
static bool is_half_made(const struct remote_call *c, const struct attr *a)
{
	if (a->size != 0 || a->nlink != 1)
		return false;
	if (c->op == REMOTE_CREATE)
		return S_ISREG(a->mode);
	return c->op == REMOTE_MKNOD && node_is_alike(c, a);
}

/* Of SYMLINK, whose proof is its target, it says nothing. @found has attr and
 * fh_out. */
static bool is_ours(const struct remote_call *c,
		    const struct remote_call *found, uint64_t unit_ns)
{
	const struct attr *a = &found->attr;

	switch (c->op) {
	case REMOTE_CREATE:
		return S_ISREG(a->mode) && a->size == 0 &&
		       mtime_is_ours(c, unit_ns, &a->mtime);
	case REMOTE_MKDIR:
		return dir_is_ours(c, unit_ns, a);
	case REMOTE_MKNOD:
		return node_is_alike(c, a) &&
		       mtime_is_ours(c, unit_ns, &a->mtime);
	case REMOTE_RENAME:
		return handle_equal(&found->fh_out, &c->object);
	default: /* LINK; servers may have several handles for a file */
		return handle_equal(&found->fh_out, &c->object) ||
		       (c->has_attr && c->attr.fsid == a->fsid &&
			c->attr.fileid == a->fileid);
	}
}

/* Make the error reply in @c what the reply that was lost had said, as far as
 * @found knows. */
static void adopt(struct remote_call *c, const struct remote_call *found)
{
	c->pre.valid = c->pre2.valid = false;
	if (c->op == REMOTE_RENAME) {
		c->has_dir2_attr = found->has_dir_attr;
		c->dir2_attr = found->dir_attr;
		if (!handle_equal(&c->fh, &c->fh2))
			return; /* dir_attr is of the error's reply */
	} else {
		c->has_attr = true;
		c->attr = found->attr;
	}
	c->has_dir_attr = found->has_dir_attr;
	c->dir_attr = found->dir_attr;
	if (c->op != REMOTE_RENAME && c->op != REMOTE_LINK)
		c->fh_out = found->fh_out;
}

/* ---- asking ---- */

struct question {
	struct remote *r;
	struct remote_call *call;  /* about which we ask */
	struct remote_call *found; /* the LOOKUP */
	uint64_t unit_ns;
	retry_verdict_fn *verdict;
	void *arg;
};

bool retry_is_no_answer(int status)
{
	return status == -EIO || status == -EREMOTEIO || status == -ENOMEM ||
	       remote_error_is_transport(status);
}

static void tell(struct question *q, int status)
{
	retry_verdict_fn *verdict = q->verdict;
	void *arg = q->arg;

	remote_call_unref(q->found);
	free(q);
	verdict(arg, status);
}

static void decide(struct question *q, bool ours)
{
	int status = q->call->status;

	if (ours) {
		adopt(q->call, q->found);
		status = 0;
	}
	tell(q, status);
}

/* Consumes @c, which may be NULL. */
static void submit(struct question *q, struct remote_call *c,
		   remote_done_fn *done)
{
	if (!c) {
		tell(q, -ENOMEM);
		return;
	}
	remote_submit(q->r, c, done, q);
	remote_call_unref(c);
}

static void ask(struct question *q, enum remote_op op, const struct handle *fh,
		const char *name, remote_done_fn *done)
{
	submit(q, remote_call_new(op, fh, name), done);
}

static void refreshed(struct remote_call *c, void *arg)
{
	struct question *q = arg;

	tell(q, retry_is_no_answer(c->status) ? c->status : -EINPROGRESS);
}

/* Let the server look at what was found anew, by a change that is none:
 * nfs-ganesha may have read its attributes before it had set them, and then keeps
 * those. */
static void refresh(struct question *q)
{
	struct remote_call *c = remote_call_new(REMOTE_SETATTR,
						&q->found->fh_out, NULL);

	if (c) {
		c->set.valid = REMOTE_SET_ATIME;
		c->set.atime = q->found->attr.atime;
	}
	submit(q, c, refreshed);
}

static void readlink_done(struct remote_call *c, void *arg)
{
	struct question *q = arg;

	if (retry_is_no_answer(c->status))
		tell(q, c->status);
	else
		decide(q, c->status == 0 && c->data_len == q->call->data_len &&
				  memcmp(c->data, q->call->data,
					 c->data_len) == 0);
}

static void judge(struct question *q)
{
	bool ours = is_ours(q->call, q->found, q->unit_ns);

	if (!ours && is_half_made(q->call, &q->found->attr))
		refresh(q);
	else if (q->call->op != REMOTE_SYMLINK)
		decide(q, ours);
	else if (S_ISLNK(q->found->attr.mode))
		ask(q, REMOTE_READLINK, &q->found->fh_out, NULL, readlink_done);
	else
		decide(q, false);
}

static void getattr_done(struct remote_call *c, void *arg)
{
	struct question *q = arg;

	if (retry_is_no_answer(c->status)) {
		tell(q, c->status);
	} else if (c->status < 0) {
		decide(q, false);
	} else {
		q->found->attr = c->attr;
		judge(q);
	}
}

static void lookup_done(struct remote_call *c, void *arg)
{
	struct question *q = arg;

	q->found = remote_call_ref(c);
	if (retry_is_no_answer(c->status))
		tell(q, c->status);
	else if (c->status < 0)
		decide(q, false);
	else if (!c->has_attr) /* servers may leave them out */
		ask(q, REMOTE_GETATTR, &c->fh_out, NULL, getattr_done);
	else
		judge(q);
}

void retry_find_out(struct remote *r, struct remote_call *c, uint64_t unit_ns,
		    retry_verdict_fn *verdict, void *arg)
{
	struct question *q;

	if (c->op == REMOTE_REMOVE || c->op == REMOTE_RMDIR) {
		c->pre.valid = false;
		verdict(arg, 0);
		return;
	}
	if (c->op == REMOTE_RENAME && c->object.len == 0) {
		verdict(arg, c->status); /* nothing to know it by */
		return;
	}
	q = malloc(sizeof(*q));
	if (!q) {
		verdict(arg, -ENOMEM);
		return;
	}
	*q = (struct question){ .r = r,		  .call = c,
				.unit_ns = unit_ns, .verdict = verdict,
				.arg = arg };
	if (c->op == REMOTE_RENAME)
		ask(q, REMOTE_LOOKUP, &c->fh2, c->name2, lookup_done);
	else
		ask(q, REMOTE_LOOKUP, &c->fh, c->name, lookup_done);
}

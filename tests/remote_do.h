/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remote_do.h: one-line calls for the tests of remotes: each submits one call,
 * waits, and returns its status; results are asked for with pointers that may
 * be NULL, and are empty after a failure. A test that needs more builds its
 * call itself.
 */
#pragma once

#include "../fs/remote.h"

static inline struct remote_call *do_new(enum remote_op op,
					 const struct handle *fh,
					 const char *name)
{
	struct remote_call *c = remote_call_new(op, fh, name);

	if (!c)
		abort();
	return c;
}

static inline void do_set_data(struct remote_call *c, const void *data,
			       size_t len)
{
	c->data = malloc(len ? len : 1);
	if (!c->data)
		abort();
	if (len)
		memcpy(c->data, data, len);
	c->data_len = (uint32_t)len;
}

/* Run @c and let it go. */
static inline int do_call(struct remote *r, struct remote_call *c,
			  struct handle *ret_fh, struct attr *ret_attr)
{
	int status = remote_run(r, c, NULL, 0);

	if (ret_fh)
		*ret_fh = c->fh_out;
	if (ret_attr)
		*ret_attr = c->attr;
	remote_call_unref(c);
	return status;
}

static inline int do_lookup(struct remote *r, const struct handle *dir,
			    const char *name, struct handle *ret_fh,
			    struct attr *ret_attr)
{
	return do_call(r, do_new(REMOTE_LOOKUP, dir, name), ret_fh, ret_attr);
}

static inline int do_getattr(struct remote *r, const struct handle *fh,
			     struct attr *ret)
{
	return do_call(r, do_new(REMOTE_GETATTR, fh, NULL), NULL, ret);
}

/* CREATE or MKDIR with a mode and an mtime. */
static inline int do_make(struct remote *r, enum remote_op op,
			  const struct handle *dir, const char *name,
			  uint32_t mode, uint64_t mtime_ns,
			  struct handle *ret_fh)
{
	struct remote_call *c = do_new(op, dir, name);

	c->set.valid = REMOTE_SET_MODE | REMOTE_SET_MTIME;
	c->set.mode = mode;
	c->set.mtime.tv_sec = (time_t)(mtime_ns / 1000000000);
	c->set.mtime.tv_nsec = (long)(mtime_ns % 1000000000);
	return do_call(r, c, ret_fh, NULL);
}

static inline int do_write(struct remote *r, const struct handle *fh,
			   uint64_t offset, const void *data, size_t len)
{
	struct remote_call *c = do_new(REMOTE_WRITE, fh, NULL);

	c->offset = offset;
	c->stable = REMOTE_FILE_SYNC;
	do_set_data(c, data, len);
	return do_call(r, c, NULL, NULL);
}

static inline int do_remove(struct remote *r, enum remote_op op,
			    const struct handle *dir, const char *name)
{
	return do_call(r, do_new(op, dir, name), NULL, NULL);
}

/* @object may be NULL: not known. */
static inline struct remote_call *
do_new_rename(const struct handle *dir, const char *name,
	      const struct handle *dir2, const char *name2,
	      const struct handle *object)
{
	struct remote_call *c = do_new(REMOTE_RENAME, dir, name);

	c->fh2 = *dir2;
	strcpy(c->name2, name2);
	if (object)
		c->object = *object;
	return c;
}

static inline int do_rename(struct remote *r, const struct handle *dir,
			    const char *name, const struct handle *dir2,
			    const char *name2)
{
	return do_call(r, do_new_rename(dir, name, dir2, name2, NULL), NULL,
		       NULL);
}

static inline struct remote_call *do_new_link(const struct handle *object,
					      const struct handle *dir,
					      const char *name)
{
	struct remote_call *c = do_new(REMOTE_LINK, dir, name);

	c->object = *object;
	return c;
}

static inline struct remote_call *
do_new_symlink(const struct handle *dir, const char *name, const char *target)
{
	struct remote_call *c = do_new(REMOTE_SYMLINK, dir, name);

	do_set_data(c, target, strlen(target));
	return c;
}

static inline int do_setattr(struct remote *r, const struct handle *fh,
			     const struct remote_sattr *set,
			     struct attr *ret)
{
	struct remote_call *c = do_new(REMOTE_SETATTR, fh, NULL);

	c->set = *set;
	return do_call(r, c, NULL, ret);
}

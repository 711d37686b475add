/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lease.c: owns the lease file on the server: its format, how it appears, how
 * it is told from others'.
 *
 * Format: lines "key=value", at most LEASE_BYTES_MAX bytes, in any order; keys
 * that are not known are passed over.
 *
 *   id=32 hex digits     the holder's cache directory (cachedir_id())
 *   host=, mountpoint=, pid=, time=   for people; printable
 *   nonce=16 hex digits  another one each time it is taken
 *
 * A file that is not so (too long, no id) is held by somebody unknown.
 *
 * The file is never seen empty or half-written: it is written as "lease-ID",
 * and then gets its name, by LINK where there was no lease, which the server
 * lets one of two clients do only; by RENAME over the lease that is replaced.
 * So a lease that changes hands is always another file: the loser sees another
 * handle under the name, and other bytes, since nonces differ. What decides is
 * the bytes: a server that was moved to another disk has new handles. A
 * filesystem without hard links gets RENAME always; of two clients that come in
 * the same moment, there the last one has it, and the other one is told when it
 * looks.
 *
 * "lease-ID" is also written by another client only if somebody has copied a
 * cache directory to it. No name here is one that hold.c cleans up: those have
 * a dot and a number behind a host's name.
 *
 * No locks: a struct lease is used by one thread at a time.
 */
#include "lease.h"

#include <inttypes.h>
#include <sys/random.h>

#include "../cache/msg.h"
#include "config.h"
#include "hold.h"

#define LEASE_NAME "lease"

enum {
	ID_CHARS = 32,
	LEASE_BYTES_MAX = 8192,
	VALUE_BYTES_MAX = 1024, /* of a value that is shown */
	ATTEMPTS_MAX = 8,	/* others come and go meanwhile */
};

struct lease {
	struct remote *remote;
	struct handle root;
	struct handle dir;  /* HOLD_NAME in it */
	struct handle file; /* the lease when we last saw that it is ours... */
	struct attr attr;   /* ...and its attributes then */
	char new_name[sizeof(LEASE_NAME) + 1 + ID_CHARS];
	bool was_ours; /* it is what an earlier mount left */
	char *text;    /* its contents */
	size_t len;
};

/* ---- text ---- */

/* What comes from the server goes to a terminal; and no value of ours has a
 * line's end in it. Bytes of UTF-8 could be controls, too. */
static void make_printable(char *s)
{
	for (; *s; s++)
		if (*s < 0x20 || *s > 0x7e)
			*s = '?';
}

/* The value of @key in @text, printable, malloc'ed; NULL: there is none. */
static char *value_of(const char *text, const char *key)
{
	size_t key_len = strlen(key);
	char *value = NULL;

	for (const char *line = text; *line && !value;) {
		size_t len = strcspn(line, "\n");

		if (len > key_len && line[key_len] == '=' &&
		    strncmp(line, key, key_len) == 0)
			value = strndup(line + key_len + 1,
					MIN(len - key_len - 1,
					    (size_t)VALUE_BYTES_MAX));
		line += len + (line[len] == '\n');
	}
	if (value)
		make_printable(value);
	return value;
}

static int compose(struct lease *l, const char *id, const char *mountpoint)
{
	CLEANUP_FREE char *where = strndup(mountpoint, VALUE_BYTES_MAX);
	char host[256] = "", when[32];
	time_t now = time(NULL);
	struct tm tm;
	uint64_t nonce;
	int n;

	if (!where)
		return -ENOMEM;
	if (getrandom(&nonce, sizeof(nonce), 0) != sizeof(nonce))
		return -errno;
	if (gethostname(host, sizeof(host) - 1) < 0 || !host[0])
		strcpy(host, "unknown");
	make_printable(host);
	make_printable(where);
	if (!gmtime_r(&now, &tm) ||
	    !strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm))
		strcpy(when, "unknown");
	n = asprintf(&l->text,
		     "id=%s\nhost=%s\nmountpoint=%s\npid=%ld\ntime=%s\n"
		     "nonce=%016" PRIx64 "\n",
		     id, host, where, (long)getpid(), when, nonce);
	if (n < 0)
		return l->text = NULL, -ENOMEM;
	l->len = (size_t)n;
	(void)snprintf(l->new_name, sizeof(l->new_name), LEASE_NAME "-%s", id);
	return 0;
}

/* Why it is not ours. @text: NULL for a file that is no lease. */
static char *explain(const char *text)
{
	static const char todo[] =
		"unmount it there; if that machine is gone for good: -o steal; "
		"to read only: -o ro";
	CLEANUP_FREE char *host = text ? value_of(text, "host") : NULL;
	CLEANUP_FREE char *where = text ? value_of(text, "mountpoint") : NULL;
	CLEANUP_FREE char *when = text ? value_of(text, "time") : NULL;
	char *why;
	int n;

	if (host)
		n = asprintf(&why,
			     "is mounted for writing by %s (on %s, since %s); "
			     "%s",
			     host, where ? where : "?", when ? when : "?",
			     todo);
	else
		n = asprintf(
			&why,
			"is mounted for writing by somebody unknown: " HOLD_NAME
			"/" LEASE_NAME " on the server is not readable; %s",
			todo);
	return n < 0 ? NULL : why;
}

/* ---- calls ---- */

static int run(struct lease *l, struct remote_call *c, unsigned timeout_ms)
{
	return c ? remote_run(l->remote, c, NULL, timeout_ms) : -ENOMEM;
}

/* Servers may leave the attributes of what was looked up out. */
static int look(struct lease *l, const struct handle *dir, const char *name,
		unsigned timeout_ms, struct handle *ret, struct attr *ret_attr)
{
	struct remote_call *c = remote_call_new(REMOTE_LOOKUP, dir, name);
	int r = run(l, c, timeout_ms);

	if (r == 0) {
		*ret = c->fh_out;
		if (!c->has_attr) {
			remote_call_unref(c);
			c = remote_call_new(REMOTE_GETATTR, ret, NULL);
			r = run(l, c, timeout_ms);
		}
	}
	if (r == 0)
		*ret_attr = c->attr;
	remote_call_unref(c);
	return r;
}

static int find_dir(struct lease *l)
{
	struct remote_call *c;
	struct attr a = { 0 };
	int r = look(l, &l->root, HOLD_NAME, 0, &l->dir, &a);

	if (r == -ENOENT) {
		c = remote_call_new(REMOTE_MKDIR, &l->root, HOLD_NAME);
		if (c)
			c->set = (struct remote_sattr){
				.valid = REMOTE_SET_MODE | REMOTE_SET_UID |
					 REMOTE_SET_GID,
				.mode = 0700,
			};
		r = run(l, c, 0);
		remote_call_unref(c);
		if (r == 0 || r == -EEXIST)
			r = look(l, &l->root, HOLD_NAME, 0, &l->dir, &a);
	}
	return r == 0 && !S_ISDIR(a.mode) ? -ENOTDIR : r;
}

/* -EBADMSG: what is there is no lease. */
static int read_text(struct lease *l, const struct handle *fh,
		     const struct attr *a, unsigned timeout_ms, char **ret)
{
	struct remote_call *c;
	int r;

	if (!S_ISREG(a->mode) || a->size > LEASE_BYTES_MAX)
		return -EBADMSG;
	c = remote_call_new(REMOTE_READ, fh, NULL);
	if (c)
		c->count = LEASE_BYTES_MAX;
	r = run(l, c, timeout_ms);
	if (r == 0) {
		*ret = strndup(c->data ? c->data : "", c->data_len);
		r = *ret ? 0 : -ENOMEM;
	}
	remote_call_unref(c);
	return r;
}

static int remove_name(struct lease *l, enum remote_op op,
		       const struct handle *dir, const char *name,
		       unsigned timeout_ms)
{
	struct remote_call *c = remote_call_new(op, dir, name);
	int r = run(l, c, timeout_ms);

	remote_call_unref(c);
	return r;
}

/* ---- taking ---- */

static int create_new(struct lease *l, struct handle *ret)
{
	struct remote_call *c =
		remote_call_new(REMOTE_CREATE, &l->dir, l->new_name);
	struct attr a;
	int r;

	if (c) {
		c->set = (struct remote_sattr){
			.valid = REMOTE_SET_MODE | REMOTE_SET_UID |
				 REMOTE_SET_GID | REMOTE_SET_MTIME,
			.mode = 0600,
		};
		/* By its time a repeated call is known to be ours. */
		(void)clock_gettime(CLOCK_REALTIME, &c->set.mtime);
	}
	r = run(l, c, 0);
	if (r == 0)
		*ret = c->fh_out;
	if (r == 0 && ret->len == 0)
		r = look(l, &l->dir, l->new_name, 0, ret, &a);
	remote_call_unref(c);
	return r;
}

static int write_new(struct lease *l, struct handle *ret)
{
	struct remote_call *c;
	int r = remove_name(l, REMOTE_REMOVE, &l->dir, l->new_name, 0);

	if (r < 0 && r != -ENOENT)
		return r;
	r = create_new(l, ret);
	if (r < 0)
		return r;
	c = remote_call_new(REMOTE_WRITE, ret, NULL);
	if (c) {
		c->stable = REMOTE_FILE_SYNC;
		c->data = strdup(l->text);
		c->data_len = (uint32_t)l->len;
	}
	r = c && c->data ? run(l, c, 0) : -ENOMEM;
	if (r == 0 && c->count != l->len)
		r = -EIO;
	remote_call_unref(c);
	return r;
}

static int rename_new(struct lease *l, const struct handle *fh)
{
	struct remote_call *c =
		remote_call_new(REMOTE_RENAME, &l->dir, l->new_name);
	int r;

	if (c) {
		c->fh2 = l->dir;
		strcpy(c->name2, LEASE_NAME);
		c->object = *fh;
	}
	r = run(l, c, 0);
	remote_call_unref(c);
	return r;
}

static int link_new(struct lease *l, const struct handle *fh)
{
	struct remote_call *c =
		remote_call_new(REMOTE_LINK, &l->dir, LEASE_NAME);
	int r;

	if (c)
		c->object = *fh;
	r = run(l, c, 0);
	remote_call_unref(c);
	return r;
}

/* Let the new file be the lease. -EEXIST: there is one by now. */
static int publish(struct lease *l, bool replace)
{
	struct handle fh;
	int r = write_new(l, &fh);

	if (r == 0 && !replace) {
		r = link_new(l, &fh);
		/* no hard links there? */
		replace = r == -EPERM || r == -EOPNOTSUPP || r == -EMLINK;
		r = replace ? 0 : r;
	}
	if (r == 0 && replace)
		r = rename_new(l, &fh);
	(void)remove_name(l, REMOTE_REMOVE, &l->dir, l->new_name, 0);
	return r;
}

static int check(struct lease *l, unsigned timeout_ms)
{
	CLEANUP_FREE char *text = NULL;
	struct handle fh;
	struct attr a;
	int r = look(l, &l->dir, LEASE_NAME, timeout_ms, &fh, &a);

	if (r == 0 && handle_equal(&fh, &l->file) && a.size == l->attr.size &&
	    timespec_equal(&a.ctime, &l->attr.ctime) &&
	    timespec_equal(&a.mtime, &l->attr.mtime))
		return 0;
	if (r == 0)
		r = read_text(l, &fh, &a, timeout_ms, &text);
	if (r == -ENOENT || r == -ENOTDIR || r == -EBADMSG)
		return -ESTALE;
	if (r < 0)
		return r;
	if (strcmp(text, l->text) != 0)
		return -ESTALE;
	l->file = fh;
	l->attr = a;
	return 0;
}

/* -ENOENT, -ESTALE, -EEXIST: somebody came or went; to be tried again. */
static int try_take(struct lease *l, const char *id, bool steal, char **ret_why)
{
	CLEANUP_FREE char *text = NULL, *holder = NULL;
	struct handle fh;
	struct attr a;
	bool is_free;
	int r = find_dir(l);

	if (r < 0)
		return r;
	r = look(l, &l->dir, LEASE_NAME, 0, &fh, &a);
	is_free = r == -ENOENT;
	if (r == 0)
		r = read_text(l, &fh, &a, 0, &text);
	if (r < 0 && !is_free && r != -EBADMSG)
		return r;
	holder = text ? value_of(text, "id") : NULL;
	if (holder && strlen(holder) != ID_CHARS)
		free(STEAL_PTR(holder));
	if (!is_free && !steal && (!holder || strcmp(holder, id) != 0)) {
		if (ret_why)
			*ret_why = explain(holder ? text : NULL);
		return -EBUSY;
	}
	l->was_ours = holder && strcmp(holder, id) == 0;
	r = publish(l, !is_free);
	return r < 0 ? r : check(l, 0);
}

int lease_take(struct remote *r, const struct handle *root, const char *id,
	       const char *mountpoint, bool steal, struct lease **ret,
	       char **ret_why)
{
	struct lease *l;
	int err;

	if (ret_why)
		*ret_why = NULL;
	if (strlen(id) != ID_CHARS)
		return -EINVAL;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->remote = r;
	l->root = *root;
	err = compose(l, id, mountpoint);
	for (unsigned n = 0; n < ATTEMPTS_MAX; n++) {
		if (err == 0)
			err = try_take(l, id, steal, ret_why);
		if (err != -ENOENT && err != -ESTALE && err != -EEXIST)
			break;
		if (n + 1 < ATTEMPTS_MAX)
			err = 0;
	}
	/* What was there on our behalf before is still needed. */
	if (err == -EBUSY || (err < 0 && l->was_ours))
		lease_free(l);
	else if (err < 0)
		lease_drop(l);
	else
		*ret = l;
	return err;
}

/* ---- having ---- */

int lease_check(struct lease *l)
{
	return check(l, 0);
}

void lease_drop(struct lease *l)
{
	int r;

	if (!l)
		return;
	if (l->dir.len == 0 || remote_retry_is_away(l->remote))
		r = -ENOTCONN;
	else
		r = check(l, LIMIT_CLOSE_MS);
	if (r == 0)
		r = remove_name(l, REMOTE_REMOVE, &l->dir, LEASE_NAME,
				LIMIT_CLOSE_MS);
	if (r == 0 || r == -ESTALE) /* refused if anything is in it */
		(void)remove_name(l, REMOTE_RMDIR, &l->root, HOLD_NAME,
				  LIMIT_CLOSE_MS);
	if (r < 0)
		msg_debug("lease", "not given back: %s", msg_strerror(r));
	lease_free(l);
}

void lease_free(struct lease *l)
{
	if (!l)
		return;
	free(l->text);
	free(l);
}

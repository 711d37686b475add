/* SPDX-License-Identifier: GPL-2.0-or-later */
/* probe.c: what a user should know about a server before mounting from it.
 *
 * First everything is found out (gather_*), as far as one gets, with a list of
 * problems; then it is written down, for people or as JSON. Each problem is a
 * sentence that ends with what to do.
 */
#include "probe.h"

#include <inttypes.h>
#include <stdarg.h>

#include "../cache/msg.h"
#include "json.h"
#include "nfs_mount.h"

enum {
	CALL_MS = 10000, /* patience for one call */
	ROUND_TRIPS = 11,
	PROBLEMS_MAX = 8,
	SKEW_MAX_MS = 1000, /* more confuses make */
};

struct problem {
	enum exitcode exitcode;
	char *text;
};

struct probe {
	const struct remote_nfs_options *o;
	bool is_located, is_mounted;
	struct nfs_server server;
	char client[NFS_ADDRESS_BYTES];
	struct nfs_export *exports;
	size_t exports_n;

	struct remote *remote;
	struct handle root;
	/* 0: not measured, by what else is measured */
	uint64_t rtt_min_us, rtt_median_us;
	struct attr root_attr;
	struct remote_fsinfo fsinfo;
	struct remote_fsstat fsstat;
	struct remote_pathconf pathconf;
	bool has_pathconf;
	int root_check; /* of remote_root_check() */
	bool has_skew;
	int64_t skew_ms; /* > 0: the server is ahead */

	struct problem problems[PROBLEMS_MAX];
	unsigned problems_n;
};

static void add_problem(struct probe *p, enum exitcode code, const char *fmt,
			...) PRINTF_LIKE(3, 4);
static void add_problem(struct probe *p, enum exitcode code, const char *fmt,
			...)
{
	struct problem *x = &p->problems[p->problems_n];
	va_list ap;

	if (p->problems_n == PROBLEMS_MAX)
		return;
	va_start(ap, fmt);
	if (vasprintf(&x->text, fmt, ap) < 0)
		x->text = NULL;
	va_end(ap);
	x->exitcode = code;
	p->problems_n++;
}

enum exitcode server_exitcode(int err)
{
	switch (err) {
	case -EHOSTUNREACH:
		return EXITCODE_UNKNOWN_HOST;
	case -ENOTCONN:
	case -ECONNREFUSED:
	case -ECONNRESET:
	case -ETIMEDOUT:
		return EXITCODE_UNREACHABLE;
	case -ENOENT:
	case -ENOTDIR:
		return EXITCODE_NO_EXPORT;
	case -EACCES:
	case -EPERM:
		return EXITCODE_REFUSED;
	case -EPROTONOSUPPORT:
		return EXITCODE_NO_NFS3;
	case -ENOMEM:
		return EXITCODE_SYSTEM;
	default:
		return EXITCODE_FAILED;
	}
}

/* ---- root ---- */

static int run(struct remote *r, struct remote_call *c)
{
	return c ? remote_run(r, c, NULL, CALL_MS) : -ENOMEM;
}

static int get_attr(struct remote *r, const struct handle *fh, struct attr *ret)
{
	struct remote_call *c = remote_call_new(REMOTE_GETATTR, fh, NULL);
	int err = run(r, c);

	if (err == 0)
		*ret = c->attr;
	remote_call_unref(c);
	return err;
}

/* Does the server grant writing where only root has the right to? Then we are
 * root, and nothing had to be changed to know it. */
static bool is_granted_as_root(struct remote *r, const struct handle *root,
			       const struct attr *a)
{
	const uint32_t bits = REMOTE_ACCESS_MODIFY | REMOTE_ACCESS_EXTEND;
	struct remote_call *c;
	bool granted;

	if (a->uid != 0 || (a->mode & 022))
		return false;
	c = remote_call_new(REMOTE_ACCESS, root, NULL);
	if (c)
		c->access = bits;
	granted = run(r, c) == 0 && (c->access & bits) == bits;
	remote_call_unref(c);
	return granted;
}

static int set_own_mode(struct remote *r, const struct handle *root,
			const struct attr *a)
{
	struct remote_call *c = remote_call_new(REMOTE_SETATTR, root, NULL);
	int err;

	if (c) {
		c->set.valid = REMOTE_SET_MODE;
		c->set.mode = a->mode & 07777;
	}
	err = run(r, c);
	remote_call_unref(c);
	return err == -EACCES ? -EPERM : err;
}

/* The address of this machine as the server behind @r sees it. */
static void client_of(struct remote *r, char ret[NFS_ADDRESS_BYTES])
{
	struct remote_info info;

	remote_get_info(r, &info);
	info.address[strcspn(info.address, " ")] = '\0'; /* " port 2049" */
	if (nfs_local_address(info.address, ret) < 0)
		strcpy(ret, "CLIENT");
}

static void explain_root(struct remote *r, const char *path, int err,
			 char **ret_why)
{
	char client[NFS_ADDRESS_BYTES];

	client_of(r, client);
	if (asprintf(ret_why,
		     "%s; write \"%s %s(rw,no_root_squash,no_subtree_check)\" "
		     "into /etc/exports on the server and run exportfs -ra "
		     "there%s",
		     err == -EPERM ? "root is not root on the server, which "
				     "maps it to nobody (root_squash)" :
				     "the export is read-only",
		     path, client,
		     err == -EROFS ? ", or mount with -o ro" : "") < 0)
		*ret_why = NULL;
}

int remote_root_check(struct remote *r, const struct handle *root,
		      const char *path, char **ret_why)
{
	struct attr a;
	int err = get_attr(r, root, &a);

	if (ret_why)
		*ret_why = NULL;
	if (err < 0)
		return err;
	if (is_granted_as_root(r, root, &a))
		return 0;
	err = set_own_mode(r, root, &a);
	if (ret_why && (err == -EPERM || err == -EROFS))
		explain_root(r, path, err, ret_why);
	return err;
}

/* ---- finding out ---- */

static int64_t now_us(clockid_t clock)
{
	struct timespec ts;

	(void)clock_gettime(clock, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int compare_u64(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static int gather_round_trip(struct probe *p)
{
	uint64_t us[ROUND_TRIPS];

	/* The first one connects, and does not count. */
	for (int i = -1; i < ROUND_TRIPS; i++) {
		struct remote_call *c =
			remote_call_new(REMOTE_NULL, NULL, NULL);
		int64_t start = now_us(CLOCK_MONOTONIC);
		int err = run(p->remote, c);

		if (i >= 0)
			us[i] = (uint64_t)(now_us(CLOCK_MONOTONIC) - start);
		remote_call_unref(c);
		if (err < 0)
			return err;
	}
	qsort(us, ROUND_TRIPS, sizeof(us[0]), compare_u64);
	p->rtt_min_us = us[0];
	p->rtt_median_us = us[ROUND_TRIPS / 2];
	return 0;
}

static int gather_filesystem(struct probe *p)
{
	struct remote_call *c;
	int err = get_attr(p->remote, &p->root, &p->root_attr);

	if (err < 0)
		return err;
	c = remote_call_new(REMOTE_FSINFO, &p->root, NULL);
	err = run(p->remote, c);
	if (err == 0)
		p->fsinfo = c->fsinfo;
	remote_call_unref(c);
	if (err < 0)
		return err;
	c = remote_call_new(REMOTE_FSSTAT, &p->root, NULL);
	err = run(p->remote, c);
	if (err == 0)
		p->fsstat = c->fsstat;
	remote_call_unref(c);
	if (err < 0)
		return err;
	/* Some servers have none for some filesystems: no reason to stop. */
	c = remote_call_new(REMOTE_PATHCONF, &p->root, NULL);
	p->has_pathconf = run(p->remote, c) == 0;
	if (p->has_pathconf)
		p->pathconf = c->pathconf;
	remote_call_unref(c);
	return 0;
}

/* Let the server set the root's access time to its own clock, read it from the
 * reply, and put the old one back. Needs root, and a writable export. */
static void gather_skew(struct probe *p)
{
	struct remote_call *c;
	int64_t start, end, there;

	if (p->root_check != 0)
		return;
	c = remote_call_new(REMOTE_SETATTR, &p->root, NULL);
	if (!c)
		return;
	c->set.valid = REMOTE_SET_ATIME_NOW;
	start = now_us(CLOCK_REALTIME);
	if (run(p->remote, c) == 0 && c->has_attr) {
		end = now_us(CLOCK_REALTIME);
		there = (int64_t)c->attr.atime.tv_sec * 1000000 +
			c->attr.atime.tv_nsec / 1000;
		p->skew_ms = (there - (start + (end - start) / 2)) / 1000;
		p->has_skew = true;
	}
	remote_call_unref(c);
	c = remote_call_new(REMOTE_SETATTR, &p->root, NULL);
	if (c) {
		c->set.valid = REMOTE_SET_ATIME;
		c->set.atime = p->root_attr.atime;
	}
	(void)run(p->remote, c);
	remote_call_unref(c);
}

static void judge(struct probe *p)
{
	if (p->root_attr.uid != 0)
		add_problem(p, EXITCODE_FAILED,
			    "the directory %s belongs to user %u, not to "
			    "root: a root filesystem's does; is it the right "
			    "directory?",
			    p->o->path, p->root_attr.uid);
	if (p->has_skew && llabs(p->skew_ms) > SKEW_MAX_MS)
		add_problem(p, EXITCODE_FAILED,
			    "the server's clock is %.1f s %s: files seem to "
			    "come from the %s, which confuses make; let both "
			    "machines take their time from NTP",
			    (double)llabs(p->skew_ms) / 1000,
			    p->skew_ms > 0 ? "ahead" : "behind",
			    p->skew_ms > 0 ? "future" : "past");
	if (p->fsstat.bytes_total > 0 && p->fsstat.bytes_avail == 0)
		add_problem(p, EXITCODE_FAILED,
			    "the server's filesystem is full; make room there");
	if (p->fsstat.files_total > 0 && p->fsstat.files_avail == 0)
		add_problem(p, EXITCODE_FAILED,
			    "the server's filesystem has no free inode; "
			    "remove files there");
	if (p->has_pathconf && p->pathconf.case_insensitive)
		add_problem(p, EXITCODE_FAILED,
			    "the server's filesystem does not distinguish "
			    "upper and lower case: it cannot hold a root");
}

/* Everything that needs the mount. */
static int gather_mounted(struct probe *p)
{
	CLEANUP_FREE char *why = NULL;
	int err = gather_round_trip(p);

	if (err == 0)
		err = gather_filesystem(p);
	if (err < 0)
		return err;
	p->is_mounted = true;
	p->root_check = remote_root_check(p->remote, &p->root, p->o->path,
					  &why);
	if (p->root_check == -EPERM || p->root_check == -EROFS)
		add_problem(p,
			    p->root_check == -EPERM ? EXITCODE_SQUASHED :
						      EXITCODE_READ_ONLY,
			    "%s", why ? why : msg_strerror(p->root_check));
	else if (p->root_check < 0)
		return p->root_check;
	gather_skew(p);
	judge(p);
	return 0;
}

static void gather(struct probe *p)
{
	CLEANUP_FREE char *why = NULL;
	int err = nfs_locate(p->o, &p->server, &why);

	if (err < 0) {
		add_problem(p, server_exitcode(err), "%s",
			    why ? why : msg_strerror(err));
		return;
	}
	p->is_located = true;
	if (nfs_local_address(p->server.address, p->client) < 0)
		p->client[0] = '\0';
	(void)nfs_list_exports(&p->server, &p->exports, &p->exports_n);
	err = remote_nfs_open(p->o, &p->remote, &p->root, &why);
	if (err < 0) {
		add_problem(p, server_exitcode(err), "%s",
			    why ? why : msg_strerror(err));
		return;
	}
	err = gather_mounted(p);
	if (err == -EAGAIN) /* of remote_run() */
		err = -ETIMEDOUT;
	if (err < 0)
		add_problem(p, server_exitcode(err),
			    "%s can be mounted, but using it fails: %s; look "
			    "into the server's log",
			    p->o->path, msg_strerror(err));
}

/* ---- for people ---- */

static void line(FILE *out, const char *name, const char *fmt, ...)
	PRINTF_LIKE(3, 4);
static void line(FILE *out, const char *name, const char *fmt, ...)
{
	va_list ap;

	(void)fprintf(out, "%-16s", name);
	va_start(ap, fmt);
	(void)vfprintf(out, fmt, ap);
	va_end(ap);
	(void)fputc('\n', out);
}

/* "12.3 GiB" */
static const char *size_text(uint64_t bytes, char buf[32])
{
	static const char units[][4] = { "B",   "KiB", "MiB", "GiB",
					 "TiB", "PiB", "EiB" };
	double x = (double)bytes;
	size_t u = 0;

	while (x >= 1024 && u + 1 < ARRAY_LEN(units)) {
		x /= 1024;
		u++;
	}
	(void)snprintf(buf, 32, u && x < 100 ? "%.1f %s" : "%.0f %s", x,
		       units[u]);
	return buf;
}

static const char *root_text(const struct probe *p)
{
	switch (p->root_check) {
	case 0:
		return "root is root on the server (no_root_squash)";
	case -EPERM:
		return "squashed: root is nobody on the server";
	case -EROFS:
		return "not known: the export is read-only";
	default:
		return msg_strerror(p->root_check);
	}
}

static void write_mounted(const struct probe *p, FILE *out)
{
	char a[32], b[32];

	line(out, "round trip:", "%.2f ms (the median; the shortest %.2f ms)",
	     (double)p->rtt_median_us / 1000, (double)p->rtt_min_us / 1000);
	line(out, "transfers:", "reads of %s, writes of %s at most",
	     size_text(p->fsinfo.read_max, a),
	     size_text(p->fsinfo.write_max, b));
	line(out, "root:", "%s", root_text(p));
	line(out, "directory:", "mode %04o, owner %u:%u",
	     p->root_attr.mode & 07777, p->root_attr.uid, p->root_attr.gid);
	if (p->has_skew)
		line(out, "clock:", "%.3f s %s this machine's",
		     (double)llabs(p->skew_ms) / 1000,
		     p->skew_ms < 0 ? "behind" : "ahead of");
	else
		line(out, "clock:", "not measured (needs an export that root "
				    "may write to)");
	line(out, "free space:", "%s of %s",
	     size_text(p->fsstat.bytes_avail, a),
	     size_text(p->fsstat.bytes_total, b));
	line(out, "free inodes:", "%" PRIu64 " of %" PRIu64,
	     p->fsstat.files_avail, p->fsstat.files_total);
	if (p->has_pathconf)
		line(out, "names:", "%u bytes at most, %s; %u links to a file",
		     p->pathconf.name_max,
		     p->pathconf.case_insensitive ? "case ignored" :
						    "case matters",
		     p->pathconf.link_max);
}

static void write_text(const struct probe *p, FILE *out)
{
	line(out, "export:", "%s:%s", p->o->host, p->o->path);
	if (p->is_located) {
		line(out, "server:", "%s port %u, MOUNT port %u",
		     p->server.address, p->server.port, p->server.mountport);
		line(out, "NFS version 3:", "served");
		line(out, "this machine:", "%s", p->client);
		for (size_t i = 0; i < p->exports_n; i++)
			line(out, i ? "" : "exports:", "%s for %s",
			     p->exports[i].path,
			     *p->exports[i].groups ? p->exports[i].groups :
						     "everyone");
	}
	if (p->is_mounted)
		write_mounted(p, out);
	for (unsigned i = 0; i < p->problems_n; i++)
		line(out, "PROBLEM:", "%s",
		     p->problems[i].text ? p->problems[i].text : "");
	if (p->problems_n == 0)
		line(out, "result:", "ready to be mounted");
}

/* ---- for machines ---- */

static void write_json_mounted(const struct probe *p, struct json *j)
{
	char mode[8];

	(void)snprintf(mode, sizeof(mode), "%04o", p->root_attr.mode & 07777U);
	json_uint(j, "round_trip_min_us", p->rtt_min_us);
	json_uint(j, "round_trip_median_us", p->rtt_median_us);
	json_uint(j, "read_bytes_max", p->fsinfo.read_max);
	json_uint(j, "write_bytes_max", p->fsinfo.write_max);
	json_uint(j, "listing_bytes", p->fsinfo.readdir_pref);
	json_bool(j, "root_squashed", p->root_check == -EPERM);
	json_bool(j, "read_only", p->root_check == -EROFS);
	json_uint(j, "owner", p->root_attr.uid);
	json_uint(j, "group", p->root_attr.gid);
	json_string(j, "mode", mode);
	if (p->has_skew) {
		json_uint(j, "clock_skew_ms", (uint64_t)llabs(p->skew_ms));
		json_bool(j, "clock_ahead", p->skew_ms > 0);
	}
	json_uint(j, "bytes_total", p->fsstat.bytes_total);
	json_uint(j, "bytes_available", p->fsstat.bytes_avail);
	json_uint(j, "inodes_total", p->fsstat.files_total);
	json_uint(j, "inodes_available", p->fsstat.files_avail);
	if (p->has_pathconf) {
		json_uint(j, "name_bytes_max", p->pathconf.name_max);
		json_uint(j, "links_max", p->pathconf.link_max);
		json_bool(j, "case_insensitive", p->pathconf.case_insensitive);
	}
}

static void write_json(const struct probe *p, FILE *out)
{
	struct json j = JSON_INIT(out);

	json_object(&j, NULL);
	json_string(&j, "host", p->o->host);
	json_string(&j, "path", p->o->path);
	json_bool(&j, "reachable", p->is_located);
	if (p->is_located) {
		json_string(&j, "address", p->server.address);
		json_uint(&j, "port", p->server.port);
		json_uint(&j, "mountport", p->server.mountport);
		json_string(&j, "client", p->client);
		json_array(&j, "exports");
		for (size_t i = 0; i < p->exports_n; i++) {
			json_object(&j, NULL);
			json_string(&j, "path", p->exports[i].path);
			json_string(&j, "clients", p->exports[i].groups);
			json_object_end(&j);
		}
		json_array_end(&j);
	}
	json_bool(&j, "mountable", p->is_mounted);
	if (p->is_mounted)
		write_json_mounted(p, &j);
	json_array(&j, "problems");
	for (unsigned i = 0; i < p->problems_n; i++)
		json_string(&j, NULL, p->problems[i].text);
	json_array_end(&j);
	json_object_end(&j);
	(void)fputc('\n', out);
}

int probe_run(const struct remote_nfs_options *o, bool json, FILE *out)
{
	struct probe p = { .o = o };
	enum exitcode status;

	gather(&p);
	if (json)
		write_json(&p, out);
	else
		write_text(&p, out);
	status = p.problems_n ? p.problems[0].exitcode : EXITCODE_OK;
	for (unsigned i = 0; i < p.problems_n; i++)
		free(p.problems[i].text);
	nfs_free_exports(p.exports, p.exports_n);
	remote_close(p.remote);
	return fflush(out) == 0 ? (int)status : EXITCODE_SYSTEM;
}

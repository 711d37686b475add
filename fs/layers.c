/* SPDX-License-Identifier: GPL-2.0-or-later */
/* layers.c: opens and closes the layers of a mount below the kernel's: the server,
 * the cache, the lease, the log, the filesystem, and the thread that sends. Each
 * says on the terminal what is wrong.
 */
#include "daemon_int.h"

#include <sys/resource.h>
#include <sys/statvfs.h>

#include "../cache/msg.h"
#include "probe.h"

/* Root must be root there, and the export writable, before anything depends on
 * it; who only reads can do without either. */
static enum exitcode check_root(const struct daemon *d)
{
	const struct config *c = d->config;
	CLEANUP_FREE char *why = NULL;
	int r = remote_root_check(d->remote, &d->root, c->path, &why);
	const char *text = why ? why : msg_strerror(r);

	if (r == 0 || (r == -EROFS && c->read_only))
		return EXITCODE_OK;
	if (r == -EPERM && c->read_only) {
		msg_warning("%s: %s", c->source, text);
		return EXITCODE_OK;
	}
	msg_error("%s: %s%s", c->source, text,
		  r == -EROFS ? "; to mount it all the same: -o ro" : "");
	return r == -EPERM ? EXITCODE_SQUASHED :
	       r == -EROFS ? EXITCODE_READ_ONLY :
			     server_exitcode(r);
}

enum exitcode layer_server_open(struct daemon *d)
{
	const struct config *c = d->config;
	const struct remote_nfs_options o = {
		.host = c->host, .path = c->path,
		.port = c->port, .mountport = c->mountport,
		.nconnect = c->nconnect, .timeo_ms = c->timeo_ms,
	};
	const struct remote_retry_options retry = {
		.soft = c->soft, .timeo_ms = c->timeo_ms,
		.retrans = c->retrans,
	};
	CLEANUP_FREE char *why = NULL;
	enum exitcode x;
	struct remote *nfs;
	int r = remote_nfs_open(&o, &nfs, &d->root, &why);

	if (r < 0) {
		msg_error("%s: %s", c->source, why ? why : msg_strerror(r));
		return server_exitcode(r);
	}
	r = remote_retry_open(nfs, &retry, &d->remote);
	if (r < 0) {
		remote_close(nfs);
		return daemon_system_error(c->source, r);
	}
	x = check_root(d);
	if (x != EXITCODE_OK)
		remote_close(d->remote);
	return x;
}

void layer_server_close(struct daemon *d)
{
	remote_close(d->remote);
}

enum exitcode layer_cache_open(struct daemon *d)
{
	CLEANUP_FREE char *server = cachedir_server(d->config);
	CLEANUP_FREE char *path = cachedir_meta_path(d->cache), *why = NULL;
	int r = server && path ? meta_open(path, server, &d->meta) : -ENOMEM;

	if (r == 0)
		return EXITCODE_OK;
	why = cachedir_meta_why(d->cache, r);
	msg_error("%s", why ? why : msg_strerror(r));
	return cachedir_exitcode(r);
}

void layer_cache_close(struct daemon *d)
{
	meta_close(d->meta);
}

enum exitcode layer_lease_open(struct daemon *d)
{
	const struct config *c = d->config;
	CLEANUP_FREE char *why = NULL;
	char id[CACHEDIR_ID_BYTES];
	int r;

	if (c->read_only)
		return EXITCODE_OK;
	r = cachedir_id(d->cache, id);
	if (r < 0) {
		msg_error("cache directory %s: %s", d->cache->path,
			  msg_strerror(r));
		return EXITCODE_CACHE_WRITE;
	}
	daemon_enter(d, LEASING);
	r = lease_take(d->remote, &d->root, id, c->mountpoint, c->steal_lease,
		       &d->lease, &why);
	if (r == 0)
		return EXITCODE_OK;
	daemon_enter(d, CLOSING);
	if (daemon_asked_to_end(d))
		return EXITCODE_INTERRUPTED;
	if (r == -EBUSY)
		msg_error("%s %s", c->source, why ? why : msg_strerror(r));
	else
		msg_error("%s: the lease that says who writes cannot be "
			  "written (.nfsrootfs/lease there): %s; to read only: "
			  "-o ro", c->source, msg_strerror(r));
	return r == -EBUSY ? EXITCODE_LEASED : EXITCODE_FAILED;
}

void layer_lease_close(struct daemon *d)
{
	daemon_enter(d, CLOSING); /* from LEASING, when what came next failed */
	/* Until the next mount has sent them, nobody else may write. */
	if (d->pending)
		lease_free(d->lease);
	else
		lease_drop(d->lease);
}

/* Room that what is kept here leaves to others, on the disk of @path. The
 * content cache goes before the log, and the log before the metadata cache. */
static uint64_t keep_free(const char *path, unsigned part)
{
	const uint64_t least = 16 << 20, most = 1 << 30;
	struct statvfs st;

	if (statvfs(path, &st) < 0)
		return part * least;
	return part *
	       MIN(MAX((uint64_t)st.f_blocks * st.f_frsize / 20, least), most);
}

static uint64_t cache_bytes_max(const struct config *c, const char *path)
{
	const uint64_t most = UINT64_C(10) << 30;
	struct statvfs st;

	if (c->cache_bytes_max != CONFIG_CACHE_BY_DISK)
		return c->cache_bytes_max;
	if (statvfs(path, &st) < 0)
		return most;
	return MIN((uint64_t)st.f_blocks * st.f_frsize / 10, most);
}

/* It owns up to 512 files of its own; the rest of us makes do with a few. */
static void allow_files(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
		l.rlim_cur = l.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &l);
	}
}

/* Without it all works, only slower. */
enum exitcode layer_contents_open(struct daemon *d)
{
	CLEANUP_FREE char *path = cachedir_blob_path(d->cache), *owner = NULL;
	CLEANUP_FREE char *server = cachedir_server(d->config);
	struct blob_options o = { 0 };
	int r = -ENOMEM;

	if (path && server &&
	    asprintf(&owner, "%s %016llx", server,
		     (unsigned long long)meta_life(d->meta)) > 0) {
		o.bytes_max = cache_bytes_max(d->config, path);
		o.keep_free = keep_free(path, 2);
		allow_files();
		r = blob_open(path, owner, &o, &d->blob);
	}
	if (r < 0)
		msg_warning("%s: contents of files are not kept: %s",
			    path ? path : d->cache->path, msg_strerror(r));
	r = contents_open(d->blob, &d->contents);
	if (r == 0)
		return EXITCODE_OK;
	blob_close(d->blob);
	return daemon_system_error(d->config->source, r);
}

void layer_contents_close(struct daemon *d)
{
	contents_close(d->contents);
	blob_close(d->blob);
}

enum exitcode layer_record_open(struct daemon *d)
{
	const char *file = d->config->record;
	int r = file ? record_open(file, d->meta, &d->record) : 0;

	if (r == 0)
		return EXITCODE_OK;
	msg_error("-o record=%s: %s", file, msg_strerror(r));
	return EXITCODE_FAILED;
}

void layer_record_close(struct daemon *d)
{
	uint64_t n = 0;
	int r = record_close(d->record, &n);

	if (r < 0)
		msg_warning("%s: what was used is not recorded: %s",
			    d->config->record, msg_strerror(r));
	else
		msg_debug("record", "%llu lines", (unsigned long long)n);
}

static uint64_t name_offset(void *arg, const char *name)
{
	return meta_offset(arg, name);
}

/* A read-only mount opens it as well: what an earlier mount left in it is part
 * of the truth. */
enum exitcode layer_journal_open(struct daemon *d)
{
	CLEANUP_FREE char *server = cachedir_server(d->config);
	CLEANUP_FREE char *path = cachedir_log_path(d->cache), *why = NULL;
	const struct wback_options o = {
		.bytes_max = d->config->log_bytes_max,
		.keep_free = path ? keep_free(path, 1) : 0,
		.interval_ms = 1000,
		.name_offset = name_offset,
		.arg = d->meta,
	};
	int r = server && path ? wback_open(path, server, &o, &d->wback, &why) :
				 -ENOMEM;

	if (r == 0)
		return EXITCODE_OK;
	msg_error("%s: %s%s", path ? path : d->cache->path,
		  why ? why : msg_strerror(r),
		  r == -EUCLEAN ? "; to give up all changes that are not on the "
				  "server yet, move this directory away" :
				  "");
	return cachedir_exitcode(r);
}

void layer_journal_close(struct daemon *d)
{
	struct wback_stats s;

	wback_get_stats(d->wback, &s);
	d->pending = s.ops > 0;
	if (d->pending)
		msg_warning("%s: %llu changes wait in the log for the next "
			    "mount",
			    d->config->mountpoint, (unsigned long long)s.ops);
	wback_close(d->wback);
}

enum exitcode layer_files_open(struct daemon *d)
{
	int r = vfs_open(d->config, d->meta, d->blob, d->wback, d->remote, &d->root,
			 &d->stats, &d->vfs);

	if (r == 0)
		return EXITCODE_OK;
	if (!daemon_asked_to_end(d))
		msg_error("%s: the root directory cannot be read: %s",
			  d->config->source, msg_strerror(r));
	return EXITCODE_FAILED;
}

void layer_files_close(struct daemon *d)
{
	vfs_close(d->vfs);
}

static int we_write(void *arg)
{
	const struct daemon *d = arg;

	return lease_check(d->lease);
}

enum exitcode layer_sending_open(struct daemon *d)
{
	int r;

	if (d->config->read_only)
		return EXITCODE_OK;
	r = flush_open(d->vfs, we_write, d, &d->flush);
	return r < 0 ? daemon_system_error("thread", r) : EXITCODE_OK;
}

void layer_sending_close(struct daemon *d)
{
	if (d->flush)
		flush_drain(d->flush);
	flush_close(d->flush);
}

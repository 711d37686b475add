/* SPDX-License-Identifier: GPL-2.0-or-later */
/* config.h: the options of a mount, parsed once and then only read; every
 * limit of the program stands here too.
 */
#pragma once

#include "../cache/base.h"

enum {
	/* Never so many in flight that the server's memory is the limit. */
	LIMIT_NCONNECT_MAX = 16,
	LIMIT_THREADS_MAX = 64, /* that may wait for the server at once */
	/* A listing of more pages goes on in the background while lookups in
	 * that directory are answered one by one. */
	LIMIT_LISTING_PAGES = 8,
	LIMIT_IO_BYTES = 1024 * 1024, /* libnfs refuses larger replies */
	LIMIT_TMP_AREAS = 32,
	LIMIT_POLICIES = 32,
	LIMIT_DELAY_S = 24 * 60 * 60,
	/* A revalidation that takes longer is given up and what is known is
	 * served: the server counts as away. */
	LIMIT_REVALIDATE_MS = 5000,
	/* Closing waits so long for a server that is away. */
	LIMIT_CLOSE_MS = 5000,
};

#define CONFIG_AC_FOREVER UINT32_MAX
#define CONFIG_CACHE_BY_DISK UINT64_MAX /* as much as the disk allows */
#define LIMIT_LOG_BYTES_MIN (UINT64_C(16) << 20)
#define LIMIT_CACHE_BYTES_MIN (UINT64_C(8) << 20) /* BLOB_BYTES_MIN */

enum area_kind { AREA_DIR, AREA_TMPFS };

struct config_area {
	char *path;          /* below the root, "/var/tmp/portage" */
	enum area_kind kind;
	char *dir;           /* AREA_DIR: where it lies; NULL: in the cache */
};

/* Everything at @path and below, up to a deeper policy's path. */
struct config_policy {
	char *path;   /* below the root, "/usr"; or "/", the root itself */
	bool through; /* changes are acknowledged when the server has them; else
		       * when this machine has them */
};

struct config {
	char *source;     /* "HOST:/PATH" as given */
	char *host, *path; /* its halves; no brackets, no trailing slash */
	char *mountpoint; /* absolute, symlinks resolved */
	char *record;     /* what is used is written there; NULL: nowhere */
	char *cachedir;   /* what -o cachedir= said; NULL: the default. This
			   * export's part lies in it: cachedir.h */
	bool read_only, soft, foreground, no_areas;
	bool noexec, nosuid, nodev; /* else a root's own: exec, suid, dev */
	unsigned port, mountport;   /* 0: ask the portmapper */
	unsigned nconnect;
	unsigned timeo_ms, retrans;
	unsigned read_bytes_max, write_bytes_max, listing_bytes;
	unsigned ac_ms;             /* trust window; CONFIG_AC_FOREVER */
	struct config_area areas[LIMIT_TMP_AREAS];
	unsigned areas_n;
	struct config_policy policies[LIMIT_POLICIES]; /* no two of one path */
	unsigned policies_n; /* where none holds, changes are written back */
	unsigned delay_ms;   /* how long a change waits before it is sent */
	uint64_t log_bytes_max;
	uint64_t cache_bytes_max; /* of contents; CONFIG_CACHE_BY_DISK */
	bool fsync_server; /* fsync(2) waits for the server; else for our disk */
	bool steal_lease;  /* write though another does: lease.h */
	bool areas_given; /* -o tmp= was used: the defaults are not */
	bool sloppy;      /* mount(8)'s -s: unknown options are passed over */
};

/* The defaults. */
void config_init(struct config *c);
void config_done(struct config *c);

/* "HOST:/PATH", "[::1]:/PATH". -EINVAL and *@ret_why (malloc'ed) says why. */
int config_set_source(struct config *c, const char *source, char **ret_why);

/* One argument of -o: "rw,hard,tmp=/var/tmp/portage,...". -EINVAL and *@ret_why
 * for a wrong value, -ENOENT for an unknown option; @c is then fit for
 * config_done() only. */
int config_set_options(struct config *c, const char *options, char **ret_why);

/* "4096", or with K, M or G behind the number. False: it is no size. */
bool config_parse_size(const char *value, uint64_t *ret);

/* A path below the root, "/var/tmp": absolute, without empty, "." and ".."
 * components and without a slash at the end. *@ret is malloc'ed. -EINVAL. */
int config_clean_path(const char *path, char **ret);

/* Adds a tmp area; @dir may be NULL. -EEXIST: there is one at @path; -E2BIG:
 * LIMIT_TMP_AREAS; -EINVAL: @path is no place below the root. */
int config_add_area(struct config *c, const char *path, enum area_kind kind,
		    const char *dir);

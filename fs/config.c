/* SPDX-License-Identifier: GPL-2.0-or-later */
/* config.c: owns the strings of a struct config; parses the source and the
 * options. Options are looked up in one table: a name, whether it takes a
 * value, and the function that applies it. Options that other NFS clients know
 * and that have no meaning here are in a table of their own, so that a line
 * written for mount -t nfs works; those that would promise what we do not do
 * (another protocol version, Kerberos) are refused by name.
 */
#include "config.h"

#include <limits.h>
#include <stdarg.h>
#include <string.h>

#include "../cache/msg.h"

enum {
	SECONDS_MAX = 4000000, /* more than a month; fits 32 bits of ms */
	IO_BYTES_MIN = 4096,
	LISTING_BYTES = 128 * 1024,
};

void config_init(struct config *c)
{
	/* timeo and retrans are nfs(5)'s for TCP: a slow server that syncs
	 * its disk is not dead. */
	*c = (struct config){
		.nconnect = 4,
		.timeo_ms = 60 * 1000,
		.retrans = 2,
		.read_bytes_max = LIMIT_IO_BYTES,
		.write_bytes_max = LIMIT_IO_BYTES,
		.listing_bytes = LISTING_BYTES,
		.ac_ms = 30 * 1000,
		.delay_ms = 30 * 1000,
		.log_bytes_max = UINT64_C(4) << 30,
		.cache_bytes_max = CONFIG_CACHE_BY_DISK,
	};
}

static void drop_areas(struct config *c)
{
	for (unsigned i = 0; i < c->areas_n; i++) {
		free(c->areas[i].path);
		free(c->areas[i].dir);
	}
	c->areas_n = 0;
}

void config_done(struct config *c)
{
	free(c->source);
	free(c->host);
	free(c->path);
	free(c->mountpoint);
	free(c->cachedir);
	free(c->record);
	drop_areas(c);
	for (unsigned i = 0; i < c->policies_n; i++)
		free(c->policies[i].path);
	*c = (struct config){ 0 };
}

static int why(char **ret_why, int err, const char *fmt, ...) PRINTF_LIKE(3, 4);

static int why(char **ret_why, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (ret_why && vasprintf(ret_why, fmt, ap) < 0)
		*ret_why = NULL;
	va_end(ap);
	return err;
}

static int set_string(char **field, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

/* ---- the source ---- */

static bool has_control(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return true;
	return false;
}

int config_set_source(struct config *c, const char *source, char **ret_why)
{
	bool bracket = source[0] == '[';
	const char *host = source + bracket;
	const char *end = bracket ? strchr(host, ']') : strstr(host, ":/");
	const char *path = end ? end + bracket + 1 : NULL;
	CLEANUP_FREE char *h = NULL, *p = NULL;
	size_t n;

	if (!end || end == host || end[bracket] != ':' || path[0] != '/')
		return why(ret_why, -EINVAL,
			   "'%s' is not of the form HOST:/PATH", source);
	if (!bracket && memchr(host, ':', (size_t)(end - host)))
		return why(ret_why, -EINVAL,
			   "'%s': put an IPv6 address into brackets, as in "
			   "[fe80::1]:/PATH", source);
	h = strndup(host, (size_t)(end - host));
	p = strdup(path);
	if (!h || !p)
		return -ENOMEM;
	if (strpbrk(h, " /") || has_control(source))
		return why(ret_why, -EINVAL,
			   "'%s' has characters that no host name has", source);
	for (n = strlen(p); n > 1 && p[n - 1] == '/'; n--)
		p[n - 1] = '\0';
	if (set_string(&c->source, source) < 0)
		return -ENOMEM;
	free(c->host);
	free(c->path);
	c->host = STEAL_PTR(h);
	c->path = STEAL_PTR(p);
	return 0;
}

/* ---- values ---- */

/* @name=@value, a whole number between @min and @max. */
static int number(const char *name, const char *value, unsigned min,
		  unsigned max, unsigned *ret, char **ret_why)
{
	char *end;
	unsigned long long n;

	errno = 0;
	n = strtoull(value, &end, 10);
	/* strtoull() would take a sign and leading space. */
	if (value[0] < '0' || value[0] > '9' || *end || errno || n < min ||
	    n > max)
		return why(ret_why, -EINVAL,
			   "option %s=%s: want a whole number from %u to %u",
			   name, value, min, max);
	*ret = (unsigned)n;
	return 0;
}

int config_clean_path(const char *path, char **ret)
{
	CLEANUP_FREE char *clean = NULL;
	size_t n = 0;

	if (path[0] != '/')
		return -EINVAL;
	clean = malloc(strlen(path) + 1);
	if (!clean)
		return -ENOMEM;
	while (*path) {
		size_t skip = strspn(path, "/"), len;

		path += skip;
		len = strcspn(path, "/");
		if (len == 0)
			break;
		if ((len == 1 && path[0] == '.') ||
		    (len == 2 && path[0] == '.' && path[1] == '.'))
			return -EINVAL;
		clean[n++] = '/';
		memcpy(clean + n, path, len);
		n += len;
		path += len;
	}
	if (n == 0)
		return -EINVAL;
	clean[n] = '\0';
	*ret = STEAL_PTR(clean);
	return 0;
}

int config_add_area(struct config *c, const char *path, enum area_kind kind,
		    const char *dir)
{
	CLEANUP_FREE char *clean = NULL, *d = NULL;
	int r = config_clean_path(path, &clean);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < c->areas_n; i++)
		if (strcmp(c->areas[i].path, clean) == 0)
			return -EEXIST;
	if (c->areas_n == LIMIT_TMP_AREAS)
		return -E2BIG;
	if (dir && !(d = strdup(dir)))
		return -ENOMEM;
	c->areas[c->areas_n++] = (struct config_area){
		.path = STEAL_PTR(clean), .kind = kind, .dir = STEAL_PTR(d),
	};
	return 0;
}

/* ---- the options ---- */

/* @value is NULL for an option without one. */
typedef int apply_fn(struct config *c, const char *name, const char *value,
		     char **ret_why);

static int set_flag(struct config *c, const char *name, const char *value,
		    char **ret_why)
{
	const struct {
		const char *name;
		bool *field, value;
	} flags[] = {
		{ "rw", &c->read_only, false }, { "ro", &c->read_only, true },
		{ "hard", &c->soft, false }, { "soft", &c->soft, true },
		{ "suid", &c->nosuid, false }, { "nosuid", &c->nosuid, true },
		{ "dev", &c->nodev, false }, { "nodev", &c->nodev, true },
		{ "steal", &c->steal_lease, true },
		{ "exec", &c->noexec, false }, { "noexec", &c->noexec, true },
	};

	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		if (strcmp(flags[i].name, name) == 0)
			*flags[i].field = flags[i].value;
	return 0;
}

static int set_number(struct config *c, const char *name, const char *value,
		      char **ret_why)
{
	const struct {
		const char *name;
		unsigned *field, min, max, unit;
	} numbers[] = {
		{ "port", &c->port, 0, 65535, 1 },
		{ "mountport", &c->mountport, 0, 65535, 1 },
		{ "nconnect", &c->nconnect, 1, LIMIT_NCONNECT_MAX, 1 },
		{ "timeo", &c->timeo_ms, 1, SECONDS_MAX, 100 },
		{ "retrans", &c->retrans, 0, 1000, 1 },
		{ "delay", &c->delay_ms, 0, LIMIT_DELAY_S, 1000 },
	};

	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		unsigned n;
		int r;

		if (strcmp(numbers[i].name, name) != 0)
			continue;
		r = number(name, value, numbers[i].min, numbers[i].max, &n,
			   ret_why);
		if (r == 0)
			*numbers[i].field = n * numbers[i].unit;
		return r;
	}
	return -EINVAL;
}

/* As nfs(5) says: what is too large or too small is made to fit. */
static int set_io_size(struct config *c, const char *name, const char *value,
		       char **ret_why)
{
	unsigned *field = name[0] == 'r' ? &c->read_bytes_max :
					   &c->write_bytes_max;
	unsigned n;
	int r = number(name, value, 0, UINT_MAX, &n, ret_why);

	if (r < 0)
		return r;
	n -= n % 1024;
	*field = MIN(MAX(n, (unsigned)IO_BYTES_MIN), (unsigned)LIMIT_IO_BYTES);
	return 0;
}

static int set_ac(struct config *c, const char *name, const char *value,
		  char **ret_why)
{
	unsigned n;
	int r;

	if (strcmp(name, "noac") == 0) {
		c->ac_ms = 0;
		return 0;
	}
	if (strcmp(value, "forever") == 0) {
		c->ac_ms = CONFIG_AC_FOREVER;
		return 0;
	}
	r = number(name, value, 0, SECONDS_MAX, &n, ret_why);
	if (r == 0)
		c->ac_ms = n * 1000;
	return r;
}

static int set_file(struct config *c, const char *name, const char *value,
		    char **ret_why)
{
	if (value[0] != '/')
		return why(ret_why, -EINVAL,
			   "option %s=%s: want an absolute path", name, value);
	return set_string(strcmp(name, "record") == 0 ? &c->record :
							&c->cachedir,
			  value);
}

/* tmp=PATH, tmp=PATH:tmpfs, tmp=PATH:/DIR */
static int set_tmp(struct config *c, const char *name, const char *value,
		   char **ret_why)
{
	const char *colon = strchr(value, ':');
	const char *dir = colon ? colon + 1 : NULL;
	CLEANUP_FREE char *path =
		strndup(value, colon ? (size_t)(colon - value) : strlen(value));
	enum area_kind kind = AREA_DIR;
	int r;

	if (!path)
		return -ENOMEM;
	if (dir && strcmp(dir, "tmpfs") == 0) {
		kind = AREA_TMPFS;
		dir = NULL;
	}
	if (dir && dir[0] != '/')
		return why(ret_why, -EINVAL,
			   "option tmp=%s: after the colon want 'tmpfs' or the "
			   "absolute path of a local directory", value);
	r = config_add_area(c, path, kind, dir);
	if (r == -EINVAL)
		return why(ret_why, r,
			   "option tmp=%s: want an absolute path below the "
			   "root, without . and ..", value);
	if (r == -EEXIST)
		return why(ret_why, -EINVAL,
			   "option tmp=%s: there is a tmp area at %s already",
			   value, path);
	if (r == -E2BIG)
		return why(ret_why, -EINVAL,
			   "option tmp=%s: more than %d tmp areas", value,
			   LIMIT_TMP_AREAS);
	if (r < 0)
		return r;
	c->areas_given = true;
	c->no_areas = false;
	return 0;
}

static int set_notmp(struct config *c, const char *name, const char *value,
		     char **ret_why)
{
	drop_areas(c);
	c->areas_given = false;
	c->no_areas = true;
	return 0;
}

/* The root, too, has a policy: that of all that no other names. */
static int policy_path(const char *value, char **ret)
{
	if (value[0] != '/' || value[strspn(value, "/")])
		return config_clean_path(value, ret);
	*ret = strdup("/");
	return *ret ? 0 : -ENOMEM;
}

/* through=PATH, back=PATH */
static int set_policy(struct config *c, const char *name, const char *value,
		      char **ret_why)
{
	CLEANUP_FREE char *path = NULL;
	int r = policy_path(value, &path);

	if (r == -EINVAL)
		return why(ret_why, r,
			   "option %s=%s: want an absolute path, seen from the "
			   "root, without . and ..", name, value);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < c->policies_n; i++)
		if (strcmp(c->policies[i].path, path) == 0)
			return why(ret_why, -EINVAL,
				   "option %s=%s: %s=%s was given already",
				   name, value, c->policies[i].through ?
				   "through" : "back", path);
	if (c->policies_n == LIMIT_POLICIES)
		return why(ret_why, -EINVAL,
			   "option %s=%s: more than %d paths with through= and "
			   "back=", name, value, LIMIT_POLICIES);
	c->policies[c->policies_n++] = (struct config_policy){
		.path = STEAL_PTR(path), .through = name[0] == 't',
	};
	return 0;
}

static int set_fsync(struct config *c, const char *name, const char *value,
		     char **ret_why)
{
	if (strcmp(value, "local") != 0 && strcmp(value, "server") != 0)
		return why(ret_why, -EINVAL,
			   "option fsync=%s: want 'local' or 'server'", value);
	c->fsync_server = value[0] == 's';
	return 0;
}

bool config_parse_size(const char *value, uint64_t *ret)
{
	static const char units[] = "kmg";
	const char *unit;
	unsigned shift = 0;
	char *end;
	unsigned long long n;

	errno = 0;
	n = strtoull(value, &end, 10);
	unit = *end ? strchr(units, *end | 0x20) : NULL;
	if (unit)
		shift = 10 * (unsigned)(unit - units + 1);
	if (value[0] < '0' || value[0] > '9' || errno || end[unit != NULL] ||
	    n > UINT64_MAX >> shift)
		return false;
	*ret = n << shift;
	return true;
}

static int set_logsize(struct config *c, const char *name, const char *value,
		       char **ret_why)
{
	uint64_t n;

	(void)name;
	if (!config_parse_size(value, &n) || n < LIMIT_LOG_BYTES_MIN)
		return why(ret_why, -EINVAL,
			   "option logsize=%s: want a size of at least 16M, as "
			   "in 512M or 4G", value);
	c->log_bytes_max = n;
	return 0;
}

static int set_cachesize(struct config *c, const char *name, const char *value,
			 char **ret_why)
{
	uint64_t n;

	(void)name;
	if (!config_parse_size(value, &n) || n == CONFIG_CACHE_BY_DISK ||
	    (n > 0 && n < LIMIT_CACHE_BYTES_MIN))
		return why(ret_why, -EINVAL,
			   "option cachesize=%s: want a size of at least 8M, as "
			   "in 512M or 20G, or 0 to keep no contents", value);
	c->cache_bytes_max = n;
	return 0;
}

static int set_version(struct config *c, const char *name, const char *value,
		       char **ret_why)
{
	if (strcmp(value, "3") == 0)
		return 0;
	return why(ret_why, -EINVAL,
		   "option %s=%s: only NFS version 3 is spoken; leave the "
		   "option out or say vers=3, and let the server serve it",
		   name, value);
}

static int set_proto(struct config *c, const char *name, const char *value,
		     char **ret_why)
{
	if (value && (strcmp(value, "tcp") == 0 || strcmp(value, "tcp6") == 0))
		return 0;
	return why(ret_why, -EINVAL,
		   "option %s%s%s: only TCP is spoken; leave the option out",
		   name, value ? "=" : "", value ? value : "");
}

static int set_sec(struct config *c, const char *name, const char *value,
		   char **ret_why)
{
	if (strcmp(value, "sys") == 0)
		return 0;
	return why(ret_why, -EINVAL,
		   "option sec=%s: only sec=sys is supported", value);
}

static int set_remount(struct config *c, const char *name, const char *value,
		       char **ret_why)
{
	return why(ret_why, -EINVAL,
		   "option remount: options cannot be changed while mounted; "
		   "unmount and mount again");
}

static const struct {
	const char *name;
	bool has_value;
	apply_fn *apply;
} options[] = {
	{ "rw", false, set_flag }, { "ro", false, set_flag },
	{ "hard", false, set_flag }, { "soft", false, set_flag },
	{ "suid", false, set_flag }, { "nosuid", false, set_flag },
	{ "dev", false, set_flag }, { "nodev", false, set_flag },
	{ "exec", false, set_flag }, { "noexec", false, set_flag },
	{ "port", true, set_number }, { "mountport", true, set_number },
	{ "nconnect", true, set_number }, { "timeo", true, set_number },
	{ "retrans", true, set_number }, { "rsize", true, set_io_size },
	{ "wsize", true, set_io_size }, { "actimeo", true, set_ac },
	{ "ac", true, set_ac }, { "noac", false, set_ac },
	{ "cachedir", true, set_file }, { "record", true, set_file },
	{ "tmp", true, set_tmp },
	{ "notmp", false, set_notmp }, { "vers", true, set_version },
	{ "nfsvers", true, set_version }, { "proto", true, set_proto },
	{ "mountproto", true, set_proto }, { "udp", false, set_proto },
	{ "through", true, set_policy }, { "back", true, set_policy },
	{ "delay", true, set_number }, { "fsync", true, set_fsync },
	{ "logsize", true, set_logsize }, { "cachesize", true, set_cachesize },
	{ "steal", false, set_flag },
	{ "sec", true, set_sec }, { "remount", false, set_remount },
};

/* Without effect; "ac" alone is nfs(5)'s default. */
static const char *const ignored[] = {
	"ac", "async", "auto", "bg", "cto", "defaults", "fg", "intr", "lock",
	"mountvers=3", "noatime", "noauto", "nodiratime", "nofail", "nointr",
	"nolock", "nouser", "nousers", "rdirplus", "relatime", "resvport",
	"tcp", "user", "users", "_netdev",
};
static const char *const ignored_prefix[] = { "x-", "comment=", "local_lock=" };

static bool is_ignored(const char *option)
{
	for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
		if (strcmp(option, ignored[i]) == 0)
			return true;
	for (size_t i = 0; i < ARRAY_LEN(ignored_prefix); i++)
		if (strncmp(option, ignored_prefix[i],
			    strlen(ignored_prefix[i])) == 0)
			return true;
	return false;
}

/* @option: "name" or "name=value"; is cut in two. */
static int set_one(struct config *c, char *option, char **ret_why)
{
	char *value;
	bool known = false;

	if (is_ignored(option)) {
		msg_debug("config", "option %s has no effect", option);
		return 0;
	}
	value = strchr(option, '=');
	if (value)
		*value++ = '\0';
	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		if (strcmp(option, options[i].name) != 0)
			continue;
		known = true;
		if (options[i].has_value == (value != NULL))
			return options[i].apply(c, option, value, ret_why);
	}
	if (known)
		return why(ret_why, -EINVAL, "option %s %s", option,
			   value ? "takes no value" : "needs a value");
	if (c->sloppy) {
		msg_debug("config", "unknown option %s passed over", option);
		return 0;
	}
	return why(ret_why, -ENOENT, "unknown option '%s'", option);
}

int config_set_options(struct config *c, const char *text, char **ret_why)
{
	CLEANUP_FREE char *copy = strdup(text);
	char *rest = copy, *option;

	if (!copy)
		return -ENOMEM;
	while ((option = strsep(&rest, ","))) {
		int r = *option ? set_one(c, option, ret_why) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

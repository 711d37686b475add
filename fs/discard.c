/* SPDX-License-Identifier: GPL-2.0-or-later */
/* discard.c: the discard command: removes what the tmp areas of an export hold,
 * or its caches of names and contents, from the cache directory. The lock of that directory
 * keeps it from one that is mounted. Directories that the user named with
 * -o tmp=PATH:DIR are the user's, and left alone.
 */
#include "command.h"

#include <fts.h>
#include <getopt.h>
#include <string.h>

#include "../cache/msg.h"
#include "cachedir.h"

/* Removes all that is in @dir, but not @dir, and stays on its filesystem.
 * Returns how many files and directories, or -errno of the first that could
 * not be removed; the others are. */
static long remove_contents(const char *dir)
{
	char *paths[] = { (char *)(uintptr_t)dir, NULL };
	FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_XDEV | FTS_NOSTAT, NULL);
	long n = 0, err = 0;
	FTSENT *e;

	if (!fts)
		return -errno;
	while ((e = fts_read(fts))) {
		if (e->fts_level == FTS_ROOTLEVEL || e->fts_info == FTS_D)
			continue;
		if (e->fts_info == FTS_DNR || e->fts_info == FTS_ERR)
			errno = e->fts_errno;
		else if ((e->fts_info == FTS_DP ?
				  rmdir(e->fts_accpath) :
				  unlink(e->fts_accpath)) == 0) {
			n++;
			continue;
		}
		msg_error("%s: %s", e->fts_path, msg_strerror(errno));
		err = err ? err : -errno;
	}
	(void)fts_close(fts);
	return err ? err : n;
}

enum exitcode command_remove_parts(const char *path, const char *const *names)
{
	enum exitcode x = EXITCODE_OK;

	for (; *names; names++) {
		CLEANUP_FREE char *dir = NULL;
		long n = asprintf(&dir, "%s/%s", path, *names) < 0 ?
				 -ENOMEM :
				 remove_contents(dir);

		if (n < 0)
			x = EXITCODE_FAILED;
		else
			(void)printf("%ld files and directories removed from "
				     "%s\n", n, dir);
	}
	return x;
}

static enum exitcode run(struct config *c, const char *arg, bool cache)
{
	struct cachedir d = CACHEDIR_INIT;
	static const char *const areas[] = { "tmp", NULL };
	static const char *const caches[] = { "meta", "blob", NULL };
	CLEANUP_FREE char *why = NULL;
	enum exitcode x = command_export(c, arg);
	int r;

	if (x != EXITCODE_OK)
		return x;
	r = cachedir_find(c, &d, &why);
	if (r == -EBUSY) {
		msg_error("%s is mounted; unmount it first (%s)", arg, why);
		return EXITCODE_BUSY;
	}
	if (r < 0) {
		msg_error("%s: nothing to discard: %s", arg,
			  why ? why : msg_strerror(r));
		return cachedir_exitcode(r);
	}
	x = command_remove_parts(d.path, cache ? caches : areas);
	cachedir_close(&d);
	return x;
}

enum exitcode command_discard(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "cache", no_argument, NULL, 'c' },
		{ NULL, 0, NULL, 0 },
	};
	struct config c;
	enum exitcode x = EXITCODE_OK;
	bool cache = false;
	int o;

	config_init(&c);
	while (x == EXITCODE_OK &&
	       (o = getopt_long(argc, argv, "o:", longs, NULL)) != -1) {
		if (o == 'o')
			x = command_options(&c, optarg);
		else if (o == 'c')
			cache = true;
		else
			x = command_usage("discard takes -o and --cache only");
	}
	if (x == EXITCODE_OK && argc - optind != 1)
		x = command_usage(
			"discard wants one HOST:/PATH or mount point");
	if (x == EXITCODE_OK)
		x = command_need_root("discard");
	if (x == EXITCODE_OK)
		x = run(&c, argv[optind], cache);
	config_done(&c);
	return x;
}

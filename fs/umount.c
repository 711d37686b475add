/* SPDX-License-Identifier: GPL-2.0-or-later */
/* umount.c: the umount command: waits until the server has everything, takes the
 * tmp areas off, then the mount, and waits for the daemon to go.
 *
 * The long wait comes while it is still mounted: it can be broken off, and then
 * nothing has changed. What is not on the server in the end (it is away, it
 * refuses something, or --now) stays in the log; the daemon is told not to wait
 * for it (`keep`).
 *
 * All or nothing: it looks for users and foreign mounts first, and should an
 * umount(2) still be refused, the areas that were off by then are put back.
 * Until then each is kept as a detached copy of its mount (open_tree(2)).
 */
#include "command.h"

#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <string.h>
#include <sys/mount.h>

#include "../cache/msg.h"
#include "../cache/sync.h"
#include "control.h"
#include "drain_client.h"
#include "holders.h"
#include "runtime.h"

enum {
	AWAY_MS = 5000, /* so long a server that is away is waited for */
	LOOK_MS = 1000,
	PATIENCE_MS = 5000,
	LIMIT_MS = 30000,
};

struct flags {
	bool lazy, force, now;
};

struct job {
	char *where;
	struct mountinfo mounts;
	const struct mountinfo_entry *mount;
	char **areas;             /* those that are mounted, parents first */
	unsigned areas_n;
	int kept[LIMIT_TMP_AREAS]; /* copies of what was taken off */
	int pidfd;                 /* -1: the daemon is dead */
	pid_t pid;
	struct drain_state left; /* what was not sent when we last looked */
	bool gave_up;            /* so it is not on the server now */
	char *kept_in; /* where the log lies that the daemon was told to keep */
};

static void job_done(struct job *j)
{
	free(j->where);
	mountinfo_done(&j->mounts);
	runtime_free_areas(j->areas);
	free(j->kept_in);
	cleanup_closep(&j->pidfd);
}

/* ---- looking ---- */

static unsigned count_at(const struct mountinfo *m, const char *where)
{
	unsigned n = 0;

	for (size_t i = 0; i < m->n; i++)
		n += strcmp(m->entries[i].where, where) == 0;
	return n;
}

/* Keep those areas that are mounted still. */
static void look_at_areas(struct job *j)
{
	unsigned n = 0;

	for (unsigned i = 0; j->areas[i]; i++) {
		if (count_at(&j->mounts, j->areas[i]) > 0)
			j->areas[n++] = j->areas[i];
		else
			free(j->areas[i]);
	}
	j->areas[n] = NULL;
	j->areas_n = n;
}

static enum exitcode look(struct job *j, const char *path)
{
	CLEANUP_CLOSE int control = -1;
	int r = command_mountpoint(path, &j->where);

	if (r == 0)
		r = mountinfo_read("/proc/self/mountinfo", &j->mounts);
	if (r == 0)
		r = runtime_read_areas(j->where, &j->areas);
	if (r == -ENOMEM) {
		msg_error("%s", msg_strerror(r));
		return EXITCODE_SYSTEM;
	}
	j->mount = r < 0 ? NULL : mountinfo_at(&j->mounts, j->where);
	if (!j->mount || !mountinfo_is_ours(j->mount)) {
		msg_error("%s is not mounted by nfsrootfs%s%s", path,
			  j->mount ? ": it is of type " : "",
			  j->mount ? j->mount->fstype : "");
		return EXITCODE_NOT_MOUNTED;
	}
	look_at_areas(j);
	control = control_connect(j->where);
	if (control >= 0)
		j->pidfd = control_pidfd(control, &j->pid);
	return EXITCODE_OK;
}

static bool is_area(const struct job *j, const char *where)
{
	for (unsigned i = 0; i < j->areas_n; i++)
		if (strcmp(j->areas[i], where) == 0)
			return true;
	return false;
}

static enum exitcode check_foreign(const struct job *j)
{
	enum exitcode x = EXITCODE_OK;

	for (size_t i = 0; i < j->mounts.n; i++) {
		const struct mountinfo_entry *e = &j->mounts.entries[i];

		if (!path_is_beneath(e->where, j->where) ||
		    strcmp(e->where, j->where) == 0)
			continue;
		if (is_area(j, e->where) &&
		    count_at(&j->mounts, e->where) == 1)
			continue;
		if (x == EXITCODE_OK)
			msg_error("%s: other filesystems are mounted beneath "
				  "it; unmount them first:",
				  j->where);
		(void)fprintf(stderr, "  %s (%s)\n", e->where, e->fstype);
		x = EXITCODE_BUSY;
	}
	return x;
}

static enum exitcode check_holders(const struct job *j)
{
	CLEANUP_FREE char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int n = out ? holders_find(j->mount, j->pid, out) : -ENOMEM;

	if (out)
		(void)fclose(out);
	if (n <= 0)
		return EXITCODE_OK; /* umount(2) has the last word */
	msg_error("%s is in use by %d process%s; end %s first:", j->where, n,
		  n == 1 ? "" : "es", n == 1 ? "it" : "them");
	(void)fputs(text, stderr);
	return EXITCODE_BUSY;
}

/* ---- draining ---- */

static void give_up(struct job *j)
{
	j->gave_up = true;
	if (drain_ask(j->where, "keep", "ok", &j->kept_in) == 0)
		j->kept_in[strcspn(j->kept_in, "\n")] = '\0';
}

/* It stays mounted after all. */
static void take_back_keep(struct job *j)
{
	CLEANUP_FREE char *goal = NULL;

	if (j->kept_in)
		(void)drain_ask(j->where, "flush", "goal", &goal);
}

static enum exitcode drain(struct job *j)
{
	const struct drain_options o = { .away_ms = AWAY_MS };
	char n[DRAIN_COUNT_BYTES];
	int r = drain_wait(j->mount, &o, &j->left);

	switch (r) {
	case 0:
		return EXITCODE_OK;
	case -EAGAIN:
		give_up(j);
		return EXITCODE_OK;
	case -EINTR:
		msg_info("interrupted: %s stays mounted, and its changes go on "
			 "being sent (%s left)",
			 j->where, drain_changes(j->left.changes, n));
		return EXITCODE_INTERRUPTED;
	case -ENOTCONN: /* what can be done now is to unmount what it left */
		j->gave_up = true;
		return EXITCODE_OK;
	default:
		msg_error("%s stays mounted: how far its changes are cannot be "
			  "told: %s; to unmount it all the same: nfsrootfs "
			  "umount --now %s",
			  j->where, msg_strerror(r), j->where);
		return EXITCODE_FAILED;
	}
}

/* It is unmounted: what was left behind, and why? */
static enum exitcode judge_left(const struct job *j)
{
	const struct drain_state *s = &j->left;
	/* Unless we gave up, all but what is stuck has been sent. */
	uint64_t left = j->gave_up ? MAX(s->changes, s->stuck) : s->stuck;
	char n[DRAIN_COUNT_BYTES];

	if (left == 0)
		return EXITCODE_OK;
	if (s->stuck && !s->away)
		msg_warning("%s: the server refuses %s (%s); nfsrootfs "
			    "conflicts tells of them when it is mounted again",
			    j->where, drain_changes(s->stuck, n),
			    s->error ? msg_strerror(s->error) : "?");
	msg_warning("%s is unmounted%s; %s %s in the log%s%s, and the next "
		    "mount of %s sends %s",
		    j->where, s->away ? ", but the server does not answer" : "",
		    drain_changes(left, n), left == 1 ? "stays" : "stay",
		    j->kept_in ? " in " : "", j->kept_in ? j->kept_in : "",
		    j->mount->source, left == 1 ? "it" : "them");
	return EXITCODE_PENDING;
}

/* ---- unmounting ---- */

static int take_off(struct job *j, unsigned i)
{
	int copy = open_tree(AT_FDCWD, j->areas[i],
			     OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC |
				     AT_SYMLINK_NOFOLLOW);

	if (copy < 0)
		return -errno;
	if (umount2(j->areas[i], UMOUNT_NOFOLLOW) < 0) {
		int r = -errno;

		(void)close(copy);
		return r;
	}
	j->kept[i] = copy;
	return 0;
}

static void put_back(struct job *j, unsigned from)
{
	for (unsigned i = from; i < j->areas_n; i++)
		if (move_mount(j->kept[i], "", AT_FDCWD, j->areas[i],
			       MOVE_MOUNT_F_EMPTY_PATH) < 0)
			msg_error("tmp area %s cannot be put back: %s; what "
				  "is written there goes to the server now",
				  j->areas[i], msg_strerror(errno));
}

static enum exitcode unmount(struct job *j)
{
	unsigned i = j->areas_n;
	int r = 0;

	while (r == 0 && i > 0) {
		r = take_off(j, i - 1);
		if (r == 0)
			i--;
	}
	if (r == 0 && umount2(j->where, UMOUNT_NOFOLLOW) < 0)
		r = -errno;
	if (r < 0)
		put_back(j, i);
	for (; i < j->areas_n; i++)
		cleanup_closep(&j->kept[i]);
	if (r == 0)
		return EXITCODE_OK;
	msg_error("%s cannot be unmounted: %s; nothing was changed", j->where,
		  msg_strerror(r));
	return r == -EBUSY ? EXITCODE_BUSY : EXITCODE_FAILED;
}

/* Out of sight at once, whatever is in it, all areas with it. */
static enum exitcode detach(struct job *j, int flags)
{
	if (umount2(j->where, MNT_DETACH | UMOUNT_NOFOLLOW | flags) == 0)
		return EXITCODE_OK;
	msg_error("%s cannot be unmounted: %s", j->where, msg_strerror(errno));
	return EXITCODE_FAILED;
}

static bool wait_gone(const struct job *j, int ms)
{
	struct pollfd p = { .fd = j->pidfd, .events = POLLIN };
	uint64_t deadline = clock_ms() + (uint64_t)ms, now;

	while ((now = clock_ms()) < deadline)
		if (poll(&p, 1, (int)(deadline - now)) > 0)
			return true;
	return false;
}

static enum exitcode wait_daemon(struct job *j)
{
	if (j->pidfd >= 0 && !wait_gone(j, PATIENCE_MS)) {
		msg_info("%s is unmounted; waiting for the server to take "
			 "what is pending",
			 j->where);
		if (!wait_gone(j, LIMIT_MS - PATIENCE_MS)) {
			msg_error("%s is unmounted, but the server does not "
				  "answer: process %d waits for it in the "
				  "background; to give up: kill %d",
				  j->where, (int)j->pid, (int)j->pid);
			return EXITCODE_LINGERS;
		}
	}
	/* The daemon has done this, unless it was killed. */
	runtime_remove(j->where);
	return EXITCODE_OK;
}

/* ---- the command ---- */

/* Nothing has changed while this fails. */
static enum exitcode orderly(struct job *j, const struct flags *f)
{
	enum exitcode x = check_foreign(j);

	if (x == EXITCODE_OK)
		x = check_holders(j);
	if (x != EXITCODE_OK)
		return x;
	if (f->now) {
		/* So that what the kernel still has is counted. */
		const struct drain_options o = { .look_ms = LOOK_MS };

		(void)drain_wait(j->mount, &o, &j->left);
		give_up(j);
	} else {
		x = drain(j);
	}
	return x == EXITCODE_OK ? unmount(j) : x;
}

/* The mount is not touched before: it may be that nothing answers there. */
static enum exitcode disorderly(struct job *j, const struct flags *f)
{
	if ((f->now || f->force) && j->pidfd >= 0 &&
	    drain_look(j->where, &j->left) == 0)
		give_up(j);
	return detach(j, f->force ? MNT_FORCE : 0);
}

static enum exitcode run(struct job *j, const char *path,
			 const struct flags *f)
{
	enum exitcode x = look(j, path), pending;

	if (x != EXITCODE_OK)
		return x;
	if (j->pidfd < 0)
		msg_info("%s: its daemon is dead; cleaning up. What it had not "
			 "sent is in its log, and the next mount sends it",
			 j->where);
	x = f->force || f->lazy || j->pidfd < 0 ? disorderly(j, f) :
						  orderly(j, f);
	if (x != EXITCODE_OK) {
		take_back_keep(j);
		return x;
	}
	pending = judge_left(j);
	if (f->lazy && !f->force)
		return pending;
	x = wait_daemon(j);
	return x == EXITCODE_OK ? pending : x;
}

enum exitcode command_umount(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "now", no_argument, NULL, 'n' },
		{ "lazy", no_argument, NULL, 'l' },
		{ "force", no_argument, NULL, 'f' },
		{ NULL, 0, NULL, 0 },
	};
	struct job j = { .pidfd = -1 };
	struct flags f = { 0 };
	enum exitcode x;
	int c;

	while ((c = getopt_long(argc, argv, "lf", longs, NULL)) != -1) {
		if (c == '?')
			return command_usage(
				"umount takes --now, -l and -f only");
		f.lazy |= c == 'l';
		f.force |= c == 'f';
		f.now |= c == 'n';
	}
	if (argc - optind != 1)
		return command_usage("umount wants one mount point");
	x = command_need_root("umount");
	if (x == EXITCODE_OK)
		x = run(&j, argv[optind], &f);
	job_done(&j);
	return x;
}

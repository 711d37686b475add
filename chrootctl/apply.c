/* SPDX-License-Identifier: GPL-2.0-or-later */
/* apply.c: owns the walk over the plan, and what is said when a step fails.
 * Decides nothing: the order is plan.c's, the system calls are mount.c's,
 * ns.c's and run.c's.
 */
#include "apply.h"

#include <signal.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/stat.h>

#include "mount.h"
#include "msg.h"
#include "ns.h"
#include "run.h"
#include "status.h"

enum { DESCRIPTION_MAX = 4096 };

struct walk {
	const struct plan *plan;
	int root_fd; /* of the new root; -1 before STEP_TREE */
};

static int have_point(const struct walk *w, const struct plan_step *s)
{
	int r = mount_directory(w->root_fd, s->target, s->mode);

	if (r == 0)
		msg_info("the root has no /%s: an empty directory was made",
			 s->target);
	return r == -EEXIST ? 0 : r;
}

static int place_node(const struct walk *w, const struct plan_step *s)
{
	int r = mount_node(w->root_fd, s->source, s->target,
			   s->flags & PLAN_READ_ONLY);

	return r == -ENOENT && (s->flags & PLAN_OPTIONAL) ? 0 : r;
}

static int run_first(const struct walk *w, const struct plan_step *s)
{
	struct run_command c = { .file = s->argv[0],
				 .argv = s->argv + 1,
				 .env = plan_env(w->plan),
				 .aside = true };
	pid_t pid;
	int r = run_spawn(&c, &pid);
	int status = r < 0 ? 0 : run_wait(pid);

	if (status != 0)
		msg_warning("%s inside the root ended with status %d",
			    s->argv[0], status);
	return r;
}

/* The host's names do not work inside, but all else does. */
static void place_resolv(const struct walk *w, const struct plan_step *s)
{
	int r = mount_copy(w->root_fd, s->source, s->target,
			   "run/chrootctl/resolv.conf");

	if (r < 0)
		msg_warning("host names will not resolve inside: %s: %s",
			    r == -ENODATA ? "/etc/resolv.conf of this machine"
					  : "/etc/resolv.conf in the root",
			    r == -ENODATA ? "does not exist"
					  : mount_strerror(r));
}

static int do_step(struct walk *w, const struct plan_step *s)
{
	switch (s->type) {
	case STEP_PRIVATE:
		return ns_make_private();
	case STEP_TREE:
		w->root_fd = ns_take_tree();
		return MIN(w->root_fd, 0);
	case STEP_POINT:
		return have_point(w, s);
	case STEP_DIR:
		return mount_directory(w->root_fd, s->target, s->mode);
	case STEP_MOUNT:
		return mount_new(w->root_fd, s->source, s->target, s->options,
				 s->attributes);
	case STEP_NODE:
		return place_node(w, s);
	case STEP_LINK:
		return mount_link(w->root_fd, s->source, s->target);
	case STEP_FILE:
		return mount_file(w->root_fd, s->target, s->source, s->mode);
	case STEP_RESOLV:
		place_resolv(w, s);
		return 0;
	case STEP_BIND:
		return mount_bind(w->root_fd, s->source, s->target,
				  s->flags & PLAN_READ_ONLY);
	case STEP_PIVOT:
		return ns_pivot(w->root_fd);
	case STEP_LINUX32:
		return personality(PER_LINUX32) < 0 ? -errno : 0;
	case STEP_RUN:
		return run_first(w, s);
	case STEP_EXEC:
		break;
	}
	return -EINVAL;
}

/* The command. Its status is the session's; the kernel kills what it leaves
 * behind when init returns. */
static int run_command(const struct walk *w, const struct plan_step *s)
{
	struct run_command c = { .file = s->argv[0],
				 .argv = s->argv + 1,
				 .env = plan_env(w->plan),
				 .directory = plan_directory(w->plan) };
	pid_t pid;
	int r = run_spawn(&c, &pid);

	if (r < 0) {
		msg_error("cannot start a process: %s", msg_strerror(r));
		return STATUS_FAILED;
	}
	/* Out of the command's process group: a signal sent to the group must
	 * not reach it once more through us. */
	(void)signal(SIGTTOU, SIG_IGN);
	(void)setpgid(0, 0);
	return run_wait(pid);
}

int apply_plan(const struct plan *plan)
{
	struct walk w = { .plan = plan, .root_fd = -1 };
	char what[DESCRIPTION_MAX];
	const struct plan_step *steps;
	size_t n = plan_steps(plan, &steps);

	/* The plan's modes are meant as they stand. */
	(void)umask(0);
	for (size_t i = 0; i < n; i++) {
		int r;

		msg_debug("apply", "%s",
			  plan_describe(&steps[i], what, sizeof(what)));
		/* Only env-update takes long enough to be interrupted. */
		if (run_interrupted())
			return STATUS_SIGNAL + run_interrupted();
		if (steps[i].type == STEP_PIVOT)
			(void)umask(022);
		if (steps[i].type == STEP_EXEC)
			return run_command(&w, &steps[i]);
		r = do_step(&w, &steps[i]);
		if (r < 0) {
			msg_error("cannot %s: %s",
				  plan_describe(&steps[i], what, sizeof(what)),
				  mount_strerror(r));
			return STATUS_FAILED;
		}
	}
	return STATUS_FAILED;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* plan.c: owns the decision of what a session consists of, and in what order.
 *
 * The order, and why:
 * - Propagation is cut before the first mount, so that none of ours is ever
 *   seen outside.
 * - /dev and /run come before what lies in them; resolv.conf comes after /run,
 *   because it often is a symbolic link into it.
 * - The user's binds come last and so win over ours.
 * - The pivot comes after all mounts, because their sources are found through
 *   this machine's own tree, which is gone afterwards.
 *
 * /dev is a tmpfs of our own with the standard nodes bound from the machine,
 * not the machine's /dev (as a recursive bind would give) and not a devtmpfs
 * (of which there is only one in the kernel): a package that tidies up /dev,
 * or a script of the foreign system that looks for disks, must not reach this
 * machine's devices by accident. The nodes are bound read-only, which keeps
 * their owners and modes and is no bar to writing to the devices. devpts is an
 * instance of its own, so that terminals opened inside have their names inside;
 * the user's terminal, whose name is in the machine's instance, becomes
 * /dev/console, where ttyname(3) and so tty(1), gpg and tmux find it.
 *
 * /sys is new and read-only: builds read it, and only a foreign system's boot
 * scripts would write it.
 */
#include "plan.h"

#include <stdarg.h>
#include <string.h>
#include <sys/mount.h>

#define SESSION_DIR "run/chrootctl"

static const char default_path[] =
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/* For `sh -c`: the login environment by hand, because not every /bin/sh has
 * -l, and bash heeds a "-" before its name for an interactive shell only.
 * What the files of the root do wrong must not keep the command from running,
 * hence the tests instead of &&. */
static const char run_in_login[] =
	"if [ -r /etc/profile ]; then . /etc/profile; fi\n"
	"if [ -r ~/.profile ]; then . ~/.profile; fi\n"
	"exec \"$@\"\n";

/* bash reads --rcfile after the system's own bashrc and in place of all other
 * startup files, so that the prompt can be marked when all have had their say.
 */
static const char bashrc[] =
	"# Written by chrootctl for this session; gone when it ends.\n"
	"[ -r /etc/profile ] && . /etc/profile\n"
	"if [ -r ~/.bash_profile ]; then . ~/.bash_profile\n"
	"elif [ -r ~/.bash_login ]; then . ~/.bash_login\n"
	"elif [ -r ~/.profile ]; then . ~/.profile\n"
	"fi\n"
	". /" SESSION_DIR "/shrc\n";

/* Other POSIX shells read $ENV last. An exported PS1 is marked once only. */
static const char shrc_format[] =
	"# Written by chrootctl for this session; gone when it ends.\n"
	"case \"$PS1\" in\n"
	"'(%s) '*) ;;\n"
	"*) PS1='(%s) '\"${PS1:-# }\" ;;\n"
	"esac\n";

static const char *const nodes[] = { "dev/null",   "dev/zero",	  "dev/full",
				     "dev/random", "dev/urandom", "dev/tty" };

/* Of use to builds and their tests where the machine has them. */
static const char *const optional_nodes[] = { "dev/fuse", "dev/kvm",
					      "dev/net/tun" };

static const struct {
	const char *target, *text;
} links[] = {
	{ "dev/fd", "/proc/self/fd" },
	{ "dev/stdin", "/proc/self/fd/0" },
	{ "dev/stdout", "/proc/self/fd/1" },
	{ "dev/stderr", "/proc/self/fd/2" },
	{ "dev/core", "/proc/kcore" },
	{ "dev/ptmx", "pts/ptmx" },
};

struct plan {
	struct plan_step *steps;
	size_t steps_n, steps_room;
	char **strings; /* all that was formatted for this plan */
	size_t strings_n, strings_room;
	char **env;
	size_t env_n, env_room;
	char **argv; /* of STEP_EXEC */
	size_t argv_n, argv_room;
	const char *directory;
	bool failed; /* out of memory; looked at once, at the end */
};

/* Makes room for one more element of @size in *@array. The first failure is
 * remembered, so that the code that lists the steps stays a list. */
static bool grow(struct plan *p, void *array, size_t n, size_t *room,
		 size_t size)
{
	void **a = array;
	size_t bigger = *room ? *room * 2 : 32;
	void *moved;

	if (n < *room)
		return true;
	moved = reallocarray(*a, bigger, size);
	if (!moved) {
		p->failed = true;
		return false;
	}
	*a = moved;
	*room = bigger;
	return true;
}

static void add(struct plan *p, struct plan_step step)
{
	if (grow(p, &p->steps, p->steps_n, &p->steps_room, sizeof(step)))
		p->steps[p->steps_n++] = step;
}

static void add_string(struct plan *p, char ***list, size_t *n, size_t *room,
		       char *s)
{
	if (grow(p, list, *n, room, sizeof(s)))
		(*list)[(*n)++] = s;
}

/* A string that lives as long as the plan. NULL when out of memory. */
static char *PRINTF_LIKE(2, 3) format(struct plan *p, const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	if (n < 0 ||
	    !grow(p, &p->strings, p->strings_n, &p->strings_room, sizeof(s))) {
		if (n >= 0)
			free(s);
		p->failed = true;
		return NULL;
	}
	p->strings[p->strings_n++] = s;
	return s;
}

static void add_mount(struct plan *p, const char *type, const char *target,
		      const char *options, uint64_t attributes)
{
	add(p, (struct plan_step){ .type = STEP_MOUNT,
				   .source = type,
				   .target = target,
				   .options = options,
				   .attributes = attributes });
}

static void add_dir(struct plan *p, enum plan_step_type type,
		    const char *target, mode_t mode)
{
	add(p,
	    (struct plan_step){ .type = type, .target = target, .mode = mode });
}

static void add_node(struct plan *p, const char *source, const char *target,
		     unsigned flags)
{
	add(p, (struct plan_step){ .type = STEP_NODE,
				   .source = source,
				   .target = target,
				   .flags = flags });
}

static void add_file(struct plan *p, const char *target, const char *contents)
{
	add(p, (struct plan_step){ .type = STEP_FILE,
				   .source = contents,
				   .target = target,
				   .mode = 0644 });
}

static void plan_dev(struct plan *p, const struct plan_config *c)
{
	const uint64_t plain = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;

	add_mount(p, "tmpfs", "dev", "mode=0755,size=4m", plain);
	add_dir(p, STEP_DIR, "dev/pts", 0755);
	add_dir(p, STEP_DIR, "dev/shm", 0755);
	add_dir(p, STEP_DIR, "dev/net", 0755);
	add_mount(p, "devpts", "dev/pts",
		  format(p, "ptmxmode=0666,mode=0620,gid=%u", c->tty_gid),
		  plain);
	add_mount(p, "tmpfs", "dev/shm", "mode=1777",
		  MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	for (size_t i = 0; i < ARRAY_LEN(nodes); i++)
		add_node(p, format(p, "/%s", nodes[i]), nodes[i],
			 PLAN_READ_ONLY);
	for (size_t i = 0; i < ARRAY_LEN(optional_nodes); i++)
		add_node(p, format(p, "/%s", optional_nodes[i]),
			 optional_nodes[i], PLAN_OPTIONAL | PLAN_READ_ONLY);
	if (c->terminal)
		add_node(p, c->terminal, "dev/console", 0);
	for (size_t i = 0; i < ARRAY_LEN(links); i++)
		add(p, (struct plan_step){ .type = STEP_LINK,
					   .source = links[i].text,
					   .target = links[i].target });
}

static void plan_run(struct plan *p, const struct plan_config *c)
{
	add_mount(p, "tmpfs", "run", "mode=0755",
		  MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	add_dir(p, STEP_DIR, "run/lock", 01777);
	add_dir(p, STEP_DIR, SESSION_DIR, 0755);
	add_file(p, SESSION_DIR "/bashrc", bashrc);
	add_file(p, SESSION_DIR "/shrc",
		 format(p, shrc_format, c->name, c->name));
	if (c->resolv)
		add(p, (struct plan_step){ .type = STEP_RESOLV,
					   .source = "/etc/resolv.conf",
					   .target = "etc/resolv.conf" });
}

static int plan_binds(struct plan *p, const struct plan_config *c)
{
	for (size_t i = 0; i < c->binds_n; i++) {
		const struct plan_bind *b = &c->binds[i];
		const char *target = b->target + strspn(b->target, "/");

		if (b->target[0] != '/' || !*target)
			return -EINVAL;
		add(p, (struct plan_step){
			       .type = STEP_BIND,
			       .source = b->source,
			       .target = target,
			       .flags = b->read_only ? PLAN_READ_ONLY : 0 });
	}
	return 0;
}

/* `env -i` plus what login(1) sets. A variable of the user's comes after, and
 * in the place of, one of ours. */
static void plan_environment(struct plan *p, const struct plan_config *c)
{
	char *ours[] = {
		format(p, "%s", default_path),
		format(p, "HOME=%s", c->home),
		format(p, "USER=%s", c->user),
		format(p, "LOGNAME=%s", c->user),
		format(p, "SHELL=%s", c->shell),
		c->term ? format(p, "TERM=%s", c->term) : NULL,
		c->argv ? NULL : format(p, "ENV=/%s/shrc", SESSION_DIR),
	};

	for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
		bool replaced = !ours[i];

		for (char *const *e = c->env; e && *e && !replaced; e++)
			replaced = strncmp(*e, ours[i],
					   strcspn(ours[i], "=") + 1) == 0;
		if (!replaced)
			add_string(p, &p->env, &p->env_n, &p->env_room,
				   ours[i]);
	}
	for (char *const *e = c->env; e && *e; e++)
		add_string(p, &p->env, &p->env_n, &p->env_room,
			   format(p, "%s", *e));
	add_string(p, &p->env, &p->env_n, &p->env_room, NULL);
}

static void add_argument(struct plan *p, const char *arg)
{
	add_string(p, &p->argv, &p->argv_n, &p->argv_room,
		   arg ? format(p, "%s", arg) : NULL);
}

/* The file that is executed comes first, its argv after it: a login shell's
 * name for itself, "-sh", is not the name of its file. */
static void plan_command(struct plan *p, const struct plan_config *c)
{
	const char *slash = strrchr(c->shell, '/');
	const char *base = slash ? slash + 1 : c->shell;

	if (c->argv) {
		add_argument(p, "/bin/sh");
		add_argument(p, "sh");
		add_argument(p, "-c");
		add_argument(p, run_in_login);
		/* $0 stands in front of the shell's messages. */
		add_argument(p, "chrootctl");
		for (char *const *a = c->argv; *a; a++)
			add_argument(p, *a);
	} else if (!c->terminal) {
		/* Commands on standard input: no prompt, hence no rcfile. */
		add_argument(p, c->shell);
		add_argument(p, base);
		add_argument(p, "-l");
	} else if (strcmp(base, "bash") == 0) {
		add_argument(p, c->shell);
		add_argument(p, base);
		add_argument(p, "--rcfile");
		add_argument(p, "/" SESSION_DIR "/bashrc");
		add_argument(p, "-i");
	} else {
		add_argument(p, c->shell);
		add_argument(p, format(p, "-%s", base));
	}
	add_argument(p, NULL);
	add(p, (struct plan_step){ .type = STEP_EXEC, .argv = p->argv });
}

int plan_make(const struct plan_config *c, struct plan **ret)
{
	static const char *const points[] = { "proc", "sys", "dev", "run" };
	static char env_update_path[] = "/usr/sbin/env-update";
	static char env_update_name[] = "env-update";
	static char *const env_update[] = { env_update_path, env_update_name,
					    NULL };
	const uint64_t locked =
		MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
	struct plan *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->directory = format(p, "%s", c->home);
	add(p, (struct plan_step){ .type = STEP_PRIVATE });
	add(p, (struct plan_step){ .type = STEP_TREE, .source = c->path });
	for (size_t i = 0; i < ARRAY_LEN(points); i++)
		add_dir(p, STEP_POINT, points[i], 0755);
	add_mount(p, "proc", "proc", NULL, locked);
	add_mount(p, "sysfs", "sys", NULL, locked | MOUNT_ATTR_RDONLY);
	plan_dev(p, c);
	plan_run(p, c);
	r = plan_binds(p, c);
	add(p, (struct plan_step){ .type = STEP_PIVOT });
	if (c->linux32)
		add(p, (struct plan_step){ .type = STEP_LINUX32 });
	if (c->env_update)
		add(p,
		    (struct plan_step){ .type = STEP_RUN, .argv = env_update });
	plan_environment(p, c);
	plan_command(p, c);
	if (p->failed)
		r = -ENOMEM;
	if (r < 0) {
		plan_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

void plan_free(struct plan *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->strings_n; i++)
		free(p->strings[i]);
	free(p->strings);
	free(p->steps);
	free(p->env);
	free(p->argv);
	free(p);
}

size_t plan_steps(const struct plan *p, const struct plan_step **ret)
{
	*ret = p->steps;
	return p->steps_n;
}

char *const *plan_env(const struct plan *p)
{
	return p->env;
}

const char *plan_directory(const struct plan *p)
{
	return p->directory;
}

/* "proc (ro,nosuid,nodev,noexec,OPTIONS)" */
static void describe_mount(const struct plan_step *s, char *buf, size_t size)
{
	(void)snprintf(buf, size, "mount %s on /%s (%s%s%s%s%s%s)", s->source,
		       s->target,
		       s->attributes & MOUNT_ATTR_RDONLY ? "ro" : "rw",
		       s->attributes & MOUNT_ATTR_NOSUID ? ",nosuid" : "",
		       s->attributes & MOUNT_ATTR_NODEV ? ",nodev" : "",
		       s->attributes & MOUNT_ATTR_NOEXEC ? ",noexec" : "",
		       s->options ? "," : "", s->options ? s->options : "");
}

/* argv as one line; the script of `sh -c` shortened to "...". */
static void describe_run(const struct plan_step *s, char *buf, size_t size)
{
	size_t used = (size_t)snprintf(buf, size, "run");

	/* argv[0] of STEP_EXEC is the file, argv[1] its name for itself. */
	for (char *const *a = s->argv; *a && used < size; a++)
		if (a != s->argv + 1)
			used += (size_t)snprintf(
				buf + used, size - used, " %s",
				strcmp(*a, run_in_login) == 0 ? "..." : *a);
}

const char *plan_describe(const struct plan_step *s, char *buf, size_t size)
{
	switch (s->type) {
	case STEP_PRIVATE:
		(void)snprintf(buf, size, "make all mounts private");
		break;
	case STEP_TREE:
		(void)snprintf(buf, size,
			       "take %s with all that is mounted in "
			       "it as the new root",
			       s->source);
		break;
	case STEP_POINT:
		(void)snprintf(buf, size, "have the directory /%s", s->target);
		break;
	case STEP_DIR:
		(void)snprintf(buf, size, "make the directory /%s (mode %04o)",
			       s->target, (unsigned)s->mode);
		break;
	case STEP_MOUNT:
		describe_mount(s, buf, size);
		break;
	case STEP_NODE:
	case STEP_BIND:
		(void)snprintf(
			buf, size, "bind %s on /%s%s%s", s->source, s->target,
			s->flags & PLAN_READ_ONLY ? " (ro)" : "",
			s->flags & PLAN_OPTIONAL ? ", if it exists" : "");
		break;
	case STEP_LINK:
		(void)snprintf(buf, size, "link /%s to %s", s->target,
			       s->source);
		break;
	case STEP_FILE:
		(void)snprintf(buf, size, "write /%s", s->target);
		break;
	case STEP_RESOLV:
		(void)snprintf(buf, size, "mount a copy of %s on /%s",
			       s->source, s->target);
		break;
	case STEP_PIVOT:
		(void)snprintf(buf, size, "make the new root /");
		break;
	case STEP_LINUX32:
		(void)snprintf(buf, size, "behave like a 32-bit machine");
		break;
	case STEP_RUN:
	case STEP_EXEC:
		describe_run(s, buf, size);
		break;
	}
	return buf;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* main.c: owns the command line of chrootctl, and the order of one run: mount
 * if asked to, check, plan, run the session, see to it that the server has all,
 * undo the mount.
 *
 * Two processes take part. This one stays outside, in the machine's
 * namespaces, so that it can undo what it mounted; the session's init
 * (apply.c) goes inside.
 */
#include <getopt.h>
#include <stdarg.h>
#include <string.h>

#include "apply.h"
#include "attach.h"
#include "msg.h"
#include "ns.h"
#include "plan.h"
#include "root.h"
#include "run.h"
#include "status.h"

enum { BINDS_MAX = 64, ENV_MAX = 256 };

struct options {
	const char *where; /* MOUNTPOINT or HOST:/PATH */
	const char *mount_options;
	bool dry_run, no_resolv, no_env_update, no_sync;
	struct plan_bind binds[BINDS_MAX];
	char *bind_sources[BINDS_MAX]; /* owned; binds[].source */
	size_t binds_n;
	char *env[ENV_MAX + 1]; /* owned */
	size_t env_n;
	char **argv; /* the command; NULL: a shell */
};

static const char usage_text[] =
	"usage: chrootctl enter [OPTIONS] MOUNTPOINT|HOST:/PATH [--] "
	"[COMMAND...]\n"
	"       chrootctl check MOUNTPOINT\n"
	"       chrootctl --help | --version\n"
	"\n"
	"enter  runs COMMAND, or a login shell, with MOUNTPOINT as its root;\n"
	"       HOST:/PATH is mounted with nfsrootfs for as long as that "
	"takes\n"
	"check  says whether MOUNTPOINT can be entered, and enters nothing\n"
	"\n"
	"  -o OPTIONS          for nfsrootfs mount, with HOST:/PATH\n"
	"  -E, --env VAR[=VALUE]\n"
	"                      set VAR inside, or pass it on\n"
	"      --bind SRC[:DST]     bind SRC of this machine on DST inside\n"
	"      --bind-ro SRC[:DST]  the same, read-only\n"
	"      --no-resolv     leave /etc/resolv.conf inside as it is\n"
	"      --no-env-update do not run env-update first\n"
	"      --no-sync       do not wait for the server afterwards\n"
	"  -n, --dry-run       print what would be done, and do none of it\n"
	"  -D, --debug AREA    debug messages: apply, all\n"
	"\n"
	"The exit status is the command's; 128+N when signal N ended it; 2 for "
	"a\n"
	"usage error, 110 to 117 and 125 when chrootctl failed, see "
	"chrootctl(8).\n";

enum { OPT_BIND = 256, OPT_BIND_RO, OPT_NO_RESOLV, OPT_NO_ENV_UPDATE,
       OPT_NO_SYNC };

static const struct option long_options[] = {
	{ "env", required_argument, NULL, 'E' },
	{ "bind", required_argument, NULL, OPT_BIND },
	{ "bind-ro", required_argument, NULL, OPT_BIND_RO },
	{ "no-resolv", no_argument, NULL, OPT_NO_RESOLV },
	{ "no-env-update", no_argument, NULL, OPT_NO_ENV_UPDATE },
	{ "no-sync", no_argument, NULL, OPT_NO_SYNC },
	{ "dry-run", no_argument, NULL, 'n' },
	{ "debug", required_argument, NULL, 'D' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static int PRINTF_LIKE(1, 2) usage_error(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	msg_error("%s; see chrootctl --help", text);
	return STATUS_USAGE;
}

/* ---- options ---- */

static void free_options(struct options *o)
{
	for (size_t i = 0; i < o->binds_n; i++)
		free(o->bind_sources[i]);
	for (size_t i = 0; i < o->env_n; i++)
		free(o->env[i]);
}

/* "SRC[:DST]". SRC becomes absolute now, because init works elsewhere. */
static int add_bind(struct options *o, char *text, bool read_only)
{
	char *colon = strchr(text, ':');
	struct plan_bind *b = &o->binds[o->binds_n];

	if (o->binds_n == BINDS_MAX)
		return usage_error("more than %d binds", BINDS_MAX);
	if (colon)
		*colon = '\0';
	o->bind_sources[o->binds_n] = realpath(text, NULL);
	b->source = o->bind_sources[o->binds_n];
	if (!b->source) {
		msg_error("cannot bind %s: %s", text, msg_strerror(errno));
		return STATUS_FAILED;
	}
	b->target = colon ? colon + 1 : b->source;
	b->read_only = read_only;
	o->binds_n++;
	if (b->target[0] != '/' || !b->target[strspn(b->target, "/")])
		return usage_error("--bind %s:%s: the place inside must be an "
				   "absolute path other than /",
				   text, b->target);
	return 0;
}

static int add_env(struct options *o, char *text)
{
	bool given = strchr(text, '=');
	const char *value = given ? "" : getenv(text);
	char *entry;

	if (o->env_n == ENV_MAX)
		return usage_error("more than %d variables", ENV_MAX);
	if (!*text || *text == '=')
		return usage_error("-E \"%s\": not a variable", text);
	/* A variable that is not set here is not set inside either. */
	if (!value)
		return 0;
	if (asprintf(&entry, "%s%s%s", text, given ? "" : "=", value) < 0) {
		msg_error("%s", msg_strerror(ENOMEM));
		return STATUS_FAILED;
	}
	o->env[o->env_n++] = entry;
	return 0;
}

static int add_option(struct options *o, int opt)
{
	switch (opt) {
	case 'o':
		o->mount_options = optarg;
		return 0;
	case 'E':
		return add_env(o, optarg);
	case OPT_BIND:
	case OPT_BIND_RO:
		return add_bind(o, optarg, opt == OPT_BIND_RO);
	case OPT_NO_RESOLV:
		o->no_resolv = true;
		return 0;
	case OPT_NO_ENV_UPDATE:
		o->no_env_update = true;
		return 0;
	case OPT_NO_SYNC:
		o->no_sync = true;
		return 0;
	case 'n':
		o->dry_run = true;
		return 0;
	case 'D':
		if (msg_debug_enable(optarg) < 0)
			return usage_error("-D %s: no such area", optarg);
		return 0;
	default: /* getopt has said what is wrong */
		return STATUS_USAGE;
	}
}

/* Up to the first word that is no option. */
static int parse_options(struct options *o, int argc, char **argv)
{
	int opt, status = 0;

	while (status == 0 && (opt = getopt_long(argc, argv, "+o:E:nD:h",
						 long_options, NULL)) != -1) {
		if (opt == 'h') {
			(void)fputs(usage_text, stdout);
			exit(EXIT_SUCCESS);
		}
		status = add_option(o, opt);
	}
	return status;
}

/* Options may stand before MOUNTPOINT and, as mount(8)'s users write them,
 * behind it; what follows belongs to the command. */
static int parse(struct options *o, int argc, char **argv)
{
	int status = parse_options(o, argc, argv);

	if (status != 0)
		return status;
	if (optind == argc)
		return usage_error("which root? MOUNTPOINT or HOST:/PATH is "
				   "missing");
	o->where = argv[optind++];
	if (optind < argc && argv[optind][0] == '-') {
		/* Stops behind "--", too. */
		status = parse_options(o, argc, argv);
		if (status != 0)
			return status;
	}
	o->argv = optind < argc ? argv + optind : NULL;
	return 0;
}

/* ---- enter ---- */

static void report_failure(void *arg, const struct root_verdict *v)
{
	if (v->status != 0)
		msg_error("%s", v->reason);
	else if (*v->reason)
		msg_warning("%s", v->reason);
}

static int make_plan(const struct options *o, const struct root *r,
		     struct plan **ret)
{
	struct plan_config c = {
		.path = r->path,
		.name = r->name,
		.user = r->user,
		.home = r->home,
		.shell = r->shell,
		.term = getenv("TERM"),
		.terminal = ttyname(STDIN_FILENO),
		.tty_gid = r->tty_gid,
		.linux32 = r->fit == ARCH_COMPAT32,
		.env_update = r->has_env_update && !o->no_env_update,
		.resolv = r->resolv == RESOLV_PRESENT && !o->no_resolv,
		.binds = o->binds,
		.binds_n = o->binds_n,
		.env = o->env,
		.argv = o->argv,
	};
	int err = plan_make(&c, ret);

	if (err == 0)
		return 0;
	msg_error("cannot plan the session: %s", msg_strerror(err));
	return STATUS_FAILED;
}

static void print_plan(const struct plan *p)
{
	const struct plan_step *steps;
	size_t n = plan_steps(p, &steps);
	char what[4096];

	for (size_t i = 0; i < n; i++)
		(void)printf("%s\n",
			     plan_describe(&steps[i], what, sizeof(what)));
}

static int init_of_session(void *arg)
{
	return apply_plan(arg);
}

static int run_session(struct root *r, struct plan *p)
{
	struct ns_session session;
	int status, err;

	run_keep_terminal();
	err = ns_spawn(r->fd, init_of_session, p, &session);
	if (err < 0) {
		msg_error("cannot make namespaces: %s%s", msg_strerror(err),
			  err == -EPERM ? "; in a container, the capability "
					  "CAP_SYS_ADMIN is needed"
					: "");
		return STATUS_FAILED;
	}
	status = run_wait(session.pid);
	(void)close(session.life_fd);
	run_reclaim_terminal();
	return status;
}

/* @sync: afterwards the server shall have everything. The session has ended by
 * then, all its processes with it, so that nothing comes after. */
static int enter_directory(const struct options *o, const char *path, bool sync)
{
	struct plan *p = NULL;
	struct root r;
	int status = root_check(&r, path, false, report_failure, NULL);

	if (status == 0)
		status = make_plan(o, &r, &p);
	if (status == 0 && o->dry_run)
		print_plan(p);
	else if (status == 0) {
		status = run_session(&r, p);
		if (sync && r.is_nfsrootfs)
			attach_sync(r.path);
	}
	plan_free(p);
	root_close(&r);
	return status;
}

static int enter_server(const struct options *o)
{
	char dir[PATH_MAX];
	int status, undone;

	if (geteuid() != 0) {
		msg_error("only the superuser can enter a root: run it with "
			  "sudo or as root");
		return STATUS_NOT_SUPERUSER;
	}
	status = attach(o->where, o->mount_options, dir);
	if (status != 0)
		return status;
	if (run_interrupted())
		status = STATUS_SIGNAL + run_interrupted();
	else
		status = enter_directory(o, dir, false);
	undone = attach_undo(o->where, dir, o->no_sync);
	return status != 0 ? status : undone;
}

static int enter(const struct options *o)
{
	bool server = attach_is_server(o->where);

	if (server && o->dry_run)
		return usage_error("--dry-run mounts nothing, so it needs a "
				   "MOUNTPOINT, not %s",
				   o->where);
	if (!server && o->mount_options)
		return usage_error("-o is for mounting HOST:/PATH; %s is taken "
				   "as it is",
				   o->where);
	run_take_signals();
	return server ? enter_server(o) :
			enter_directory(o, o->where, !o->no_sync);
}

static int command_enter(int argc, char **argv)
{
	struct options o = { 0 };
	int status = parse(&o, argc, argv);

	if (status == 0)
		status = enter(&o);
	free_options(&o);
	return status;
}

/* ---- check ---- */

static void report_line(void *arg, const struct root_verdict *v)
{
	(void)printf("%-7s %s%s%s\n",
		     v->status	  ? "FAILED"
		     : *v->reason ? "note"
				  : "ok",
		     v->check, *v->reason ? ": " : "", v->reason);
}

static int command_check(int argc, char **argv)
{
	struct root r;
	int status;

	if (argc != 2 || argv[1][0] == '-')
		return usage_error("check takes one MOUNTPOINT");
	status = root_check(&r, argv[1], true, report_line, NULL);
	root_close(&r);
	return status;
}

/* ---- */

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "enter", command_enter },
	{ "check", command_check },
};

int main(int argc, char **argv)
{
	msg_set_program("chrootctl");
	if (argc < 2)
		return usage_error("no command is given");
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		(void)fputs(usage_text, stdout);
		return EXIT_SUCCESS;
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		(void)printf("chrootctl %s\n", NFSROOTFS_VERSION);
		return EXIT_SUCCESS;
	}
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	return usage_error("there is no command \"%s\"", argv[1]);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* main.c: finds the subcommand and parses the command lines of mount and of
 * mount(8)'s helper. The program is the latter when its name begins with
 * "mount.".
 */
#include <getopt.h>
#include <libgen.h>
#include <string.h>

#include "../cache/msg.h"
#include "command.h"
#include "mount.h"
#include "probe.h"

static const char help[] =
	"usage: nfsrootfs mount HOST:/PATH MOUNTPOINT [-fv] [-D AREA] "
	"[-o OPTIONS]\n"
	"       nfsrootfs umount MOUNTPOINT [--now|-l|-f]\n"
	"       nfsrootfs sync MOUNTPOINT|PATH... [--json]\n"
	"       nfsrootfs status [MOUNTPOINT] [--json]\n"
	"       nfsrootfs warm MOUNTPOINT [PATH...] [--meta] [--json]\n"
	"       nfsrootfs warm MOUNTPOINT --from FILE [--json]\n"
	"       nfsrootfs refresh MOUNTPOINT [PATH...] [--json]\n"
	"       nfsrootfs conflicts MOUNTPOINT [--json]\n"
	"       nfsrootfs conflicts MOUNTPOINT --keep ours|theirs|both "
	"ID...|all\n"
	"       nfsrootfs discard HOST:/PATH|MOUNTPOINT [--cache] "
	"[-o OPTIONS]\n"
	"       nfsrootfs cache list [HOST:/PATH|MOUNTPOINT] [--json] "
	"[-o OPTIONS]\n"
	"       nfsrootfs cache check HOST:/PATH|MOUNTPOINT [--json] "
	"[-o OPTIONS]\n"
	"       nfsrootfs cache remove HOST:/PATH|MOUNTPOINT [--contents] "
	"[-o OPTIONS]\n"
	"       nfsrootfs probe HOST:/PATH [--json] [-o OPTIONS]\n"
	"       nfsrootfs help | --version\n"
	"\n"
	"  mount    mount a root that a server exports with NFSv3; returns when\n"
	"           it is usable\n"
	"  umount   unmount it, once the server has everything; --now: what it\n"
	"           does not have waits in the log for the next mount\n"
	"  sync     returns when the server has all that was done before\n"
	"  status   what is mounted from where, what is still to be sent, and\n"
	"           what it did so far\n"
	"  warm     get to know all names and attributes there now; --from: and\n"
	"           contents, what -o record=FILE has seen used\n"
	"  refresh  ask the server again for what is known there, at its next use\n"
	"  conflicts  what the server refuses, and what was changed here and\n"
	"           there; or (--keep) what shall become of it\n"
	"  discard  remove what the tmp areas of an export hold on this machine,\n"
	"           or (--cache) what is cached of it\n"
	"  cache    what this machine keeps of each export; whether the contents\n"
	"           are sound; removing what is cached, never what is to be sent\n"
	"  probe    what one must know of a server before mounting\n"
	"\n"
	"  -f       mount: stay in the foreground; umount: by force\n"
	"  -l       umount: out of sight at once, ends with its last user\n"
	"  -v       say what was mounted\n"
	"  -D AREA  debug messages of a part of the program, or of all\n"
	"  -o       rw ro hard soft timeo= retrans= port= mountport= nconnect=\n"
	"           rsize= wsize= ac= actimeo= noac suid nosuid dev nodev exec\n"
	"           noexec: as in nfs(5) and mount(8); ac=forever\n"
	"           cachedir=DIR  where this machine keeps what it knows\n"
	"           tmp=PATH[:tmpfs|:DIR]  PATH below the root is local; may be\n"
	"                         given again; default: /tmp and where portage\n"
	"                         builds, /var/tmp/portage\n"
	"           notmp         no tmp areas\n"
	"           through=PATH back=PATH  changes there wait for the server, or\n"
	"                         are sent to it later; may be given again\n"
	"           delay=SECONDS logsize=SIZE fsync=local|server  when they are\n"
	"                         sent, how many may wait, what fsync waits for\n"
	"           record=FILE   write down what is used, for warm --from\n"
	"           steal         write though another machine says it does\n"
	"\n"
	"All of it, and the exit statuses: man nfsrootfs\n";

static enum exitcode command_help(int argc, char **argv)
{
	(void)fputs(help, stdout);
	return EXITCODE_OK;
}

static enum exitcode command_version(int argc, char **argv)
{
	(void)puts("nfsrootfs " NFSROOTFS_VERSION);
	return EXITCODE_OK;
}

/* ---- mount ---- */

static enum exitcode finish_mount(struct config *c, int argc, char **argv,
				  const struct mount_flags *flags)
{
	enum exitcode x;

	if (argc - optind != 2)
		return command_usage(
			"mount wants HOST:/PATH and a mount point");
	x = command_source(c, argv[optind]);
	return x == EXITCODE_OK ? mount_run(c, argv[optind + 1], flags) : x;
}

enum exitcode command_mount(int argc, char **argv)
{
	struct mount_flags flags = { 0 };
	enum exitcode x = EXITCODE_OK;
	struct config c;
	int o;

	config_init(&c);
	while (x == EXITCODE_OK &&
	       (o = getopt(argc, argv, "fvo:D:")) != -1) {
		if (o == 'f')
			c.foreground = true;
		else if (o == 'v')
			flags.verbose = true;
		else if (o == 'o')
			x = command_options(&c, optarg);
		else if (o == 'D' && msg_debug_enable(optarg) < 0)
			x = command_usage("-D %s: no such area", optarg);
		else if (o == '?')
			x = command_usage("mount takes -f, -v, -D and -o");
	}
	if (x == EXITCODE_OK)
		x = finish_mount(&c, argc, argv, &flags);
	config_done(&c);
	return x;
}

/* mount(8): mount.nfsrootfs SOURCE DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS]
 * [-t TYPE]. -s must be known before the options are looked at. */
enum exitcode command_mount_helper(int argc, char **argv)
{
	struct mount_flags flags = { 0 };
	enum exitcode x = EXITCODE_OK;
	struct config c;
	int o;

	config_init(&c);
	for (int i = 1; i < argc; i++)
		if (argv[i][0] == '-' && argv[i][1] != 'o' &&
		    strchr(argv[i], 's'))
			c.sloppy = true;
	while (x == EXITCODE_OK &&
	       (o = getopt(argc, argv, "sfnvN:o:t:")) != -1) {
		if (o == 'f')
			flags.fake = true;
		else if (o == 'v')
			flags.verbose = true;
		else if (o == 'o')
			x = command_options(&c, optarg);
		else if (o == 'N')
			x = command_usage("mount in another namespace (-N) is "
					  "not supported; use nsenter(1)");
		else if (o == '?')
			x = command_usage("%s: unknown option", argv[0]);
	}
	if (x == EXITCODE_OK)
		x = finish_mount(&c, argc, argv, &flags);
	config_done(&c);
	return x;
}

/* ---- probe ---- */

enum exitcode command_probe(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "json", no_argument, NULL, 'j' },
		{ NULL, 0, NULL, 0 },
	};
	enum exitcode x = EXITCODE_OK;
	struct config c;
	bool json = false;
	int o;

	config_init(&c);
	while (x == EXITCODE_OK &&
	       (o = getopt_long(argc, argv, "o:D:", longs, NULL)) != -1) {
		if (o == 'o')
			x = command_options(&c, optarg);
		else if (o == 'j')
			json = true;
		else if (o == 'D' && msg_debug_enable(optarg) < 0)
			x = command_usage("-D %s: no such area", optarg);
		else if (o == '?')
			x = command_usage("probe takes --json, -D and -o");
	}
	if (x == EXITCODE_OK && argc - optind != 1)
		x = command_usage("probe wants one HOST:/PATH");
	if (x == EXITCODE_OK)
		x = command_source(&c, argv[optind]);
	if (x == EXITCODE_OK) {
		const struct remote_nfs_options r = {
			.host = c.host, .path = c.path,
			.port = c.port, .mountport = c.mountport,
			.nconnect = 1, .timeo_ms = c.timeo_ms,
		};

		x = (enum exitcode)probe_run(&r, json, stdout);
	}
	config_done(&c);
	return x;
}

/* ---- dispatch ---- */

static const struct {
	const char *name;
	enum exitcode (*run)(int argc, char **argv);
} commands[] = {
	{ "mount", command_mount },	{ "umount", command_umount },
	{ "status", command_status },	{ "discard", command_discard },
	{ "probe", command_probe },	{ "sync", command_sync },
	{ "conflicts", command_conflicts }, { "cache", command_cache },
	{ "warm", command_warm },
	{ "refresh", command_refresh },	{ "help", command_help },
	{ "--help", command_help },	{ "-h", command_help },
	{ "--version", command_version },
};

int main(int argc, char **argv)
{
	const char *name = argc > 0 ? strrchr(argv[0], '/') : NULL;

	name = name ? name + 1 : argc > 0 ? argv[0] : "";
	msg_set_program("nfsrootfs");
	opterr = 0; /* what is wrong is said once, by us */
	if (strncmp(name, "mount.", 6) == 0)
		return command_mount_helper(argc, argv);
	if (argc < 2) {
		(void)fputs(help, stderr);
		return EXITCODE_USAGE;
	}
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	return command_usage("unknown command '%s'", argv[1]);
}

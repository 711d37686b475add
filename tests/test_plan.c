/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_plan.c: the plan of a session: what is in it, in which order, and the
 * environment and command that it ends with. Needs no privilege.
 */
#include <elf.h>
#include <sys/mount.h>

#include "run.h"

#include "arch.h"
#include "attach.h"
#include "plan.h"

static struct plan_config plain_config(void)
{
	return (struct plan_config){ .path = "/mnt/root",
				     .name = "server",
				     .user = "root",
				     .home = "/root",
				     .shell = "/bin/bash",
				     .term = "xterm",
				     .terminal = "/dev/pts/3",
				     .tty_gid = 5,
				     .resolv = true };
}

static struct plan *made(const struct plan_config *c)
{
	struct plan *p = NULL;

	assert_int_equal(plan_make(c, &p), 0);
	assert_non_null(p);
	return p;
}

/* The place in the plan of the step of @type on @target (NULL: any), or -1. */
static int place(const struct plan *p, enum plan_step_type type,
		 const char *target)
{
	const struct plan_step *s;
	size_t n = plan_steps(p, &s);

	for (size_t i = 0; i < n; i++)
		if (s[i].type == type &&
		    (!target || (s[i].target && !strcmp(s[i].target, target))))
			return (int)i;
	return -1;
}

static const struct plan_step *
step(const struct plan *p, enum plan_step_type type, const char *target)
{
	const struct plan_step *s;
	int i = place(p, type, target);

	(void)plan_steps(p, &s);
	assert_true(i >= 0);
	return s + i;
}

static const char *variable(const struct plan *p, const char *name)
{
	size_t len = strlen(name);
	const char *found = NULL;

	for (char *const *e = plan_env(p); *e; e++)
		if (strncmp(*e, name, len) == 0 && (*e)[len] == '=') {
			assert_null(found); /* never twice */
			found = *e + len + 1;
		}
	return found;
}

static void order_is_safe(void **state)
{
	static char arg[] = "make";
	char *argv[] = { arg, NULL };
	struct plan_bind bind = { "/src", "//usr/src", true };
	struct plan_config c = plain_config();
	const struct plan_step *steps;
	struct plan *p;
	size_t n;

	c.env_update = c.linux32 = true;
	c.binds = &bind;
	c.binds_n = 1;
	c.argv = argv;
	p = made(&c);
	n = plan_steps(p, &steps);
	assert_int_equal(steps[0].type, STEP_PRIVATE);
	assert_int_equal(steps[1].type, STEP_TREE);
	assert_int_equal(steps[n - 1].type, STEP_EXEC);
	/* Every mount before the pivot, every command after it. */
	for (size_t i = 0; i < n; i++) {
		int pivot = place(p, STEP_PIVOT, NULL);
		bool after = steps[i].type == STEP_LINUX32 ||
			     steps[i].type == STEP_RUN ||
			     steps[i].type == STEP_EXEC;

		if (steps[i].type != STEP_PIVOT)
			assert_true(((int)i > pivot) == after);
	}
	assert_true(place(p, STEP_POINT, "proc") <
		    place(p, STEP_MOUNT, "proc"));
	assert_true(place(p, STEP_MOUNT, "dev") <
		    place(p, STEP_MOUNT, "dev/pts"));
	assert_true(place(p, STEP_DIR, "dev/pts") <
		    place(p, STEP_MOUNT, "dev/pts"));
	assert_true(place(p, STEP_MOUNT, "run") < place(p, STEP_RESOLV, NULL));
	assert_true(place(p, STEP_RESOLV, NULL) <
		    place(p, STEP_BIND, "usr/src"));
	assert_int_equal(step(p, STEP_BIND, NULL)->flags, PLAN_READ_ONLY);
	plan_free(p);
}

static void attributes_are_tight(void **state)
{
	struct plan_config c = plain_config();
	const struct plan_step *steps;
	struct plan *p = made(&c);
	size_t n = plan_steps(p, &steps);

	for (size_t i = 0; i < n; i++) {
		if (steps[i].type == STEP_MOUNT)
			assert_true(steps[i].attributes & MOUNT_ATTR_NOSUID);
		/* Owners and modes of this machine's devices. */
		if (steps[i].type == STEP_NODE &&
		    strcmp(steps[i].target, "dev/console") != 0)
			assert_true(steps[i].flags & PLAN_READ_ONLY);
		/* A plan never names a place outside the root. */
		if (steps[i].target)
			assert_true(steps[i].target[0] != '/');
	}
	assert_true(step(p, STEP_MOUNT, "sys")->attributes & MOUNT_ATTR_RDONLY);
	assert_true(step(p, STEP_MOUNT, "proc")->attributes & MOUNT_ATTR_NODEV);
	assert_string_equal(step(p, STEP_MOUNT, "dev/pts")->options,
			    "ptmxmode=0666,mode=0620,gid=5");
	assert_string_equal(step(p, STEP_NODE, "dev/console")->source,
			    "/dev/pts/3");
	plan_free(p);
}

static void absent_parts_have_no_steps(void **state)
{
	struct plan_config c = plain_config();
	struct plan *p;

	c.resolv = false;
	c.terminal = NULL;
	p = made(&c);
	assert_int_equal(place(p, STEP_RESOLV, NULL), -1);
	assert_int_equal(place(p, STEP_NODE, "dev/console"), -1);
	assert_int_equal(place(p, STEP_RUN, NULL), -1);
	assert_int_equal(place(p, STEP_LINUX32, NULL), -1);
	assert_int_equal(place(p, STEP_BIND, NULL), -1);
	plan_free(p);
}

static void bad_binds_are_refused(void **state)
{
	static const char *const targets[] = { "/", "//", "relative", "" };

	for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
		struct plan_bind bind = { "/src", targets[i], false };
		struct plan_config c = plain_config();
		struct plan *p = NULL;

		c.binds = &bind;
		c.binds_n = 1;
		assert_int_equal(plan_make(&c, &p), -EINVAL);
		assert_null(p);
	}
}

static void environment_is_of_a_login(void **state)
{
	static char home[] = "HOME=/elsewhere", homely[] = "HOMELY=1";
	char *env[] = { home, homely, NULL };
	struct plan_config c = plain_config();
	struct plan *p = made(&c);

	assert_string_equal(variable(p, "HOME"), "/root");
	assert_string_equal(variable(p, "USER"), "root");
	assert_string_equal(variable(p, "LOGNAME"), "root");
	assert_string_equal(variable(p, "SHELL"), "/bin/bash");
	assert_string_equal(variable(p, "TERM"), "xterm");
	assert_non_null(variable(p, "PATH"));
	plan_free(p);

	c.env = env;
	c.term = NULL;
	p = made(&c);
	assert_string_equal(variable(p, "HOME"), "/elsewhere");
	assert_string_equal(variable(p, "HOMELY"), "1");
	assert_null(variable(p, "TERM"));
	assert_string_equal(plan_directory(p), "/root");
	plan_free(p);
}

static void check_argv(const struct plan_config *c, const char *const want[])
{
	struct plan *p = made(c);
	char *const *argv = step(p, STEP_EXEC, NULL)->argv;
	size_t i;

	for (i = 0; want[i]; i++) {
		assert_non_null(argv[i]);
		assert_string_equal(argv[i], want[i]);
	}
	assert_null(argv[i]);
	plan_free(p);
}

static void shells_are_login_shells(void **state)
{
	static const char *const bash[] = {
		"/bin/bash", "bash", "--rcfile", "/run/chrootctl/bashrc",
		"-i",	     NULL
	};
	static const char *const zsh[] = { "/usr/bin/zsh", "-zsh", NULL };
	static const char *const piped[] = { "/usr/bin/zsh", "zsh", "-l",
					     NULL };
	struct plan_config c = plain_config();

	check_argv(&c, bash);
	c.shell = "/usr/bin/zsh";
	check_argv(&c, zsh);
	c.terminal = NULL;
	check_argv(&c, piped);
}

static void command_keeps_its_arguments(void **state)
{
	static char a[] = "printf", b[] = "a b;$(x)", e[] = "";
	char *argv[] = { a, b, e, NULL };
	struct plan_config c = plain_config();
	char *const *got;
	struct plan *p;

	c.argv = argv;
	p = made(&c);
	got = step(p, STEP_EXEC, NULL)->argv;
	assert_string_equal(got[0], "/bin/sh");
	assert_string_equal(got[2], "-c");
	/* The arguments are the script's "$@", never part of its text. */
	assert_null(strstr(got[3], "printf"));
	for (size_t i = 0; i < ARRAY_LEN(argv) - 1; i++)
		assert_string_equal(got[5 + i], argv[i]);
	assert_null(got[8]);
	assert_null(variable(p, "ENV"));
	plan_free(p);
}

static void steps_are_described(void **state)
{
	struct plan_config c = plain_config();
	struct plan *p = made(&c);
	char buf[256], little[8];

	assert_string_equal(
		plan_describe(step(p, STEP_MOUNT, "sys"), buf, sizeof(buf)),
		"mount sysfs on /sys (ro,nosuid,nodev,noexec)");
	assert_string_equal(
		plan_describe(step(p, STEP_LINK, "dev/ptmx"), buf, sizeof(buf)),
		"link /dev/ptmx to pts/ptmx");
	/* Cut off, not overrun. */
	assert_string_equal(
		plan_describe(step(p, STEP_EXEC, NULL), little, sizeof(little)),
		"run /bi");
	plan_free(p);
}

static void machines_fit(void **state)
{
	const struct arch amd64 = { EM_X86_64, ELFCLASS64, ELFDATA2LSB };
	const struct arch i386 = { EM_386, ELFCLASS32, ELFDATA2LSB };
	const struct arch x32 = { EM_X86_64, ELFCLASS32, ELFDATA2LSB };
	const struct arch arm64 = { EM_AARCH64, ELFCLASS64, ELFDATA2LSB };
	const struct arch arm = { EM_ARM, ELFCLASS32, ELFDATA2LSB };
	const struct arch armeb = { EM_ARM, ELFCLASS32, ELFDATA2MSB };

	assert_int_equal(arch_fit(&amd64, &amd64), ARCH_NATIVE);
	assert_int_equal(arch_fit(&amd64, &i386), ARCH_COMPAT32);
	assert_int_equal(arch_fit(&arm64, &arm), ARCH_COMPAT32);
	assert_int_equal(arch_fit(&i386, &amd64), ARCH_FOREIGN);
	assert_int_equal(arch_fit(&amd64, &x32), ARCH_FOREIGN);
	assert_int_equal(arch_fit(&amd64, &arm64), ARCH_FOREIGN);
	assert_int_equal(arch_fit(&arm64, &armeb), ARCH_FOREIGN);
}

static void elf_headers_are_read(void **state)
{
	unsigned char h[64] = { 0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2MSB };
	struct arch a = { 0 };
	char text[64];

	h[19] = EM_MIPS; /* big-endian: the low byte comes last */
	assert_int_equal(arch_parse(h, sizeof(h), &a), 0);
	assert_int_equal(a.machine, EM_MIPS);
	assert_string_equal(arch_describe(&a, text, sizeof(text)),
			    "mips, 32-bit, big-endian");
	assert_int_equal(arch_parse(h, 51, &a), -ENOEXEC);
	h[4] = 3;
	assert_int_equal(arch_parse(h, sizeof(h), &a), -ENOEXEC);
	h[4] = ELFCLASS32;
	h[5] = 0;
	assert_int_equal(arch_parse(h, sizeof(h), &a), -ENOEXEC);
	assert_int_equal(arch_parse("#!/bin/sh", 9, &a), -ENOEXEC);
}

static void emulators_need_flag_f(void **state)
{
	static const unsigned char program[] = { 0x7f, 'E', 'L', 'F', 1, 2 };
	static const char with_f[] = "enabled\ninterpreter /usr/bin/e\n"
				     "flags: OCF\noffset 0\n"
				     "magic 7f454c460101\nmask ffffffffff00\n";
	static const char without[] = "enabled\ninterpreter /usr/bin/F\n"
				      "flags: OC\noffset 0\n"
				      "magic 7f454c460102\n";
	static const char shifted[] = "enabled\ninterpreter /e\nflags: F\n"
				      "offset 2\nmagic 4c46\n";
	static const char beyond[] = "enabled\ninterpreter /e\nflags: F\n"
				     "offset 5\nmagic 0201\n";
	static const char odd[] = "enabled\ninterpreter /e\nflags: F\n"
				  "offset 0\nmagic 7f4\n";
	char disabled[sizeof(with_f) + 1] = "dis";
	size_t n = sizeof(program);

	(void)strcpy(disabled + 3, with_f + 2);
	assert_true(arch_binfmt_match(with_f, program, n));
	assert_true(arch_binfmt_match(shifted, program, n));
	assert_false(arch_binfmt_match(without, program, n));
	assert_false(arch_binfmt_match(beyond, program, n));
	assert_false(arch_binfmt_match(odd, program, n));
	assert_false(arch_binfmt_match(disabled, program, n));
	assert_false(arch_binfmt_match("", program, n));
}

static void servers_are_told_from_directories(void **state)
{
	assert_true(attach_is_server("host:/"));
	assert_true(attach_is_server("192.0.2.1:/export/root"));
	assert_true(attach_is_server("[2001:db8::1]:/export"));
	assert_false(attach_is_server("/mnt/host:/x"));
	assert_false(attach_is_server("./host:/x"));
	assert_false(attach_is_server(":/x"));
	assert_false(attach_is_server("host:x"));
	assert_false(attach_is_server("directory"));
}

RUN_TESTS(cmocka_unit_test(order_is_safe),
	  cmocka_unit_test(attributes_are_tight),
	  cmocka_unit_test(absent_parts_have_no_steps),
	  cmocka_unit_test(bad_binds_are_refused),
	  cmocka_unit_test(environment_is_of_a_login),
	  cmocka_unit_test(shells_are_login_shells),
	  cmocka_unit_test(command_keeps_its_arguments),
	  cmocka_unit_test(steps_are_described), cmocka_unit_test(machines_fit),
	  cmocka_unit_test(elf_headers_are_read),
	  cmocka_unit_test(emulators_need_flag_f),
	  cmocka_unit_test(servers_are_told_from_directories))

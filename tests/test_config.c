/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_config.c: what options and sources mean, and how they are refused. */
#include "run.h"

#include "../fs/config.h"

/* Apply @options to the defaults; the sentence goes to *@ret_why. */
static int parse(const char *options, struct config *c, char **ret_why)
{
	config_init(c);
	*ret_why = NULL;
	return config_set_options(c, options, ret_why);
}

static void accepts(const char *options, struct config *c)
{
	char *why;

	assert_int_equal(parse(options, c, &why), 0);
	assert_null(why);
}

static void refuses(const char *options, int err, const char *part)
{
	struct config c;
	char *why;

	assert_int_equal(parse(options, &c, &why), err);
	assert_non_null(why);
	if (!strstr(why, part))
		fail_msg("%s: \"%s\" is not in \"%s\"", options, part, why);
	free(why);
	config_done(&c);
}

static void test_defaults(void **state)
{
	struct config c;

	accepts("", &c);
	assert_false(c.read_only || c.soft || c.nosuid || c.nodev || c.noexec);
	assert_int_equal(c.nconnect, 4);
	assert_int_equal(c.ac_ms, 30000);
	assert_int_equal(c.timeo_ms, 60000);
	assert_int_equal(c.areas_n, 0);
	assert_false(c.areas_given);
	assert_int_equal(c.policies_n, 0);
	assert_int_equal(c.delay_ms, 30000);
	assert_int_equal(c.log_bytes_max, UINT64_C(4) << 30);
	assert_false(c.fsync_server || c.steal_lease);
	config_done(&c);
}

static void test_nfs_names(void **state)
{
	struct config c;

	accepts("ro,soft,timeo=15,retrans=0,port=2049,mountport=20048,"
		"nconnect=16,rsize=8192,wsize=16384,actimeo=5,nosuid,nodev,"
		"noexec",
		&c);
	assert_true(c.read_only && c.soft && c.nosuid && c.nodev && c.noexec);
	assert_int_equal(c.timeo_ms, 1500);
	assert_int_equal(c.retrans, 0);
	assert_int_equal(c.port, 2049);
	assert_int_equal(c.mountport, 20048);
	assert_int_equal(c.nconnect, 16);
	assert_int_equal(c.read_bytes_max, 8192);
	assert_int_equal(c.write_bytes_max, 16384);
	assert_int_equal(c.ac_ms, 5000);
	config_done(&c);
}

static void test_last_one_wins(void **state)
{
	struct config c;

	accepts("ro,soft,nosuid,ac=1,rw,hard,suid,ac=forever", &c);
	assert_false(c.read_only || c.soft || c.nosuid);
	assert_int_equal(c.ac_ms, CONFIG_AC_FOREVER);
	config_done(&c);
	accepts("ac=forever,noac", &c);
	assert_int_equal(c.ac_ms, 0);
	config_done(&c);
}

static void test_sizes_are_made_to_fit(void **state)
{
	struct config c;

	accepts("rsize=1,wsize=4294967295", &c);
	assert_int_equal(c.read_bytes_max, 4096);
	assert_int_equal(c.write_bytes_max, LIMIT_IO_BYTES);
	config_done(&c);
	accepts("rsize=10000", &c);
	assert_int_equal(c.read_bytes_max, 9216);
	config_done(&c);
}

static void test_without_effect(void **state)
{
	struct config c;

	accepts("auto,rw,hard,intr,nolock", &c);
	config_done(&c);
	accepts("noauto,nointr,lock,local_lock=all,vers=3,nfsvers=3,proto=tcp,"
		"tcp,defaults,_netdev,user,nofail,x-systemd.automount,"
		"noatime,relatime,nodiratime,sec=sys,ac,async,,",
		&c);
	assert_int_equal(c.ac_ms, 30000);
	config_done(&c);
}

static void test_refused(void **state)
{
	refuses("frobnicate", -ENOENT, "unknown option 'frobnicate'");
	refuses("rw,frob=1", -ENOENT, "unknown option 'frob'");
	refuses("vers=4.1", -EINVAL, "only NFS version 3");
	refuses("nfsvers=4", -EINVAL, "only NFS version 3");
	refuses("udp", -EINVAL, "only TCP");
	refuses("proto=udp", -EINVAL, "only TCP");
	refuses("sec=krb5p", -EINVAL, "sec=krb5p");
	refuses("remount", -EINVAL, "unmount and mount again");
	refuses("ro=1", -EINVAL, "takes no value");
	refuses("timeo", -EINVAL, "needs a value");
	refuses("timeo=", -EINVAL, "whole number");
	refuses("timeo=-1", -EINVAL, "whole number");
	refuses("timeo=+1", -EINVAL, "whole number");
	refuses("timeo= 1", -EINVAL, "whole number");
	refuses("timeo=1.5", -EINVAL, "whole number");
	refuses("timeo=0", -EINVAL, "from 1 to");
	refuses("timeo=99999999999999999999", -EINVAL, "whole number");
	refuses("ac=4294968", -EINVAL, "to 4000000");
	refuses("port=65536", -EINVAL, "from 0 to 65535");
	refuses("nconnect=0", -EINVAL, "from 1 to 16");
	refuses("nconnect=17", -EINVAL, "from 1 to 16");
	refuses("cachedir=here", -EINVAL, "absolute path");
	refuses("record=here", -EINVAL, "absolute path");
}

static void test_sloppy(void **state)
{
	struct config c;

	config_init(&c);
	c.sloppy = true;
	assert_int_equal(config_set_options(&c, "frobnicate,a=b,ro", NULL), 0);
	assert_true(c.read_only);
	assert_int_equal(config_set_options(&c, "vers=4", NULL), -EINVAL);
	config_done(&c);
}

static void test_areas(void **state)
{
	struct config c;

	accepts("tmp=//var/tmp//portage/,tmp=/mem:tmpfs,tmp=/x:/data/x", &c);
	assert_true(c.areas_given);
	assert_int_equal(c.areas_n, 3);
	assert_string_equal(c.areas[0].path, "/var/tmp/portage");
	assert_int_equal(c.areas[0].kind, AREA_DIR);
	assert_null(c.areas[0].dir);
	assert_string_equal(c.areas[1].path, "/mem");
	assert_int_equal(c.areas[1].kind, AREA_TMPFS);
	assert_string_equal(c.areas[2].path, "/x");
	assert_string_equal(c.areas[2].dir, "/data/x");
	config_done(&c);

	accepts("tmp=/a,notmp", &c);
	assert_true(c.no_areas);
	assert_int_equal(c.areas_n, 0);
	config_done(&c);
	accepts("notmp,tmp=/a", &c);
	assert_false(c.no_areas);
	assert_int_equal(c.areas_n, 1);
	config_done(&c);

	refuses("tmp=", -EINVAL, "absolute path below the root");
	refuses("tmp=/", -EINVAL, "absolute path below the root");
	refuses("tmp=a/b", -EINVAL, "absolute path below the root");
	refuses("tmp=/a/../b", -EINVAL, "absolute path below the root");
	refuses("tmp=/a/.", -EINVAL, "absolute path below the root");
	refuses("tmp=/a:b", -EINVAL, "after the colon");
	refuses("tmp=/a:", -EINVAL, "after the colon");
	refuses("tmp=/a,tmp=//a/", -EINVAL, "already");
}

static void test_area_limit(void **state)
{
	struct config c;
	char option[32];

	config_init(&c);
	for (int i = 0; i < LIMIT_TMP_AREAS; i++) {
		(void)snprintf(option, sizeof(option), "tmp=/a%d", i);
		assert_int_equal(config_set_options(&c, option, NULL), 0);
	}
	assert_int_equal(config_set_options(&c, "tmp=/more", NULL), -EINVAL);
	config_done(&c);
}

static void test_policies(void **state)
{
	struct config c;

	accepts("through=/,back=//usr/,through=/etc,back=/usr/local", &c);
	assert_int_equal(c.policies_n, 4);
	assert_string_equal(c.policies[0].path, "/");
	assert_true(c.policies[0].through);
	assert_string_equal(c.policies[1].path, "/usr");
	assert_false(c.policies[1].through);
	assert_string_equal(c.policies[2].path, "/etc");
	assert_true(c.policies[2].through);
	assert_string_equal(c.policies[3].path, "/usr/local");
	assert_false(c.policies[3].through);
	config_done(&c);
	accepts("back=//", &c);
	assert_string_equal(c.policies[0].path, "/");
	config_done(&c);

	refuses("through", -EINVAL, "needs a value");
	refuses("through=", -EINVAL, "through=: want an absolute path");
	refuses("back=usr", -EINVAL, "back=usr: want an absolute path");
	refuses("through=/a/../b", -EINVAL, "without . and ..");
	refuses("through=/.", -EINVAL, "without . and ..");
	refuses("through=/a,through=/a/", -EINVAL, "through=/a was given");
	refuses("through=/,back=/", -EINVAL, "back=/: through=/ was given");
}

static void test_policy_limit(void **state)
{
	struct config c;
	char option[32];

	config_init(&c);
	for (int i = 0; i < LIMIT_POLICIES; i++) {
		(void)snprintf(option, sizeof(option), "through=/a%d", i);
		assert_int_equal(config_set_options(&c, option, NULL), 0);
	}
	assert_int_equal(config_set_options(&c, "back=/more", NULL), -EINVAL);
	config_done(&c);
}

static void test_write_back(void **state)
{
	struct config c;

	accepts("delay=0,fsync=server,logsize=16M,steal", &c);
	assert_int_equal(c.delay_ms, 0);
	assert_true(c.fsync_server && c.steal_lease);
	assert_int_equal(c.log_bytes_max, 16 << 20);
	config_done(&c);
	accepts("delay=86400,fsync=server,fsync=local,logsize=2g", &c);
	assert_int_equal(c.delay_ms, 86400000);
	assert_false(c.fsync_server);
	assert_int_equal(c.log_bytes_max, UINT64_C(2) << 30);
	config_done(&c);
	accepts("logsize=16384K", &c);
	assert_int_equal(c.log_bytes_max, 16 << 20);
	config_done(&c);
	accepts("logsize=16777216", &c);
	assert_int_equal(c.log_bytes_max, 16 << 20);
	config_done(&c);

	accepts("rw", &c);
	assert_true(c.cache_bytes_max == CONFIG_CACHE_BY_DISK);
	config_done(&c);
	accepts("cachesize=20G", &c);
	assert_true(c.cache_bytes_max == UINT64_C(20) << 30);
	config_done(&c);
	accepts("cachesize=0", &c);
	assert_true(c.cache_bytes_max == 0);
	config_done(&c);

	refuses("cachesize=7M", -EINVAL, "at least 8M");
	refuses("cachesize=all", -EINVAL, "at least 8M");
	refuses("delay=86401", -EINVAL, "from 0 to 86400");
	refuses("delay=soon", -EINVAL, "whole number");
	refuses("fsync=", -EINVAL, "'local' or 'server'");
	refuses("fsync=never", -EINVAL, "'local' or 'server'");
	refuses("steal=1", -EINVAL, "takes no value");
	refuses("logsize=", -EINVAL, "at least 16M");
	refuses("logsize=M", -EINVAL, "at least 16M");
	refuses("logsize=16777215", -EINVAL, "at least 16M");
	refuses("logsize=15M", -EINVAL, "at least 16M");
	refuses("logsize=4T", -EINVAL, "at least 16M");
	refuses("logsize=4GB", -EINVAL, "at least 16M");
	refuses("logsize=-4G", -EINVAL, "at least 16M");
	refuses("logsize=1.5G", -EINVAL, "at least 16M");
	refuses("logsize=17179869184G", -EINVAL, "at least 16M");
	refuses("logsize=99999999999999999999", -EINVAL, "at least 16M");
}

static void source_is(const char *source, const char *host, const char *path)
{
	struct config c;

	config_init(&c);
	assert_int_equal(config_set_source(&c, source, NULL), 0);
	assert_string_equal(c.source, source);
	assert_string_equal(c.host, host);
	assert_string_equal(c.path, path);
	config_done(&c);
}

static void source_refused(const char *source, const char *part)
{
	struct config c;
	char *why = NULL;

	config_init(&c);
	assert_int_equal(config_set_source(&c, source, &why), -EINVAL);
	assert_non_null(strstr(why, part));
	assert_null(c.source);
	free(why);
	config_done(&c);
}

static void test_source(void **state)
{
	source_is("pi:/srv/root", "pi", "/srv/root");
	source_is("pi:/", "pi", "/");
	source_is("pi://", "pi", "/");
	source_is("pi:/srv/root///", "pi", "/srv/root");
	source_is("192.0.2.1:/a:/b", "192.0.2.1", "/a:/b");
	source_is("[fe80::1%eth0]:/x", "fe80::1%eth0", "/x");
	source_is("[::1]:/", "::1", "/");
	source_refused("pi", "HOST:/PATH");
	source_refused("pi:srv", "HOST:/PATH");
	source_refused(":/srv", "HOST:/PATH");
	source_refused("[::1]/srv", "HOST:/PATH");
	source_refused("[::1]:srv", "HOST:/PATH");
	source_refused("[::1", "HOST:/PATH");
	source_refused("[]:/x", "HOST:/PATH");
	source_refused("fe80::1:/srv", "brackets");
	source_refused("a b:/srv", "no host name");
	source_refused("pi:/s\nrv", "no host name");
	source_refused("/a:/srv", "no host name");
}

RUN_TESTS(cmocka_unit_test(test_defaults), cmocka_unit_test(test_nfs_names),
	  cmocka_unit_test(test_last_one_wins),
	  cmocka_unit_test(test_sizes_are_made_to_fit),
	  cmocka_unit_test(test_without_effect), cmocka_unit_test(test_refused),
	  cmocka_unit_test(test_sloppy), cmocka_unit_test(test_areas),
	  cmocka_unit_test(test_area_limit), cmocka_unit_test(test_policies),
	  cmocka_unit_test(test_policy_limit),
	  cmocka_unit_test(test_write_back), cmocka_unit_test(test_source))

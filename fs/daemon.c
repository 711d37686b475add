/* SPDX-License-Identifier: GPL-2.0-or-later */
/* daemon.c: owns the layers of a mount: opens them bottom-up, waits, and closes
 * them in the reverse order. The order is the table `layers` and nowhere else:
 *
 *   runtime   the files under /run/nfsrootfs are removed last: as long as they
 *             are there somebody may wait for this process
 *   remote    the server; meta, the cache of names; blob, that of contents
 *   record    what is used, for -o record=; written when all is in the cache
 *   lease     says on the server that we write; before the vfs looks at the
 *             root, whose times it changes; not on a read-only mount
 *   journal   the write-back log
 *   vfs       over remote, meta and the log
 *   sending   the thread that sends what the log holds; closing drains it
 *   front     the mount in the kernel, and the thread that serves it
 *   areas     made through the mount; undone while it is still served
 *   control   answers from all of the above: on last, off first
 *
 * States, under `lock`, since a signal means something else in each:
 *   OPENING   nothing is mounted yet: a signal ends the process at once
 *   LEASING   nor here, but the server is told that we write: a signal breaks
 *             off what waits for the server, so that this can be taken back; a
 *             second one ends the process
 *   MOUNTING  mounted, areas being made through it: a signal breaks the
 *             connection, so that whoever waits in it (this process) wakes
 *   SERVING   a signal unmounts; a second one breaks the connection
 *   CLOSING   unmounted; what is pending goes to the server, for which a hard
 *             mount waits: a signal gives that up
 *   ENDED     nothing is left to be undone
 * Signals are blocked in all threads and taken by one thread with sigwait(3).
 */
#include "daemon_int.h"

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "../cache/msg.h"
#include "mountinfo.h"
#include "runtime.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

/* ---- signals ---- */

static void on_signal(struct daemon *d)
{
	mutex_lock(&d->lock);
	d->signals_n++;
	switch (d->state) {
	case LEASING:
		if (d->signals_n == 1) {
			remote_retry_give_up(d->remote);
			break;
		}
		/* fall through */
	case OPENING:
	case CLOSING:
		runtime_remove(d->config->mountpoint);
		_exit(EXITCODE_INTERRUPTED);
	case SERVING:
		if (d->signals_n == 1)
			break;
		/* fall through */
	case MOUNTING:
		/* Once is a request, twice is force. */
		if (d->front)
			fuse_front_stop(d->front);
		if (d->front)
			fuse_front_stop(d->front);
		break;
	case ENDED:
		break;
	}
	mutex_unlock(&d->lock);
	(void)eventfd_write(d->wake_fd, 1);
}

static void ending_signals(sigset_t *ret)
{
	(void)sigemptyset(ret);
	(void)sigaddset(ret, SIGTERM);
	(void)sigaddset(ret, SIGINT);
	(void)sigaddset(ret, SIGHUP);
}

static void *signal_main(void *arg)
{
	sigset_t set;
	int signo;

	ending_signals(&set);
	for (;;)
		if (sigwait(&set, &signo) == 0)
			on_signal(arg);
	return NULL;
}

/* The thread lasts as long as the process. */
static int start_signals(struct daemon *d)
{
	pthread_t thread;
	sigset_t set;
	int r;

	ending_signals(&set);
	(void)signal(SIGPIPE, SIG_IGN);
	r = pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (r == 0)
		r = pthread_create(&thread, NULL, signal_main, d);
	if (r == 0)
		r = pthread_detach(thread);
	return -r;
}

void daemon_enter(struct daemon *d, enum state state)
{
	mutex_lock(&d->lock);
	d->state = state;
	mutex_unlock(&d->lock);
}

bool daemon_asked_to_end(struct daemon *d)
{
	bool asked;

	mutex_lock(&d->lock);
	asked = d->signals_n > 0;
	mutex_unlock(&d->lock);
	return asked;
}

/* ---- the layers ---- */

enum exitcode daemon_system_error(const char *what, int err)
{
	msg_error("%s: %s", what, msg_strerror(err));
	return EXITCODE_SYSTEM;
}

static enum exitcode runtime_open(struct daemon *d)
{
	int r = runtime_make_dir();

	return r < 0 ? daemon_system_error(RUNTIME_DIR, r) : EXITCODE_OK;
}

static void runtime_close(struct daemon *d)
{
	runtime_remove(d->config->mountpoint);
}

static void *runner_main(void *arg)
{
	struct daemon *d = arg;
	int r = fuse_front_run(d->front);

	if (r < 0)
		msg_error("%s: serving the mount ended: %s",
			  d->config->mountpoint, msg_strerror(r));
	__atomic_store_n(&d->gone, true, __ATOMIC_RELEASE);
	(void)eventfd_write(d->wake_fd, 1);
	return NULL;
}

static enum exitcode front_open(struct daemon *d)
{
	CLEANUP_FREE char *why = NULL;
	struct fuse_front *front;
	int r;

	/* Before it: a process that ends now leaves a dead mount. */
	daemon_enter(d, MOUNTING);
	r = fuse_front_open(d->config, d->vfs, &d->stats, d->record, &front,
			    &why);
	if (r < 0) {
		daemon_enter(d, CLOSING);
		msg_error("cannot mount: %s", why ? why : msg_strerror(r));
		return EXITCODE_FAILED;
	}
	mutex_lock(&d->lock);
	d->front = front;
	mutex_unlock(&d->lock);
	r = pthread_create(&d->runner, NULL, runner_main, d);
	if (r != 0) {
		daemon_enter(d, CLOSING);
		fuse_front_close(front);
		return daemon_system_error("thread", r);
	}
	return EXITCODE_OK;
}

static bool is_mounted(const char *where)
{
	struct mountinfo m;
	const struct mountinfo_entry *e;
	bool yes;

	if (mountinfo_read("/proc/self/mountinfo", &m) < 0)
		return false;
	e = mountinfo_at(&m, where);
	yes = e && mountinfo_is_ours(e);
	mountinfo_done(&m);
	return yes;
}

/* Unmounts unless that has happened; waits until nobody is inside any more. */
static void front_close(struct daemon *d)
{
	const char *where = d->config->mountpoint;

	/* A plain umount(2) first: it returns when the kernel has written back
	 * all it had, with us still serving. Where that is refused because the
	 * mount is in use, it goes out of sight and ends with its last user. */
	if (!__atomic_load_n(&d->gone, __ATOMIC_ACQUIRE) && is_mounted(where) &&
	    umount2(where, UMOUNT_NOFOLLOW) < 0) {
		msg_warning("%s is in use: unmounted for all but its users; a "
			    "second signal ends it for them, too",
			    where);
		fuse_front_stop(d->front);
	}
	(void)pthread_join(d->runner, NULL);
	daemon_enter(d, CLOSING);
	fuse_front_close(d->front);
}

static int pin(void *arg, const char *path)
{
	struct daemon *d = arg;

	return vfs_pin_path(d->vfs, path);
}

/* Where a chroot has its own filesystems mounted, by chrootctl or by hand: were
 * such a directory found gone, the kernel would detach what is on it. */
static void pin_usual_mount_points(struct daemon *d)
{
	static const char *const paths[] = { "/proc", "/sys", "/dev", "/run" };

	for (size_t k = 0; k < ARRAY_LEN(paths); k++)
		(void)vfs_pin_path(d->vfs, paths[k]); /* not there: no matter */
}

static enum exitcode local_areas_open(struct daemon *d)
{
	int r = areas_mount(d->config, d->cache, pin, d, &d->areas);

	pin_usual_mount_points(d);

	if (r == 0)
		r = runtime_write_areas(d->config->mountpoint, &d->areas);
	if (r == 0)
		return EXITCODE_OK;
	msg_error("%s: the tmp areas cannot be made: %s",
		  d->config->mountpoint, msg_strerror(r));
	areas_umount(&d->areas);
	return EXITCODE_FAILED;
}

static void local_areas_close(struct daemon *d)
{
	areas_umount(&d->areas);
}

static enum exitcode answers_open(struct daemon *d)
{
	int r;

	d->status = (struct status_source){
		.config = d->config, .cache = d->cache, .areas = &d->areas,
		.stats = &d->stats, .meta = d->meta, .blob = d->blob,
		.contents = d->contents,
		.remote = d->remote,
		.vfs = d->vfs, .wback = d->wback, .flush = d->flush,
		.since = time(NULL),
	};
	r = control_open(d->config->mountpoint, status_answer, &d->status,
			 &d->control);
	if (r == -EADDRINUSE)
		msg_error("%s is served already, in another mount namespace",
			  d->config->mountpoint);
	else if (r < 0)
		msg_error("control socket: %s", msg_strerror(r));
	return r < 0 ? EXITCODE_FAILED : EXITCODE_OK;
}

static void answers_close(struct daemon *d)
{
	control_close(d->control);
}

static const struct layer {
	enum exitcode (*open)(struct daemon *d);
	void (*close)(struct daemon *d);
} layers[] = {
	{ runtime_open, runtime_close },
	{ layer_server_open, layer_server_close },
	{ layer_cache_open, layer_cache_close },
	{ layer_contents_open, layer_contents_close },
	{ layer_record_open, layer_record_close },
	{ layer_lease_open, layer_lease_close },
	{ layer_journal_open, layer_journal_close },
	{ layer_files_open, layer_files_close },
	{ layer_sending_open, layer_sending_close },
	{ front_open, front_close },
	{ local_areas_open, local_areas_close },
	{ answers_open, answers_close },
};

/* ---- the process ---- */

/* A build that eats all memory must not take the root it runs in with it; and
 * memory that we ask for while the kernel writes back through us must not wait
 * for that very write-back. Both are inherited by the threads. */
static void protect(void)
{
	CLEANUP_CLOSE int fd =
		open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || dprintf(fd, "-900\n") < 0)
		msg_debug("daemon", "oom_score_adj: %s", msg_strerror(errno));
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) < 0)
		msg_debug("daemon", "PR_SET_IO_FLUSHER: %s",
			  msg_strerror(errno));
}

/* Contents pass through blocks of up to 1 MiB. malloc(3) would map each from the
 * kernel and give it back, which costs a page fault and a cleared page for every
 * 4 KiB: as much as copying it. A few MiB are kept instead. */
static void keep_memory(void)
{
	(void)mallopt(M_MMAP_THRESHOLD, 4 << 20);
	(void)mallopt(M_TRIM_THRESHOLD, 8 << 20);
	(void)mallopt(M_ARENA_MAX, 4);
}

/* The command that started us may go; nobody reads what we print. */
static void leave_terminal(int report_fd)
{
	const char zero = 0;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	msg_to_syslog();
	for (int fd = 0; null >= 0 && fd <= 2; fd++)
		(void)dup2(null, fd);
	cleanup_closep(&null);
	if (write(report_fd, &zero, 1) != 1)
		msg_debug("daemon", "the mount command is gone");
	(void)close(report_fd);
}

static void serve(struct daemon *d)
{
	eventfd_t n;

	while (eventfd_read(d->wake_fd, &n) < 0 && errno == EINTR)
		;
	msg_info("%s: %s", d->config->mountpoint,
		 __atomic_load_n(&d->gone, __ATOMIC_ACQUIRE) ?
			 "unmounted" :
			 "asked to end: unmounting");
}

/* Opens the layers, serves, closes them. */
static enum exitcode run(struct daemon *d, int report_fd)
{
	enum exitcode x = EXITCODE_OK;
	size_t n = 0;

	while (x == EXITCODE_OK && n < ARRAY_LEN(layers)) {
		x = layers[n].open(d);
		if (x == EXITCODE_OK)
			n++;
		if (daemon_asked_to_end(d))
			x = EXITCODE_INTERRUPTED;
	}
	if (x == EXITCODE_OK) {
		daemon_enter(d, SERVING);
		if (report_fd >= 0)
			leave_terminal(report_fd);
		msg_info("%s mounted on %s", d->config->source,
			 d->config->mountpoint);
		serve(d);
	}
	while (n-- > 0)
		layers[n].close(d);
	daemon_enter(d, ENDED);
	return x;
}

enum exitcode daemon_run(struct config *config, const struct cachedir *cache,
			 int report_fd)
{
	/* Not on the stack: the signal thread is never joined. */
	static struct daemon d = { .lock = MUTEX_INIT };
	enum exitcode x;
	int r;

	d.config = config;
	d.cache = cache;
	(void)umask(0077);
	protect();
	keep_memory();
	d.wake_fd = eventfd(0, EFD_CLOEXEC);
	r = d.wake_fd < 0 ? -errno : chdir("/") < 0 ? -errno : 0;
	if (r == 0)
		r = start_signals(&d);
	if (r < 0)
		return daemon_system_error("daemon", r);
	x = run(&d, report_fd);
	msg_debug("daemon", "%s: nothing left", config->mountpoint);
	return x;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuse_session.c: owns the descriptor of /dev/fuse, what is negotiated with the
 * kernel, and the threads that serve it.
 *
 * What is asked of the kernel, and why:
 *   no OPEN, OPENDIR, CREATE, FLUSH, RELEASE, GETXATTR, LSEEK, COPY_FILE_RANGE
 *                      each is answered once with ENOSYS, and the kernel stops
 *                      sending it: requests a file are what FUSE costs. Hence
 *                      no state of an open file exists here.
 *   no ATOMIC_O_TRUNC  O_TRUNC would travel in the OPEN that is never sent;
 *                      without it the kernel sends a SETATTR
 *   no WRITEBACK_CACHE what write(2) was told is done is with us, not in the
 *                      page cache, where it would die with this process; and
 *                      attributes are ours to tell. With it one WRITE would do
 *                      for what was written in many pieces, but each close makes
 *                      the block count unknown to the kernel: a GETATTR for each
 *                      file that is opened and looked at
 *   PARALLEL_DIROPS    lookups in one directory side by side. libfuse 3.14 does
 *                      not pass the bit on, so it is set in the INIT reply on
 *                      its way out
 *   HANDLE_KILLPRIV_V2 a chown does not ask for the mode first: clearing setuid
 *                      and setgid is ours to do (vfs_setattr()). Set as the one
 *                      before; a kernel that does not know it ignores the bit,
 *                      and clears them itself
 *   READDIRPLUS always, not by the kernel's guess: our cache has the attributes
 *                      at hand
 *   CACHE_SYMLINKS     a symlink's target is asked for once
 */
#include "fuse_ops.h"
#include "fuse_session.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/mount.h>
#include <sys/uio.h>

/* ---- negotiation ---- */

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	const unsigned wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_READDIRPLUS |
				FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_ASYNC_DIO |
				FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_SPLICE_READ;
	struct fuse_front *f = userdata;

	f->expires = conn->capable & FUSE_CAP_EXPIRE_ONLY;
	conn->want = conn->capable & wanted;
	conn->max_write = LIMIT_IO_BYTES;
	conn->max_readahead = LIMIT_IO_BYTES;
	conn->max_background = LIMIT_THREADS_MAX;
	conn->congestion_threshold = LIMIT_THREADS_MAX * 3 / 4;
	conn->time_gran = 1;
}

static ssize_t hook_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct fuse_front *f = userdata;

	/* The first reply is INIT's, before other threads exist: from then on
	 * this is only read. iov[0] is the header, iov[1] the answer. */
	if (!f->init_replied) {
		f->init_replied = true;
		if (count == 2 &&
		    iov[1].iov_len >=
			    offsetof(struct fuse_init_out, max_background)) {
			struct fuse_init_out *out = iov[1].iov_base;

			out->flags |= FUSE_PARALLEL_DIROPS |
				      FUSE_HANDLE_KILLPRIV_V2;
		}
	}
	return writev(fd, iov, count);
}

static ssize_t hook_read(int fd, void *buf, size_t len, void *userdata)
{
	(void)userdata;
	return read(fd, buf, len);
}

/* ---- telling the kernel ---- */

static void tell_attr(void *arg, uint64_t ino)
{
	struct fuse_front *f = arg;

	(void)fuse_lowlevel_notify_inval_inode(f->session, ino, -1, 0);
}

static void tell_contents(void *arg, uint64_t ino)
{
	struct fuse_front *f = arg;

	(void)fuse_lowlevel_notify_inval_inode(f->session, ino, 0, 0);
}

/* As libfuse does, whose function for it takes other arguments in every second
 * version. A kernel that does not know the flag would take the name away, and
 * with it what is mounted there: it is told nothing, and asks when the time of
 * the name is over. */
static void tell_name(void *arg, uint64_t dir, const char *name)
{
	struct fuse_front *f = arg;
	struct {
		uint64_t parent;
		uint32_t namelen, flags;
	} what = { .parent = dir, .namelen = (uint32_t)strlen(name),
		   .flags = 1 /* FUSE_EXPIRE_ONLY */ };
	struct fuse_out_header h = {
		.len = (uint32_t)(sizeof(h) + sizeof(what)) + what.namelen + 1,
		.error = FUSE_NOTIFY_INVAL_ENTRY,
	};
	struct iovec iov[] = { { &h, sizeof(h) },
			       { &what, sizeof(what) },
			       { (char *)(uintptr_t)name, what.namelen + 1 } };

	if (f->expires &&
	    writev(fuse_session_fd(f->session), iov, ARRAY_LEN(iov)) < 0 &&
	    errno != ENOENT)
		msg_debug("fuse", "expire %s: %s", name, msg_strerror(errno));
}

/* ---- mounting ---- */

static int explain(char **ret_why, int err, const char *what, const char *hint)
{
	if (asprintf(ret_why, "%s: %s%s", what, msg_strerror(err), hint) < 0)
		*ret_why = NULL;
	return err;
}

static int open_device(char **ret_why)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	return explain(ret_why, -errno, "cannot open /dev/fuse",
		       errno == ENOENT || errno == ENODEV ?
			       "; load the kernel module: modprobe fuse" :
			       "");
}

static int mount_kernel(struct fuse_front *f, int fd, char **ret_why)
{
	const struct config *c = f->config;
	unsigned long flags = (c->read_only ? MS_RDONLY : 0) |
			      (c->nosuid ? MS_NOSUID : 0) |
			      (c->nodev ? MS_NODEV : 0) |
			      (c->noexec ? MS_NOEXEC : 0);
	char options[160];
	struct statx st;

	(void)snprintf(options, sizeof(options),
		       "fd=%d,rootmode=40000,user_id=0,group_id=0,"
		       "default_permissions,allow_other",
		       fd);
	if (mount(c->source, c->mountpoint, "fuse.nfsrootfs", flags, options) <
	    0)
		return explain(ret_why, -errno, c->mountpoint, "");
	f->mounted = true;
	/* A plain stat would ask the daemon, which does not serve yet. */
	if (statx(AT_FDCWD, c->mountpoint, AT_STATX_DONT_SYNC, STATX_TYPE,
		  &st) == 0)
		f->connection = st.stx_dev_minor;
	return 0;
}

/* The kernel's own default reads 128 KiB ahead: a round trip each. */
static void set_readahead(const struct fuse_front *f)
{
	char path[64];
	CLEANUP_CLOSE int fd = -1;

	(void)snprintf(path, sizeof(path), "/sys/class/bdi/0:%u/read_ahead_kb",
		       f->connection);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || dprintf(fd, "%d\n", LIMIT_IO_BYTES / 1024) < 0)
		msg_debug("fuse", "%s: %s", path, msg_strerror(errno));
}

/* Answer the kernel's first request, INIT, so that the mount is usable. */
static int answer_init(struct fuse_front *f)
{
	struct fuse_buf buf = { 0 };
	int r = fuse_session_receive_buf(f->session, &buf);

	if (r > 0) {
		fuse_session_process_buf(f->session, &buf);
		r = 0;
	} else if (r == 0) {
		r = -ENODEV;
	}
	free(buf.mem);
	return r;
}

int fuse_front_open(const struct config *config, struct vfs *v,
		    struct stats *stats, struct record *record,
		    struct fuse_front **ret, char **ret_why)
{
	static const struct fuse_custom_io io = { .writev = hook_writev,
						  .read = hook_read };
	char *argv[] = { (char *)(uintptr_t) "nfsrootfs", NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	struct fuse_lowlevel_ops ops = fuse_ops;
	CLEANUP_CLOSE int fd = -1;
	struct fuse_front *f;
	int r;

	*ret_why = NULL;
	fd = open_device(ret_why);
	if (fd < 0)
		return fd;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->config = config;
	f->vfs = v;
	f->stats = stats;
	f->record = record;
	ops.init = op_init;
	f->session = fuse_session_new(&args, &ops, sizeof(ops), f);
	fuse_opt_free_args(&args);
	r = f->session ? 0 : -EINVAL;
	if (r == 0)
		r = mount_kernel(f, fd, ret_why);
	if (r == 0 && fuse_session_custom_io(f->session, &io, fd) < 0)
		r = explain(ret_why, -EIO, "libfuse refuses the descriptor",
			    "");
	if (r == 0) {
		(void)steal_fd(&fd); /* the session's now */
		r = answer_init(f);
	}
	if (r < 0) {
		fuse_front_close(f);
		return r;
	}
	set_readahead(f);
	vfs_set_kernel(v, &(struct vfs_kernel){ .attr = tell_attr,
						.contents = tell_contents,
						.name = tell_name, .arg = f });
	*ret = f;
	return 0;
}

int fuse_front_run(struct fuse_front *f)
{
	struct fuse_loop_config *cfg = fuse_loop_cfg_create();
	int r;

	if (!cfg)
		return -ENOMEM;
	fuse_loop_cfg_set_clone_fd(cfg, 0);
	fuse_loop_cfg_set_max_threads(cfg, LIMIT_THREADS_MAX);
	fuse_loop_cfg_set_idle_threads(cfg, 8);
	r = fuse_session_loop_mt(f->session, cfg);
	fuse_loop_cfg_destroy(cfg);
	return r > 0 ? 0 : r;
}

/* Break the connection: what is still mounted somewhere sees ENOTCONN. */
static void abort_connection(const struct fuse_front *f)
{
	CLEANUP_CLOSE int fs = -1;
	CLEANUP_CLOSE int mnt = -1;
	CLEANUP_CLOSE int fd = -1;
	char path[32];

	fs = fsopen("fusectl", FSOPEN_CLOEXEC);
	if (fs < 0 || fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return;
	mnt = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	if (mnt < 0)
		return;
	(void)snprintf(path, sizeof(path), "%u/abort", f->connection);
	fd = openat(mnt, path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, "1", 1) < 0)
		msg_debug("fuse", "abort: %s", msg_strerror(errno));
}

void fuse_front_stop(struct fuse_front *f)
{
	/* First out of sight, and served as long as somebody is inside; asked
	 * again, by force. */
	if (__atomic_exchange_n(&f->stopping, true, __ATOMIC_RELAXED)) {
		fuse_session_exit(f->session);
		abort_connection(f);
	} else if (umount2(f->config->mountpoint, MNT_DETACH) < 0) {
		msg_debug("fuse", "umount: %s", msg_strerror(errno));
	}
}

/* Is our mount still what is seen at the mount point? */
static bool still_mounted(const struct fuse_front *f)
{
	struct statx st;

	return f->mounted &&
	       statx(AT_FDCWD, f->config->mountpoint, AT_STATX_DONT_SYNC,
		     STATX_TYPE, &st) == 0 &&
	       st.stx_dev_major == 0 && st.stx_dev_minor == f->connection;
}

void fuse_front_close(struct fuse_front *f)
{
	if (!f)
		return;
	vfs_set_kernel(f->vfs, NULL);
	/* After the loop has ended nobody answers: detach without asking. */
	if (f->session)
		fuse_session_destroy(f->session);
	if (f->mounted && (errno = 0, still_mounted(f) || errno == ENOTCONN))
		(void)umount2(f->config->mountpoint, MNT_DETACH);
	free(f);
}

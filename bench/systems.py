# SPDX-License-Identifier: GPL-2.0-or-later
"""systems.py: the filesystems that bench/run compares.

A Testbed owns the server, its exports and the scratch directory. A System is
one thing to measure: it knows how to come up, where its work directory is,
and what it has counted. Each networked system has a relay of its own (so that
its calls are counted apart from the others') and an export of its own (so
that no cache of the server is warmed by another), but all share one server
and one disk, the one the local system uses, too.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import time

# None of the commands that set a system up or down, or drain it, needs as long
# as this.
COMMAND_SECONDS_MAX = 300
BENCH = os.path.dirname(os.path.abspath(__file__))


class Failure(Exception):
    """Something the user has to know; no traceback."""


def run(*args, **kw):
    """Run a command quietly; its output is shown only when it fails."""
    try:
        p = subprocess.run(args, stdin=subprocess.DEVNULL, text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           timeout=COMMAND_SECONDS_MAX, **kw)
    except subprocess.TimeoutExpired:
        raise Failure("%s: no end after %d s" %
                      (" ".join(args), COMMAND_SECONDS_MAX)) from None
    if p.returncode != 0:
        raise Failure("%s: exit status %d\n%s" %
                      (" ".join(args), p.returncode, p.stdout.strip()))
    return p.stdout


def own_mounts():
    """Start this program again in a mount namespace of its own, if it shares
    its caller's: who makes a namespace of the caller's meanwhile gets a copy of
    every mount in it, and a mount that somebody has a copy of is in use."""
    ours, caller = (os.readlink("/proc/%s/ns/mnt" % pid)
                    for pid in ("self", os.getppid()))
    if ours == caller and shutil.which("unshare"):
        os.execvp("unshare", ["unshare", "-m", sys.executable, *sys.argv])


class Testbed:
    def __init__(self, build, scratch, memfs=None):
        self.build = build
        self.scratch = scratch
        self.memfs = memfs      # the program memfs_ll of libfuse's examples
        self.server = None

    def path(self, *parts):
        return os.path.join(self.scratch, *parts)

    def tool(self, name):
        """A program of the build tree, or None when it is not built."""
        path = os.path.join(self.build, name)
        return path if os.access(path, os.X_OK) else None

    def start_server(self, names):
        """Export a directory /NAME for each name, new or as it is."""
        args = []
        for name in names:
            os.makedirs(self.path("server", name), exist_ok=True)
            args += ["--export", "/%s=%s" % (name, self.path("server", name))]
        out = run(os.path.join(BENCH, "server"), "start",
                  "--state", self.path("ganesha"), *args)
        self.server = dict(line.split("=", 1) for line in out.splitlines())

    def stop_server(self):
        if self.server:
            run(os.path.join(BENCH, "server"), "stop", self.path("ganesha"))
            self.server = None


# The procedures that change something.
CHANGES = ["SETATTR", "WRITE", "CREATE", "MKDIR", "SYMLINK", "MKNOD", "REMOVE",
           "RMDIR", "RENAME", "LINK"]


class Relay:
    def __init__(self, bed, name):
        self.program = bed.tool("bench/relay")
        self.control = bed.path(name + ".ctl")
        maps = []
        for port in (bed.server["port"], bed.server["mountport"]):
            maps += ["--map", "127.0.0.1:0=127.0.0.1:" + port]
        self.proc = subprocess.Popen(
            [self.program, *maps, "--control", self.control],
            stdout=subprocess.PIPE, text=True, start_new_session=True)
        words = self.proc.stdout.readline().split()
        if len(words) != 3:
            raise Failure("the relay did not start")
        self.port, self.mountport = words[1:]

    def ctl(self, *words):
        return run(self.program, "ctl", self.control, *words)

    def delay(self, one_way_ms):
        self.ctl("delay", str(one_way_ms))

    def counts(self):
        return json.loads(self.ctl("counts"))

    def calls(self):
        return self.counts()["total"]

    def stop(self):
        self.proc.terminate()
        self.proc.wait()


class Local:
    """A directory of the local disk."""
    networked = False
    limited = False         # stop a phase after a time and extrapolate
    symlinks = True
    drains = False          # what it was told reaches the server later
    title = "local disk"

    def __init__(self, bed, name):
        self.bed = bed
        self.name = name

    @staticmethod
    def why_not(bed):
        """Why this system cannot run here, or None."""
        return None

    def up(self):
        os.makedirs(self.workdir(), exist_ok=True)

    def down(self):
        pass

    def before_phase(self):
        pass

    def workdir(self):
        return self.bed.path(self.name)

    def on_disk(self, path):
        """Where a path below workdir() lies without any mount of ours in
        between: looking there changes no cache."""
        return path

    def set_delay(self, one_way_ms):
        pass

    def rpcs(self):
        return None

    def fuse_requests(self):
        return None

    def drain(self):
        """All that was changed is on the server, where that is later."""

    def pending(self):
        """Files and directories that the server does not have as they are."""
        return 0


class Tmpfs(Local):
    """The kernel's filesystem in memory: what the kernel's part costs."""
    title = "tmpfs"

    def up(self):
        os.makedirs(self.workdir())
        run("mount", "-t", "tmpfs", "bench", self.workdir())

    def down(self):
        if os.path.ismount(self.workdir()):
            run("umount", self.workdir())


class Memfs(Local):
    """Memory behind FUSE, and nothing else: what FUSE costs. With these
    options the example is at its fastest."""
    title = "in-memory FUSE filesystem (libfuse's memfs_ll)"
    symlinks = False        # it cannot

    @staticmethod
    def why_not(bed):
        if not bed.memfs:
            return "not named with --memfs"
        return None if os.access(bed.memfs, os.X_OK) else \
            "%s is no program" % bed.memfs

    def up(self):
        os.makedirs(self.workdir())
        self.proc = subprocess.Popen(
            [self.bed.memfs, "-f", "-o", "writeback_cache,no_timeout",
             self.workdir()], stdin=subprocess.DEVNULL)
        for _ in range(100):
            if os.path.ismount(self.workdir()):
                return
            time.sleep(0.05)
        raise Failure("%s did not mount" % self.bed.memfs)

    def down(self):
        if os.path.ismount(self.workdir()):
            run("umount", self.workdir())
            self.proc.wait()


class Networked(Local):
    """What all mounts have in common: a relay, a mount point, an unmount. The
    export is called as the system is, or as it is told."""
    networked = True

    def __init__(self, bed, name, export=None):
        super().__init__(bed, name)
        self.export = export or name
        self.relay = None
        self.mountpoint = bed.path("mnt", name)
        self.mounted = False
        self.daemon = None      # its pid, where it is known

    def up(self):
        os.makedirs(self.mountpoint, exist_ok=True)
        if not self.relay:
            self.relay = Relay(self.bed, self.name)
        self.mount()
        self.mounted = True
        os.makedirs(self.workdir(), exist_ok=True)

    def mount(self):
        raise NotImplementedError

    def unmount(self):
        run("umount", self.mountpoint)

    def down(self):
        try:
            if self.mounted:
                self.unmount()
        except Failure as failure:
            # Nothing may be left behind, whatever went wrong before.
            print(failure, file=sys.stderr)
            subprocess.run(["umount", "-R", "-l", self.mountpoint])
            if self.daemon:
                os.kill(self.daemon, signal.SIGKILL)
        self.mounted = False
        if self.relay:
            self.relay.stop()
            self.relay = None

    def workdir(self):
        return self.mountpoint

    def on_disk(self, path):
        return self.bed.path("server", self.export,
                             os.path.relpath(path, self.mountpoint))

    def set_delay(self, one_way_ms):
        self.relay.delay(one_way_ms)

    def rpcs(self):
        return self.relay.calls()

    def changes(self):
        counts = self.relay.counts()
        return sum(counts[name] for name in CHANGES)


class Nfsrootfs(Networked):
    """nfsrootfs with its cache kept, working on the server's tree, changes
    written back: acknowledged here, sent later. Here by drain() only, so that
    what the program waits for and what is sent are measured apart."""
    title = "nfsrootfs, server's tree, write-back"
    drains = True
    options = "notmp,delay=3600"

    @staticmethod
    def why_not(bed):
        return None if bed.tool("fs/nfsrootfs") else \
            "fs/nfsrootfs is not built"

    def program(self):
        return self.bed.tool("fs/nfsrootfs")

    def cachedir(self):
        return self.bed.path("cache", self.name)

    def mount(self):
        os.makedirs(self.cachedir(), exist_ok=True)
        run(self.program(), "mount", "127.0.0.1:/" + self.export,
            self.mountpoint, "-o", "port=%s,mountport=%s,cachedir=%s,%s" %
            (self.relay.port, self.relay.mountport, self.cachedir(),
             self.options))
        self.daemon = self.status()["pid"]

    def unmount(self):
        # A process that makes itself a mount namespace just now has a copy
        # of every mount of the machine, for a moment. It is no user of ours.
        for _ in range(20):
            try:
                return run(self.program(), "umount", self.mountpoint)
            except Failure as failure:
                if "in its own mount namespace" not in str(failure):
                    raise
                busy = failure
                time.sleep(0.25)
        raise busy

    def remount(self, options=None, fresh=False):
        """Unmount and mount; with @fresh without what was kept, and with
        @options instead of those of before."""
        if self.mounted:
            self.unmount()
        self.mounted = False
        if fresh:
            shutil.rmtree(self.cachedir())
        self.options = options or self.options
        self.mount()
        self.mounted = True

    def status(self):
        return json.loads(run(self.program(), "status", "--json",
                              self.mountpoint))

    def fuse_requests(self):
        return self.status()["fuse"]["total"]

    def drain(self):
        run(self.program(), "sync", self.mountpoint)

    def pending(self):
        return self.status()["log"]["inodes"]


class NfsrootfsCold(Nfsrootfs):
    """The same with an empty cache before every phase."""
    title = "nfsrootfs, server's tree, write-back, cold"

    def before_phase(self):
        self.remount(fresh=True)


class NfsrootfsThrough(Nfsrootfs):
    """Every change waits for the server."""
    title = "nfsrootfs, server's tree, write-through"
    drains = False
    options = "notmp,through=/"


class NfsrootfsTmp(Nfsrootfs):
    """nfsrootfs, working in a tmp area."""
    title = "nfsrootfs, tmp area"
    drains = False
    AREA = "/var/tmp/portage"
    options = "tmp=" + AREA

    def workdir(self):
        return self.mountpoint + self.AREA

    def on_disk(self, path):
        return path         # a bind mount of the local disk


class Plain(Networked):
    """A synchronous NFSv3 client made of libnfs's path API."""
    limited = True
    title = "plain NFSv3 client (libnfs path API)"

    @staticmethod
    def why_not(bed):
        return None if bed.tool("bench/plainfs") else \
            "bench/plainfs is not built"

    def mount(self):
        run(self.bed.tool("bench/plainfs"), "127.0.0.1:/%s?port=%s&mountport=%s"
            % (self.export, self.relay.port, self.relay.mountport),
            self.mountpoint)


class Kernel(Networked):
    """mount -t nfs, where the kernel has it."""
    limited = True
    title = "kernel NFSv3 client"

    @staticmethod
    def why_not(bed):
        def has_nfs():
            with open("/proc/filesystems") as f:
                return any(line.split()[-1] == "nfs" for line in f)
        if not has_nfs():
            if shutil.which("modprobe"):
                subprocess.run(["modprobe", "-q", "nfs"], check=False,
                               stderr=subprocess.DEVNULL)
        if not has_nfs():
            return "this kernel has no NFS client"
        return None if shutil.which("mount.nfs") else "mount.nfs is missing"

    def mount(self):
        run("mount", "-t", "nfs", "-o",
            "vers=3,proto=tcp,mountproto=tcp,nolock,hard,port=%s,mountport=%s"
            % (self.relay.port, self.relay.mountport),
            "127.0.0.1:/" + self.export, self.mountpoint)


SYSTEMS = {
    "tmpfs": Tmpfs,
    "memfs": Memfs,
    "local": Local,
    "tmp": NfsrootfsTmp,
    "back": Nfsrootfs,
    "back-cold": NfsrootfsCold,
    "through": NfsrootfsThrough,
    "plain": Plain,
    "kernel": Kernel,
}

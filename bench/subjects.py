# SPDX-License-Identifier: GPL-2.0-or-later
"""subjects.py: what bench/reads measures. A Subject names the directory of the
server it reads, brings the systems into the state that a step is about, and
has the bench time a command on each of them, one after the other."""
import os
import shutil
import subprocess

from systems import BENCH, run
from work import Archive

MIB = 1 << 20
LARGE_MIB = 1024
DISTFILE_MIB = 256
PLAIN_MIB = 64              # of the large file, read by who would take minutes
# What a client with the whole file ahead of it has under way, and how.
WINDOW_BYTES = 16 * MIB
IO_BYTES = MIB
CONNECTIONS = 4

# A root to build in: compilers, interpreters, and many headers and sources.
ROOT_PACKAGES = "gcc,g++,libc6-dev,make,python3,libboost1.74-dev," \
    "linux-headers-amd64,golang-1.19-src,file,cmake,automake,libtool," \
    "gettext,python3-numpy"


def drop_caches():
    """Of all filesystems: the server's pages are dropped, too."""
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("3")


def read_once(path):
    """So that the server has it in memory."""
    subprocess.run(["grep", "-rc", "no such line", path],
                   stdout=subprocess.DEVNULL)


class Subject:
    export = None           # the directory of the server
    systems = ["local", "nfsrootfs", "plain", "kernel", "bare"]
    unit = "entries"        # how large it is is counted in
    each = None             # "a file": RPCs are told by unit, too
    ratios = []             # of seconds: (over, under)
    by_rtt = False          # compare with the shortest round-trip time, too
    wanted = ""             # what the figures are to be held against

    def __init__(self, bench):
        self.bench = bench
        self.units = None   # how many

    def prepare(self, directory):
        """Lay what is read into the server's @directory, once."""

    def measure(self, rtt, turns, rep):
        """All steps at one round-trip time; @turns: systems, in order."""
        raise NotImplementedError

    def warm_server(self, directory):
        """Networked systems shall wait for the network, not for the disk that
        the server happens to have."""
        subprocess.run(["find", directory, "-ls"], stdout=subprocess.DEVNULL)


class Tree(Subject):
    export = "tree"

    def prepare(self, directory):
        packed = self.bench.archive or run(
            os.path.join(BENCH, "fetch-source"), "git").strip()
        self.archive = Archive(packed, self.bench.bed.scratch)
        run("tar", "-xf", self.archive.tar, "-C", directory)
        self.units = self.archive.files

    def commands(self, system):
        tree = os.path.join(system.workdir(), self.archive.top)
        a = self.archive
        return {
            "find": (["find", tree], a.entries),
            "find -ls": (["find", tree, "-ls"], a.entries),
            "read": (["grep", "-rc", "--line-buffered", "no such line", tree],
                     a.files),
            # GNU tar reads nothing when it writes to /dev/null itself.
            "tar c": (["sh", "-c", 'tar -cf - -C "$1" . | cat >/dev/null',
                       "sh", tree], None),
        }


class Root(Subject):
    export = "root"

    def prepare(self, directory):
        # Minutes, the first time.
        subprocess.run([os.path.join(BENCH, "make-root"), directory,
                        "build-root", ROOT_PACKAGES],
                       stdout=subprocess.DEVNULL, check=True)
        self.units = int(run("sh", "-c", 'find "$1" | wc -l', "sh", directory))


class Walk(Root):
    """cold `find` over a real root"""
    name = "walk"
    each = "an entry"
    wanted = "at 5 ms 5 times faster than a plain client"
    ratios = [("bare", "nfsrootfs"), ("plain", "nfsrootfs"),
              ("nfsrootfs", "local")]

    def measure(self, rtt, turns, rep):
        for s in turns:
            if s.kind == "bare":
                argv = s.command("walk")
            else:
                argv = ["find", s.workdir()]
            if s.kind == "nfsrootfs":
                s.remount(fresh=True)
            if s.kind == "local":
                drop_caches()
            self.bench.time(self, "find", s, argv, self.units)
            if s.kind == "local":
                self.warm_server(s.workdir())


class Small(Tree):
    """cold reading of all files of a source tree"""
    name = "tree"
    unit = "files"
    each = "a file"
    wanted = "at 5 ms 8 times faster than the plain client; 1.2 READs a file"
    systems = ["local", "nfsrootfs", "plain", "kernel"]
    ratios = [("plain", "nfsrootfs"), ("nfsrootfs", "local")]

    def measure(self, rtt, turns, rep):
        for s in turns:
            if s.kind == "nfsrootfs":
                s.remount(fresh=True)
            if s.kind == "local":
                drop_caches()
            self.bench.time(self, "read", s, *self.commands(s)["read"])
            if s.kind == "local":
                read_once(s.workdir())


class Warm(Tree):
    """what has been read before, trusted for ever (ac=forever)"""
    name = "warm"
    wanted = "no RPC; 1.5 times the local disk"
    systems = ["local", "nfsrootfs"]
    ratios = [("nfsrootfs", "local")]
    COMMANDS = ["find", "read", "tar c"]

    def measure(self, rtt, turns, rep):
        ours = [s for s in turns if s.kind == "nfsrootfs"]
        for s in ours:
            s.remount("notmp,delay=3600,ac=forever", fresh=True)
            s.set_delay(0)
        for s in turns:
            subprocess.run(self.commands(s)["tar c"][0], check=True)
        for s in ours:
            s.set_delay(rtt / 2)
        for state in ["again", "remounted", "remounted, no page cache"]:
            for name in self.COMMANDS:
                for s in turns:
                    if state != "again" and s in ours:
                        s.remount()
                    if "no page cache" in state:
                        drop_caches()
                    self.bench.time(self, "%s, %s" % (name, state), s,
                                    *self.commands(s)[name])


class Remount(Root):
    """mounted again, with the default trust window, and trusted for ever"""
    name = "remount"
    by_rtt = True
    wanted = "a GETATTR a directory and a file used; at 20 ms 1.5 times of 0 ms"
    systems = ["local", "nfsrootfs"]
    ratios = [("nfsrootfs", "local")]

    def measure(self, rtt, turns, rep):
        for s in turns:
            if s.kind == "nfsrootfs" and not s.filled:
                s.set_delay(0)
                s.remount(fresh=True)
                subprocess.run(["find", s.workdir(), "-ls"],
                               stdout=subprocess.DEVNULL)
                read_once(os.path.join(s.workdir(), "usr/include"))
                s.filled = True
                s.set_delay(rtt / 2)
        default = "notmp,delay=3600"
        for step in ["find", "find -ls", "read /usr/include"]:
            self.one(step, step, turns, default)
        for step in ["find", "find -ls"]:
            name = step + ", ac=forever"
            self.one(step, name, turns, default + ",ac=forever")
            self.one(step, name + ", no page cache", turns,
                     default + ",ac=forever", drop=True)
            self.one(step, name + ", again", turns)

    def one(self, step, name, turns, options=None, drop=False):
        for s in turns:
            if s.kind == "nfsrootfs" and options:
                s.remount(options)
            if drop:
                drop_caches()
            self.bench.time(self, name, s, *self.command(step, s))

    def command(self, step, s):
        if step == "find":
            return ["find", s.workdir()], self.units
        if step == "find -ls":
            return ["find", s.workdir(), "-ls"], self.units
        include = os.path.join(s.workdir(), "usr/include")
        files = int(run("sh", "-c", 'find "$1" -type f | wc -l', "sh",
                        s.on_disk(include)))
        return ["grep", "-rc", "--line-buffered", "no such line",
                include], files


class Start(Root):
    """starting programs in the root (chroot; /tmp and /dev are local)"""
    name = "start"
    wanted = "warm 1.2 times the local disk at every round-trip time"
    systems = ["local", "nfsrootfs", "plain", "kernel"]
    ratios = [("nfsrootfs", "local")]
    STEPS = {
        "gcc -c of a small file": "cd /tmp && gcc -c hello.c",
        "python3, 200 imports": "python3 -B /tmp/imports.py",
        "zlib's configure": "cd /tmp/zlib && ./configure >/dev/null",
        "sh, 100 times": "i=0; while [ $i -lt 100 ]; do /bin/sh -c :; "
                         "i=$((i + 1)); done",
    }
    HELLO = "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n" \
        "#include <unistd.h>\n#include <sys/stat.h>\n" \
        "int main(void) { return puts(\"hello\") < 0; }\n"
    IMPORTS = """
import encodings, importlib, pkgutil, sys
skip = {"antigravity", "this", "idlelib", "turtle", "turtledemo", "tkinter"}
names = sorted(set(sys.stdlib_module_names) - skip)
names += ["encodings." + m.name for m in pkgutil.iter_modules(encodings.__path__)]
imported = 0
for name in names:
    try:
        importlib.import_module(name)
        imported += 1
    except ImportError:
        continue
    if imported == 200:
        break
assert imported == 200, imported
"""
    # /tmp is the same local directory for all, as a tmp area would be.
    INSIDE = 'mount --bind "$2" "$1/tmp"; mount --rbind /dev "$1/dev"; ' \
        'exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root ' \
        'chroot "$1" /bin/sh -ec "$3"'

    def prepare(self, directory):
        super().prepare(directory)
        self.tmp = self.bench.bed.path("tmp")
        os.mkdir(self.tmp)
        for name, text in (("hello.c", self.HELLO),
                           ("imports.py", self.IMPORTS)):
            with open(os.path.join(self.tmp, name), "w") as f:
                f.write(text)
        zlib = os.path.join(self.tmp, "zlib")
        os.mkdir(zlib)
        run("tar", "-xf", run(os.path.join(BENCH, "fetch-source"),
                              "zlib").strip(),
            "-C", zlib, "--strip-components=1")

    def measure(self, rtt, turns, rep):
        for step, script in self.STEPS.items():
            for s in turns:
                argv = ["unshare", "-m", "sh", "-ec", self.INSIDE, "sh",
                        s.workdir(), self.tmp, script]
                if s.kind == "nfsrootfs":
                    s.remount(fresh=True)
                if s.kind == "local":
                    drop_caches()
                self.bench.time(self, step + ", cold", s, argv)
                if s.kind in ("local", "nfsrootfs"):
                    self.bench.time(self, step + ", warm", s, argv)
                if s.kind == "nfsrootfs":
                    self.from_record(step, s, argv)

    def from_record(self, step, s, argv):
        """Cold again, but what the same command used was fetched before."""
        file = os.path.join(self.bench.bed.scratch, "record")
        before = s.options
        s.remount("%s,record=%s" % (before, file))
        subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
        s.remount(before, fresh=True)
        self.bench.time(self, step + ", warm --from", s,
                        [s.program(), "warm", s.mountpoint, "--from", file])
        self.bench.time(self, step + ", after warm --from", s, argv)


class Files(Subject):
    """Large files: random, so that nothing can be gained by compressing."""
    export = "files"
    unit = "MiB"
    size_mib = 0

    def file(self, s):
        return os.path.join(s.workdir(), "%d-mib" % self.size_mib)

    def prepare(self, directory):
        self.units = self.size_mib
        path = os.path.join(directory, "%d-mib" % self.size_mib)
        with open(path, "wb") as f:
            subprocess.run(["head", "-c", str(self.size_mib * MIB),
                            "/dev/urandom"], stdout=f, check=True)

    def warm_server(self, directory):
        subprocess.run(["cat", os.path.join(directory, "%d-mib" %
                                            self.size_mib)],
                       stdout=subprocess.DEVNULL, check=True)


class Large(Files):
    """a file of 1 GiB from beginning to end"""
    name = "large"
    by_rtt = True
    wanted = "at 0 ms 0.8 times as fast as bare READs; at 20 ms 1.5 times of " \
        "0 ms; then from the local cache"
    size_mib = LARGE_MIB
    ratios = [("bare", "nfsrootfs"), ("plain", "nfsrootfs"),
              ("nfsrootfs", "local")]

    def command(self, s, mib):
        return ["dd", "if=" + self.file(s), "of=/dev/null", "bs=1M",
                "count=%d" % mib, "status=none"]

    def measure(self, rtt, turns, rep):
        for s in turns:
            if s.kind == "nfsrootfs":
                s.remount(fresh=True)
            if s.kind == "local":
                drop_caches()
            else:
                self.warm_server(s.on_disk(s.workdir()))
            if s.kind == "bare":
                self.bench.time(self, "cold", s, s.command(
                    "read", os.path.basename(self.file(s)), str(IO_BYTES),
                    str(WINDOW_BYTES), str(CONNECTIONS)))
            elif s.limited:
                self.bench.time(self, "cold", s, self.command(s, PLAIN_MIB),
                                part=(PLAIN_MIB, self.size_mib))
            else:
                self.bench.time(self, "cold", s,
                                self.command(s, self.size_mib))
        for step in ["again, no page cache", "again"]:
            for s in turns:
                if s.kind not in ("local", "nfsrootfs"):
                    continue
                if step != "again":
                    if s.kind == "nfsrootfs":
                        s.remount()
                    drop_caches()
                self.bench.time(self, step, s, self.command(s, self.size_mib))


class Distfile(Files):
    """sha512sum of a source archive of 256 MiB"""
    name = "distfile"
    wanted = "again as on the local disk; just written without a READ"
    size_mib = DISTFILE_MIB
    systems = ["local", "nfsrootfs", "plain", "kernel"]
    ratios = [("plain", "nfsrootfs"), ("nfsrootfs", "local")]

    def measure(self, rtt, turns, rep):
        for s in turns:
            if s.kind == "nfsrootfs":
                s.remount(fresh=True)
            if s.kind == "local":
                drop_caches()
            else:
                self.warm_server(s.on_disk(s.workdir()))
            self.bench.time(self, "cold", s, ["sha512sum", self.file(s)])
        ours = [s for s in turns if s.kind in ("local", "nfsrootfs")]
        for s in ours:
            if s.kind == "nfsrootfs":
                s.remount()
            drop_caches()
            self.bench.time(self, "again, no page cache", s,
                            ["sha512sum", self.file(s)])
        for s in ours:
            new = os.path.join(s.workdir(), "new")
            shutil.copyfile(s.on_disk(self.file(s)), new)
            self.bench.time(self, "just written", s, ["sha512sum", new])
            os.unlink(new)


class WarmCommand(Root):
    """`nfsrootfs warm` of the whole root, nothing known before"""
    name = "warm-command"
    by_rtt = True
    wanted = "at 20 ms twice its time at 0 ms"
    systems = ["nfsrootfs", "bare"]
    ratios = [("bare", "nfsrootfs")]

    def measure(self, rtt, turns, rep):
        for s in turns:
            if s.kind == "bare":
                argv = s.command("walk")
            elif "nfsrootfs warm" not in run(s.program(), "help"):
                self.bench.skip("there is no command warm")
                return
            else:
                s.remount(fresh=True)
                argv = [s.program(), "warm", s.mountpoint]
            self.bench.time(self, "warm", s, argv,
                            self.units if s.kind == "bare" else None)


SUBJECTS = {c.name: c for c in (Walk, Small, Warm, Remount, Start, Large,
                                Distfile, WarmCommand)}

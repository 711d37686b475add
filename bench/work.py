# SPDX-License-Identifier: GPL-2.0-or-later
"""work.py: what the benchmarks have a system do: a source archive, and a
command that is timed and, where it would take hours, ended early and
extrapolated."""
import os
import selectors
import signal
import subprocess
import tarfile
import time

from systems import Failure


class Archive:
    """The source: its compressed file, its tar file and what is in it."""

    def __init__(self, path, scratch):
        self.packed = path
        self.tar = os.path.join(scratch, "archive.tar")
        with tarfile.open(path) as tar:
            members = tar.getmembers()
        self.members = members
        self.entries = len(members)
        self.symlinks = [m.name for m in members if m.issym()]
        self.files = sum(m.isfile() for m in members)
        self.bytes = sum(m.size for m in members if m.isfile())
        self.top = members[0].name.split("/")[0]
        with open(self.tar, "wb") as out:
            tool = {".xz": "xz", ".gz": "gzip", ".bz2": "bzip2"}[
                os.path.splitext(path)[1]]
            subprocess.run([tool, "-dc", path], stdout=out, check=True)


class Outcome:
    def __init__(self, seconds, done=None, total=None):
        # For the whole command; when it was ended early and nothing told how
        # far it had got, infinite.
        self.seconds = seconds
        self.done, self.total = done, total     # set when extrapolated

    def scale(self):
        """What is counted has to be multiplied by this."""
        return self.total / self.done if self.done else 1


def lines(data):
    return data.count(b"\n")


def execute(argv, total, limit, log, statuses=(0,), count=lines):
    """Run one command; it prints @total lines, or what else @count counts,
    when it is complete (None: it prints nothing of use). With @limit (seconds)
    it may be ended early, and the outcome is scaled up from what it printed."""
    if limit and total:             # lines must come as they are printed
        argv = ["stdbuf", "-oL", *argv]
    seen, ended = bytearray(), False
    env = dict(os.environ, LC_ALL="C")
    start = time.monotonic()
    proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, env=env,
                            stdout=subprocess.PIPE, stderr=log,
                            start_new_session=True)
    try:
        with selectors.DefaultSelector() as sel:
            sel.register(proc.stdout, selectors.EVENT_READ)
            while True:
                left = start + limit - time.monotonic() \
                    if limit and not ended else None
                if left is not None and left <= 0:
                    ended = True
                    seconds = time.monotonic() - start
                    os.killpg(proc.pid, signal.SIGKILL)
                    continue
                if not sel.select(left):
                    continue
                data = os.read(proc.stdout.fileno(), 1 << 16)
                if not data:
                    break
                if not ended:
                    seen += data
    except BaseException:           # an interrupt; the command must not go on
        os.killpg(proc.pid, signal.SIGKILL)
        proc.wait()
        raise
    status = proc.wait()
    if not ended:
        if status not in statuses:
            raise Failure("%s: exit status %d" % (" ".join(argv), status))
        return Outcome(time.monotonic() - start)
    done = count(seen) if total else 0
    if done == 0:
        return Outcome(float("inf"), 0, total)
    return Outcome(seconds * total / done, done, total)

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What programs expect of a filesystem, through the kernel: open flags, append,
# mappings, locks, holes, unlinked files, renames, times, types, setuid.
. "$(dirname "$0")/lib.sh"
requires python3 setpriv

mkdir -p "$TMP/root"
chmod 755 "$TMP" # another user has to get there
start_server "$TMP/root"

cat >"$TMP/posix.py" <<'PY'
import ctypes, errno, fcntl, mmap, os, socket, stat, subprocess, sys, time

os.chdir(sys.argv[1])
server, nfsrootfs = sys.argv[2:]


def on_server(name):
    """The name on the server's own disk, which has all by then."""
    subprocess.run([nfsrootfs, "sync", "."], check=True)
    return server + "/" + name


def fails(want, call, *args, **kw):
    try:
        call(*args, **kw)
    except OSError as e:
        assert e.errno == want, (call, args, e)
    else:
        raise AssertionError((call, args, "succeeded"))


def put(name, data):
    with open(name, "wb") as f:
        f.write(data)


def get(name):
    with open(name, "rb") as f:
        return f.read()


# open flags
put("a", b"0123456789")
fails(errno.EEXIST, os.open, "a", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
fails(errno.ENOENT, os.open, "none", os.O_RDONLY)
fails(errno.ENOTDIR, os.open, "a", os.O_RDONLY | os.O_DIRECTORY)
os.close(os.open("a", os.O_WRONLY | os.O_TRUNC))
assert os.stat("a").st_size == 0 and os.stat(on_server("a")).st_size == 0
# two appenders
f, g = (os.open("a", os.O_WRONLY | os.O_APPEND) for _ in range(2))
for n in range(50):
    os.write(f, b"f")
    os.write(g, b"g")
os.close(f), os.close(g)
assert get("a") == b"fg" * 50
# contents at offsets, read back while dirty, by another descriptor
with open("b", "wb") as f:
    f.seek(1 << 20)
    f.write(b"end")
    f.flush()
    assert get("b")[-3:] == b"end" and get("b")[:8] == bytes(8)
    os.fsync(f.fileno())
    with open(on_server("b"), "rb") as s:
        s.seek(1 << 20)
        assert s.read() == b"end"
# holes: at least the one at the end
fd = os.open("b", os.O_RDONLY)
assert os.lseek(fd, 0, os.SEEK_HOLE) <= (1 << 20) + 3
assert os.lseek(fd, 1 << 20, os.SEEK_DATA) == 1 << 20
fails(errno.ENXIO, os.lseek, fd, 1 << 22, os.SEEK_DATA)
out = os.open("copy", os.O_CREAT | os.O_RDWR)
os.lseek(fd, 0, os.SEEK_SET)
while os.copy_file_range(fd, out, 1 << 22):
    pass
assert get("copy") == get("b")
os.close(fd), os.close(out)
# fallocate
fd = os.open("alloc", os.O_CREAT | os.O_RDWR)
os.posix_fallocate(fd, 0, 100_000)
assert os.fstat(fd).st_size == 100_000
os.close(fd)
# a shared writable mapping
put("m", bytes(10_000))
with open("m", "r+b") as f:
    m = mmap.mmap(f.fileno(), 10_000)
    m[5_000:5_006] = b"mapped"
    m.flush()
    m.close()
assert get("m")[5_000:5_006] == b"mapped"
# unlinked but open: usable, its directory removable
os.mkdir("sub")
fd = os.open("sub/t", os.O_CREAT | os.O_RDWR)
os.write(fd, b"before")
os.unlink("sub/t")
os.write(fd, b" after")
assert os.pread(fd, 99, 0) == b"before after" and os.fstat(fd).st_nlink == 0
os.rmdir("sub")
os.fchmod(fd, 0o600)
os.ftruncate(fd, 3)
assert os.pread(fd, 99, 0) == b"bef"
os.close(fd)
# a replaced file stays open as it was
put("old", b"old")
put("new", b"new")
fd = os.open("old", os.O_RDONLY)
os.rename("new", "old")
assert os.read(fd, 9) == b"old" and get("old") == b"new"
os.close(fd)
# rename's flags
libc = ctypes.CDLL(None, use_errno=True)
put("x", b"x"), put("y", b"y")
for flags, want in ((1, errno.EEXIST), (2, errno.EINVAL)):
    assert libc.renameat2(-100, b"x", -100, b"y", flags) == -1
    assert ctypes.get_errno() == want, ctypes.get_errno()
assert libc.renameat2(-100, b"x", -100, b"z", 1) == 0 and get("z") == b"x"
# times: ns, one alone, now
os.utime("y", ns=(111_222_333_444, 555_666_777_888_999_001))
st = os.stat("y")
assert (st.st_atime_ns, st.st_mtime_ns) == (111_222_333_444, 555_666_777_888_999_001)
subprocess.run(["touch", "-m", "-d", "2001-02-03 04:05:06.123456789", "y"], check=True)
assert os.stat("y").st_atime_ns == 111_222_333_444
assert os.stat("y").st_mtime_ns % 10**9 == 123456789
os.utime("y")
assert abs(os.stat("y").st_mtime - time.time()) < 5
# a later write moves the time on, for the server too
before = os.stat("y").st_mtime_ns
time.sleep(0.02)  # the clock's own granularity
put("y", b"more")
assert os.stat("y").st_mtime_ns > before
# types
os.mkfifo("fifo")
os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
with open("null", "wb") as f:
    f.write(b"gone")
s = socket.socket(socket.AF_UNIX)
s.bind("socket")
s.listen()
socket.socket(socket.AF_UNIX).connect("socket")
os.symlink("y", "link")
assert os.readlink("link") == "y" and get("link") == b"more"
# hard links: one inode, as Portage's locks check
os.link("y", "hard")
assert os.stat("y").st_ino == os.stat("hard").st_ino and os.stat("y").st_nlink == 2
os.unlink("y")
assert os.stat("hard").st_nlink == 1
# locks are local, and work
a, b = open("hard"), open("hard", "r+")
fcntl.flock(a, fcntl.LOCK_EX)
fails(errno.EAGAIN, fcntl.flock, b, fcntl.LOCK_EX | fcntl.LOCK_NB)
fcntl.flock(a, fcntl.LOCK_UN)
fcntl.lockf(b, fcntl.LOCK_EX)
held = subprocess.run([sys.executable, "-c", "import fcntl; "
    "fcntl.lockf(open('hard', 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)"],
    stderr=subprocess.DEVNULL)
assert held.returncode != 0
# no extended attributes in NFSv3
fails(errno.EOPNOTSUPP, os.setxattr, "hard", "user.x", b"1")
# a directory read while it changes
os.mkdir("many")
for n in range(2000):
    put(f"many/{n}", b"")
seen = set()
with os.scandir("many") as it:
    for e in it:
        seen.add(e.name)
        if int(e.name) % 2:
            os.unlink("many/" + e.name)
assert {str(n) for n in range(0, 2000, 2)} <= seen
assert sorted(map(int, os.listdir("many"))) == list(range(0, 2000, 2))
PY

# on_server NAME: its path on the server's own disk, which has all by then.
on_server() {
  sync_mount
  echo "$TMP/root/$dir/$1"
}
theirs() { setpriv --reuid 4321 --regid 4321 --clear-groups sh -c "$1"; }
fsyncs() { "$NFSROOTFS" status --json "$MNT" | python3 -c '
import json, sys
print(json.load(sys.stdin)["fuse"]["by_kind"].get("FSYNC", 0))'; }

# Twice: where changes are sent later, and where they go through.
mkdir "$TMP/root/through"
do_mount notmp,delay=3600,through=/through
for dir in back through; do
  mkdir -p "$MNT/$dir"
  chmod 1777 "$MNT/$dir"
  python3 "$TMP/posix.py" "$MNT/$dir" "$TMP/root/$dir" "$NFSROOTFS"

  # The kernel checks permissions; setuid programs work.
  echo secret >"$MNT/$dir/secret"
  chmod 600 "$MNT/$dir/secret"
  if setpriv --reuid 1234 --regid 1234 --clear-groups cat "$MNT/$dir/secret" 2>/dev/null
  then fail "another user could read it"; fi
  cp /usr/bin/id "$MNT/$dir/id"
  chmod 4755 "$MNT/$dir/id"
  same "a setuid program" 0 "$(setpriv --reuid 1234 --regid 1234 --clear-groups "$MNT/$dir/id" -u)"
  setpriv --reuid 1234 --regid 1235 --clear-groups sh -c "echo x >$MNT/$dir/theirs"
  same "the owner on the server" "1234:1235" "$(stat -c %u:%g "$(on_server theirs)")"
  # a write by another clears the bit
  chown 1234 "$MNT/$dir/id"
  chmod 4777 "$MNT/$dir/id"
  setpriv --reuid 4321 --regid 4321 --clear-groups sh -c "echo x >>$MNT/$dir/id"
  same "setuid after a write" 777 "$(stat -c %a "$(on_server id)")"
  same "the same, seen here" 777 "$(stat -c %a "$MNT/$dir/id")"
  # so do truncation and direct writes; root's own do not
  chmod 6777 "$MNT/$dir/id"
  echo x >>"$MNT/$dir/id"
  sync "$MNT/$dir/id"
  same "setuid after root's write" 6777 "$(stat -c %a "$MNT/$dir/id")"
  theirs ": >$MNT/$dir/id"
  same "setuid after a truncation" "777 777" \
    "$(stat -c %a "$(on_server id)") $(stat -c %a "$MNT/$dir/id")"
  chmod 2767 "$MNT/$dir/id"
  theirs "dd if=/dev/zero of=$MNT/$dir/id bs=4096 count=1 conv=notrunc oflag=direct" \
    2>/dev/null
  same "setgid alone, no group execution: after a write" "2767 2767" \
    "$(stat -c %a "$(on_server id)") $(stat -c %a "$MNT/$dir/id")"
  # a change of owner clears both, root's too, and also one that changes nothing
  for owner in 1:1 1:1 ""; do
    chmod 6755 "$MNT/$dir/id"
    python3 -c 'import os, sys; o = sys.argv[2].split(":"); os.chown(sys.argv[1],
        *map(int, o if len(o) == 2 else (-1, -1)))' "$MNT/$dir/id" "$owner"
    same "setuid after chown '$owner'" "755 755" \
      "$(stat -c %a "$(on_server id)") $(stat -c %a "$MNT/$dir/id")"
  done
  mkdir "$MNT/$dir/setgid"
  chmod 2755 "$MNT/$dir/setgid"
  chown 1:1 "$MNT/$dir/setgid"
  same "a setgid directory after chown" 2755 "$(stat -c %a "$(on_server setgid)")"
  # fsync of a directory is not answered by the kernel alone
  before=$(fsyncs)
  sync "$MNT/$dir" && sync "$MNT/$dir"
  same "fsyncs of a directory that arrived" 2 $(($(fsyncs) - before))
  # a running program may be replaced, and goes on
  cp /bin/sleep "$MNT/$dir/prog"
  "$MNT/$dir/prog" 1000 & pid=$!
  until_true grep -q "$MNT/$dir/prog" /proc/$pid/maps
  cp /bin/sleep "$MNT/$dir/prog.new"
  mv "$MNT/$dir/prog.new" "$MNT/$dir/prog"
  echo 3 >/proc/sys/vm/drop_caches 2>/dev/null || :
  alive $pid || fail "the running program died"
  kill $pid
  wait $pid 2>/dev/null || :
done
do_umount

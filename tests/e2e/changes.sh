#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Changes made on the server while it is mounted are seen within ac seconds,
# through the kernel's caches, by who uses them all the time and by who comes
# back: contents, attributes, names added, removed, and of another type. A mount
# beneath survives all of it.
. "$(dirname "$0")/lib.sh"
requires python3

root=$TMP/root
mkdir -p "$root/etc/dir/deep" "$root/srv/point" "$root/open"
for name in contents same-size mode owner removed replaced type deep; do
  echo old >"$root/etc/$name"
done
ln -s old "$root/etc/link"
start_server "$root" --fresh
start_relay
ac=1
do_mount "notmp,ac=$ac"
mkdir "$TMP/over"
echo over >"$TMP/over/file"
mount --bind "$TMP/over" "$MNT/srv/point"

# show: all that is to be seen, as text. Absent names are asked for, too.
cat >"$TMP/show" <<'PY'
import os, stat, sys
def show(top):
    lines = []
    for dir, dirs, files in os.walk(top):
        dirs.sort()
        for name in sorted(dirs + files):
            path = os.path.join(dir, name)
            s = os.lstat(path)
            text = ""
            if stat.S_ISREG(s.st_mode):
                text = open(path).read().strip()
            elif stat.S_ISLNK(s.st_mode):
                text = os.readlink(path)
            lines.append(f"{path[len(top):]} {s.st_mode:o} {s.st_uid} {s.st_nlink if text else 0} {text}")
    for name in ("added", "dir/added", "never"):
        lines.append(f"{name}: {os.path.lexists(os.path.join(top, name))}")
    return "\n".join(lines)
if len(sys.argv) == 2:
    print(show(sys.argv[1]))
    sys.exit()
# steadily: until what is seen at one place is what is at the other
import time
until = time.monotonic() + float(sys.argv[3])
while True:
    try:
        want, got = show(sys.argv[1]), show(sys.argv[2])
        if want == got:
            break
    except OSError as e: # changed under our eyes, or a name that is old
        got = str(e)
    if time.monotonic() > until:
        sys.exit(f"wanted:\n{want}\ngot:\n{got}")
PY
show() { python3 "$TMP/show" "$1/etc"; }

change() {
  case $1 in
  contents) echo "new, and longer" >"$root/etc/contents" ;;
  same-size) echo new >"$root/etc/same-size" ;;
  mode) chmod 600 "$root/etc/mode" ;;
  owner) chown 1234:1234 "$root/etc/owner" ;;
  added) echo new >"$root/etc/added" ;;
  deeper) echo new >"$root/etc/dir/added" ;;
  removed) rm "$root/etc/removed" ;;
  replaced) echo "by rename" >"$root/etc/.new" && mv "$root/etc/.new" "$root/etc/replaced" ;;
  linked) ln "$root/etc/deep" "$root/etc/dir/linked" ;;
  link) ln -sfn new "$root/etc/link" ;;
  file-to-dir) rm "$root/etc/type" && mkdir "$root/etc/type" && echo in >"$root/etc/type/in" ;;
  dir-to-file) rm -r "$root/etc/dir" && echo file >"$root/etc/dir" ;;
  dir-to-link) rm -r "$root/etc/type" && ln -s contents "$root/etc/type" ;;
  removed-dir) rm -r "$root/etc/dir" ;;
  esac
}

same "at first" "$(show "$root")" "$(show "$MNT")"
for kind in contents same-size mode owner added deeper removed replaced linked link \
  file-to-dir dir-to-link dir-to-file; do
  # Who comes back: everything was used just before.
  show "$MNT" >/dev/null
  change $kind
  sleep $ac
  same "$kind, after $ac s" "$(show "$root")" "$(show "$MNT")"
done

# Who has it open: a log that grows, a file that is written over, mapped or not.
cat >"$TMP/open.py" <<'PY'
import mmap, os, sys, time
mnt, root, ac = sys.argv[1], sys.argv[2], float(sys.argv[3])
def server(name, text, mode="w"):
    with open(f"{root}/open/{name}", mode) as f:
        f.write(text)
for name in ("grows", "over", "mapped", "shrinks"):
    server(name, "first" * 1000)
fd = {n: os.open(f"{mnt}/open/{n}", os.O_RDONLY) for n in ("grows", "over", "mapped", "shrinks")}
before = {n: os.pread(fd[n], 10000, 0) for n in fd}
map = mmap.mmap(fd["mapped"], 5000, mmap.MAP_SHARED, mmap.PROT_READ)
assert map[:5] == b"first"
time.sleep(1.1)         # a clock that ticks once a second would do
server("grows", "more", "a")
server("over", "other" * 1000)
server("mapped", "other" * 1000)
server("shrinks", "short")
time.sleep(ac)
for n in fd:            # who looks
    os.fstat(fd[n])
assert os.pread(fd["grows"], 10000, 0) == b"first" * 1000 + b"more", "grows"
assert os.pread(fd["over"], 10000, 0) == b"other" * 1000, "over"
assert map[:5] == b"other", "mapped"
assert os.pread(fd["shrinks"], 10000, 0) == b"short", "shrinks"
PY
python3 "$TMP/open.py" "$MNT" "$root" $ac || fail "who has it open does not see it"

# Who uses it steadily, so that it is renewed before it runs out.
mkdir "$root/steady"
umount "$MNT/srv/point"
rm -r "${root:?}/etc"
mkdir -p "$root/etc/dir/deep"
for name in contents same-size mode owner removed replaced type deep; do
  echo old >"$root/etc/$name"
done
ln -s old "$root/etc/link"
sleep $ac
mount --bind "$TMP/over" "$MNT/srv/point"
for kind in contents same-size mode owner added deeper removed replaced linked link \
  file-to-dir dir-to-link removed-dir; do
  python3 "$TMP/show" "$root/etc" "$MNT/etc" $((ac + 1))
  change $kind
  # and a second for the program that looks
  python3 "$TMP/show" "$root/etc" "$MNT/etc" $((ac + 1)) ||
    fail "$kind is not seen within $ac s by who uses it steadily"
done
same "the mount beneath" over "$(cat "$MNT/srv/point/file")"
umount "$MNT/srv/point"
do_umount

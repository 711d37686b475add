#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# This machine's disk is full: by the log itself, or by somebody else's file. The
# work goes on, as slowly as the server is; nothing is lost, nothing fails; it is
# said once, and shown; and when there is room again, so is the log. A log that
# is at its bound holds writers up.
. "$(dirname "$0")/lib.sh"
requires python3 mkfs.ext4 losetup

root=$TMP/root
disk=$TMP/disk
mkdir -p "$root/a" "$root/old" "$disk"
for n in $(seq 300); do echo "$n" >"$root/old/$n"; done
truncate -s 120M "$TMP/image"
mkfs.ext4 -q -m 0 "$TMP/image"
mount -o loop "$TMP/image" "$disk" 2>/dev/null || skip "needs loop devices"
CACHE=$disk/cache
python3 - "$root/old" <<'PY'
import os, sys
for d in range(50):
    os.mkdir(f"{sys.argv[1]}/d{d}")
    for n in range(1000):
        open(f"{sys.argv[1]}/d{d}/a-file-of-which-the-cache-knows-nothing-{n}", "w").close()
PY
start_server "$root"
start_relay

# in_foreground OPTIONS: do_mount with what the daemon says in $TMP/says.
in_foreground() {
  mkdir -p "$MNT" "$CACHE"
  chmod 755 "$CACHE"
  "$NFSROOTFS" mount "127.0.0.1:$EXPORT" "$MNT" -f \
    -o "$(mount_options "$1")" 2>"$TMP/says" &
  DAEMON=$!
  DAEMONS="$DAEMONS $DAEMON"
  until_true sh -c '"$0" status "$1" >/dev/null' "$NFSROOTFS" "$MNT"
}
log() {
  "$NFSROOTFS" status --json "$MNT" | python3 -c '
import json, sys
print(json.load(sys.stdin)["log"][sys.argv[1]])' "$1"
}
says() {
  grep -c "$1" "$TMP/says" || :
}
# silently FILE: is a small file written without asking the server?
silently() {
  relay reset-counts
  echo small >"$1"
  same "$1" small "$(cat "$1")"
  [ "$(rpcs CREATE)" = 0 ]
}
# room_again FILE: it is said when it has been so for a while.
room_again() {
  echo again >"$1"
  [ "$(says "has room again")" -ge 1 ]
}
equal() {
  diff -r "$1" "$2" >"$TMP/diff" || fail "$1 and $2: $(head "$TMP/diff")"
}
# source DIR MIB: a tree of so much, in files of many sizes.
source_tree() {
  python3 - "$1" "$2" <<'PY'
import os, random, sys
top, left = sys.argv[1], int(sys.argv[2]) << 20
rng = random.Random(1)
n = 0
while left > 0:
    d = f"{top}/dir{n // 50}"
    os.makedirs(d, exist_ok=True)
    size = rng.choice([0, 100, 5000, 40000, 1000000])
    with open(f"{d}/file{n}", "wb") as f:
        f.write(rng.randbytes(size))
    if n % 10 == 0:
        os.symlink(f"file{n}", f"{d}/link{n}")
    left -= size
    n += 1
PY
}

# (a) The log would be larger than the disk.
source_tree "$TMP/source" 150
in_foreground notmp,delay=3600,logsize=1G
silently "$MNT/a/before" || fail "not written back at first"
cp -a "$TMP/source" "$MNT/a/"
same "how often it was said: $(cat "$TMP/says")" 1 \
  "$(says "no room for the write-back log")"
same "disk_full" True "$(log disk_full)"
has "status" "local disk is FULL" "$("$NFSROOTFS" status "$MNT")"
df -k "$disk" | tail -n 1
equal "$TMP/source" "$MNT/a/source"
rm -r "$MNT/a/source/dir1"
cp -a "$TMP/source/dir1" "$MNT/a/source/"
status 0 "$NFSROOTFS" sync "$MNT"
equal "$TMP/source" "$root/a/source"
same "pending" 0 "$(log changes)"
# What was sent left the log.
until_true silently "$MNT/a/after"
until_true room_again "$MNT/a/after"
same "disk_full" False "$(log disk_full)"
rm -r "$MNT/a/source"
status 0 "$NFSROOTFS" sync "$MNT"

# (b) Somebody else fills it, to the last block, in the midst of it. Names that
# were never seen are made, looked up, listed, changed and removed all the same.
mkdir "$MNT/b" "$MNT/b/before"
echo pending >"$MNT/b/pending"
python3 - "$MNT/b/before" <<'PY'
import os, sys
for n in range(15000):
    with open(f"{sys.argv[1]}/{n}", "w") as f:
        f.write(str(n))
PY
dd if=/dev/zero of="$disk/others" bs=64k 2>/dev/null || :
dd if=/dev/zero of="$disk/others2" bs=1k 2>/dev/null || :
timeout 60 cp -a "$TMP/source/dir0" "$TMP/source/dir2" "$MNT/b/" ||
  fail "copying with a full disk: status $?"
same "sent, to make room" 15000 "$(ls "$root/b/before" | wc -l)"
same "disk_full" True "$(log disk_full)"
same "names never seen" 50351 "$(find "$MNT/old" | wc -l)"
same "with attributes" 50300 "$(find "$MNT/old" -type f -mtime -1 | wc -l)"
same "contents never seen" 45150 "$(cat "$MNT"/old/[0-9]* |
  awk '{ s += $1 } END { print s }')"
python3 - "$MNT" <<'PY'
import os, sys
os.chdir(sys.argv[1])
for n in range(2000):
    os.makedirs(f"b/many/{n // 100}", exist_ok=True)
    p = f"b/many/{n // 100}/name-{n}"
    with open(p, "w") as f:
        f.write(str(n))
    if n % 3 == 0:
        os.rename(p, p + ".renamed")
    elif n % 3 == 1:
        os.unlink(p)
    else:
        os.chmod(p, 0o600)
        os.link(p, p + ".link")
        assert os.stat(p).st_nlink == 2
for n in range(2000):
    p = f"b/many/{n // 100}/name-{n}"
    want = [None, p + ".renamed"] if n % 3 == 0 else [None, None] if n % 3 == 1 else [p, p + ".link"]
    for name, there in zip((p, p + (".renamed" if n % 3 == 0 else ".link")), want):
        assert os.path.exists(name) == bool(there), name
    if n % 3 == 2:
        assert open(p).read() == str(n)
PY
mv "$MNT/old/1" "$MNT/old/one" && rm "$MNT/old/2" && echo 33 >"$MNT/old/3"
same "pending before" pending "$(cat "$MNT/b/pending")"
equal "$TMP/source/dir2" "$MNT/b/dir2"
status 0 "$NFSROOTFS" sync "$MNT"
equal "$TMP/source/dir0" "$root/b/dir0"
equal "$TMP/source/dir2" "$root/b/dir2"
equal "$MNT/b/many" "$root/b/many"
same "there" "1 33 pending" \
  "$(cat "$root/old/one") $(cat "$root/old/3") $(cat "$root/b/pending")"
do_umount
# A mount that begins with no room at all is refused, and says why.
status 61 "$NFSROOTFS" mount "127.0.0.1:$EXPORT" "$MNT" \
  -o "$(mount_options notmp)"
has "no room to mount" "No space left on device" "$out"
rm "$disk/others" "$disk/others2"
in_foreground notmp,delay=3600
equal "$root/b" "$MNT/b"
silently "$MNT/b/after" || fail "not written back when there is room again"
do_umount

# (c) A small log, and a server that is far away: who writes waits.
CACHE=$TMP/cache
in_foreground notmp,delay=3600,logsize=16M
relay delay 20
most=0
cp -a "$TMP/source" "$MNT/c" & HELPER=$!
while alive $HELPER; do
  now=$(log bytes_on_disk)
  [ "$now" -le $most ] || most=$now
  sleep 0.1
done
wait $HELPER
HELPER=
echo "the log had $((most >> 10)) KiB at most, with logsize=16M"
[ $most -gt 8000000 ] || fail "the log was not used: $most"
[ $most -lt 24000000 ] || fail "the log is far above its bound: $most"
same "disk_full" False "$(log disk_full)"
equal "$TMP/source" "$MNT/c"
status 0 "$NFSROOTFS" sync "$MNT"
equal "$TMP/source" "$root/c"
relay delay 0
do_umount

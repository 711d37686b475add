#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The content cache: it keeps to its bound and still serves; damaged anywhere, it
# gives the right bytes all the same; and without one all works.
. "$(dirname "$0")/lib.sh"
requires python3

mkdir -p "$TMP/root/usr"
"$here/make-tree" 1500 "$TMP/tree.tar"
tar -xf "$TMP/tree.tar" -C "$TMP/root/usr"
for n in 1 2 3; do head -c 9000000 /dev/urandom >"$TMP/root/usr/large$n"; done
want=$("$here/manifest" "$TMP/root/usr" | sha256sum)
touch "$TMP/root/now"
start_server "$TMP/root"
start_relay
until_true sh -c '[ $(date +%s) -gt $(($(stat -c %Z "$0") + 4)) ]' "$TMP/root/now"

# contents KEY: of status --json
contents() {
  "$NFSROOTFS" status --json "$MNT" |
    python3 -c 'import json, sys; print(int(json.load(sys.stdin)["contents"][sys.argv[1]]))' "$1"
}

# on_disk: bytes in the cache's directory
on_disk() { du -sb --apparent-size "$CACHE"/*/blob | cut -f1; }

# ---- within its bound ----
do_mount notmp,ac=forever,cachesize=16M
for round in 1 2; do
  same "round $round" "$want" "$("$here/manifest" "$MNT/usr" | sha256sum)"
  echo 3 >/proc/sys/vm/drop_caches
done
[ "$(contents evicted_bytes)" -gt 0 ] || fail "nothing was evicted"
echo "on disk: $(contents bytes_on_disk) bytes"
do_umount
[ "$(on_disk)" -le 16777216 ] || fail "$(on_disk) bytes on disk, more than 16 MiB"

# ---- damaged ----
do_mount notmp,ac=forever
same "filled" "$want" "$("$here/manifest" "$MNT/usr" | sha256sum)"
do_umount
seed=$(date +%N)
echo "seed $seed"
python3 - "$seed" "$CACHE"/*/blob <<'PY'
import os, random, sys
random.seed(int(sys.argv[1]))
for name in os.listdir(sys.argv[2]):
    path = os.path.join(sys.argv[2], name)
    size = os.path.getsize(path)
    if name == "lock" or size == 0:
        continue
    with open(path, "r+b") as f:
        for _ in range(200):
            f.seek(random.randrange(size))
            f.write(bytes([random.randrange(256)]))
PY
do_mount notmp,ac=forever
same "damaged" "$want" "$("$here/manifest" "$MNT/usr" | sha256sum)"
do_umount
do_mount notmp,ac=forever
same "mended" "$want" "$("$here/manifest" "$MNT/usr" | sha256sum)"
do_umount

# ---- none ----
do_mount notmp,ac=forever,cachesize=0
same "without a cache" "$want" "$("$here/manifest" "$MNT/usr" | sha256sum)"
[ "$(contents bytes_on_disk)" -le 131072 ] || # an empty index
  fail "without a cache: $(contents bytes_on_disk) bytes on disk"
do_umount

# ---- removed with the names ----
"$NFSROOTFS" discard --cache "127.0.0.1:$EXPORT" -o "$(mount_options)" >"$TMP/out"
same "left of the contents" "" "$(ls "$CACHE"/*/blob)"

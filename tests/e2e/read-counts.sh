#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What reading contents costs: cold, one READ a file, asked for ahead; after a
# remount nothing at all; what was written is not fetched back; a large file
# comes in large pieces; and it is all the same bytes.
. "$(dirname "$0")/lib.sh"

mkdir -p "$TMP/root/usr"
"$here/make-tree" 3000 "$TMP/tree.tar"
tar -xf "$TMP/tree.tar" -C "$TMP/root/usr"
head -c 40000000 /dev/urandom >"$TMP/root/usr/large"
want=$("$here/manifest" "$TMP/root/usr/tree" | sha256sum)
sum=$(sha256sum <"$TMP/root/usr/large")
# Files without contents are not read, and those of many chunks take more.
files=$(find "$TMP/root/usr/tree" -type f -size +0 | wc -l)
sleep_until_settled() { # nothing is kept that may change unseen
  newest=$(find "$TMP/root" -printf '%C@\n' | sort -n | tail -n 1)
  while [ "$(date +%s)" -lt $((${newest%.*} + 4)) ]; do sleep 0.2; done
}

# drop_page_cache: what the kernel has of the mount is asked for again.
drop_page_cache() {
  sync -f "$MNT"
  echo 3 >/proc/sys/vm/drop_caches
}

start_server "$TMP/root"
start_relay
relay delay 2
sleep_until_settled
do_mount notmp
find "$MNT" >/dev/null
relay reset-counts
start=$(date +%s%N)
same "the tree" "$want" "$("$here/manifest" "$MNT/usr/tree" | sha256sum)"
echo "reading $files files, cold: $(rpcs READ) READs, $((($(date +%s%N) - start) / 1000000)) ms"
[ "$(rpcs READ)" -le $((files * 12 / 10)) ] || fail "cold: $(relay counts)"

relay reset-counts
same "the large file" "$sum" "$(sha256sum <"$MNT/usr/large")"
echo "40 MB: $(rpcs READ) READs"
[ "$(rpcs READ)" -le 48 ] || fail "large: $(relay counts)"

# What was written and sent is kept as it was sent.
tar -xf "$TMP/tree.tar" -C "$MNT"
mv "$MNT/tree" "$MNT/copy"
sync_mount
drop_page_cache
relay reset-counts
same "the copy" "$want" "$("$here/manifest" "$MNT/copy" | sha256sum)"
same "READs of what was written here" 0 "$(rpcs READ)"
same "READLINKs of what was written here" 0 "$(rpcs READLINK)"
do_umount

# A directory in which many changes went to the server side by side is listed
# once more.
do_mount notmp,ac=forever
find "$MNT" >/dev/null
do_umount

do_mount notmp,ac=forever
stat -f "$MNT" >/dev/null # the space left is not kept across mounts
relay reset-counts
same "the tree" "$want" "$("$here/manifest" "$MNT/usr/tree" | sha256sum)"
same "the copy" "$want" "$("$here/manifest" "$MNT/copy" | sha256sum)"
same "the large file" "$sum" "$(sha256sum <"$MNT/usr/large")"
echo "after a remount, ac=forever: $(relay counts)"
same "RPCs after a remount" 0 "$(rpcs)"
do_umount

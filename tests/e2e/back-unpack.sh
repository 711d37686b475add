#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A tree with objects of every kind unpacked onto the server's tree: nothing is
# sent that changes the server before it is time, nothing at all if it is removed
# before; sent, it takes at most three calls a file and is on the server's disk
# as it was in the archive; removed after that, one call an object.
. "$(dirname "$0")/lib.sh"
requires python3 tar

mkdir -p "$TMP/root" "$TMP/local"
"$here/make-tree" "${FILES:-4200}" "$TMP/tree.tar"
tar -xf "$TMP/tree.tar" -C "$TMP/local"
entries=$(find "$TMP/local/tree" | wc -l)
# nfs-ganesha does not let the times of a symlink be set.
"$here/manifest" "$TMP/local/tree" --no-symlink-times >"$TMP/want"

start_server "$TMP/root"
start_relay
do_mount notmp,delay=3600,ac=600 # or what is in use is asked about meanwhile

equal() {
  "$here/manifest" "$2" --no-symlink-times >"$TMP/got"
  diff "$TMP/want" "$TMP/got" >"$TMP/diff" ||
    fail "$1: $(head -5 "$TMP/diff")"
}

relay reset-counts
tar -xf "$TMP/tree.tar" -C "$MNT"
equal "before it is sent" "$MNT/tree"
echo "unpack: $(rpcs) RPCs for $entries entries"
same "changing RPCs of the unpack" 0 "$(mutating)"
[ ! -e "$TMP/root/tree" ] || fail "sent before its time"

rm -rf "$MNT/tree"
sync_mount
same "changing RPCs for what was removed before it was sent" 0 "$(mutating)"
same "changes left" 0 "$(log_field changes)"
[ -z "$(ls "$TMP/root")" ] || fail "on the server: $(ls "$TMP/root")"

tar -xf "$TMP/tree.tar" -C "$MNT"
relay reset-counts
started=$(date +%s%N)
sync_mount
took=$((($(date +%s%N) - started) / 1000000))
total=$(rpcs)
echo "sync: $total RPCs for $entries entries in $took ms: $(relay counts)"
[ "$total" -le $((entries * 3)) ] ||
  fail "$total RPCs for $entries entries: $(relay counts)"
equal "on the server's disk" "$TMP/root/tree"
equal "after it was sent" "$MNT/tree"

relay reset-counts
rm -rf "$MNT/tree"
same "changing RPCs of rm -rf" 0 "$(mutating)"
sync_mount
total=$(rpcs)
echo "rm -rf: $total RPCs for $entries entries: $(relay counts)"
# Of 20 files with two names the last one is asked about before it is removed.
[ "$total" -le $((entries + 20)) ] ||
  fail "rm -rf: $total RPCs for $entries entries: $(relay counts)"
[ -z "$(ls "$TMP/root")" ] || fail "rm -rf left: $(ls "$TMP/root")"

# The same without what this machine knows.
tar -xf "$TMP/tree.tar" -C "$MNT"
do_umount
equal "on the server's disk after umount" "$TMP/root/tree"
rm -rf "$CACHE"
do_mount notmp
equal "without the cache" "$MNT/tree"
do_umount

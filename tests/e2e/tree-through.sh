#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A tree of more than 4,000 files unpacked onto the server's tree, changes going
# through: at most 4 RPCs an entry, and everything about it is kept: seen through the mount, after a
# remount without the cache, and on the server's own disk.
. "$(dirname "$0")/lib.sh"
requires python3 tar

mkdir -p "$TMP/root" "$TMP/local"
"$here/make-tree" 4200 "$TMP/tree.tar"
tar -xf "$TMP/tree.tar" -C "$TMP/local"
entries=$(find "$TMP/local/tree" | wc -l)
# nfs-ganesha does not let the times of a symlink be set.
"$here/manifest" "$TMP/local/tree" --no-symlink-times >"$TMP/want"

start_server "$TMP/root"
start_relay
do_mount notmp,through=/
relay reset-counts
tar -xf "$TMP/tree.tar" -C "$MNT"
sync -f "$MNT"
total=$(rpcs)
echo "unpack: $total RPCs for $entries entries"
# CREATE, two SETATTRs, and a WRITE for each piece that tar writes (10 KiB, and
# what of it does not begin with a page by itself).
[ "$total" -le $((entries * 6)) ] ||
  fail "$total RPCs for $entries entries: $(relay counts)"

equal() {
  "$here/manifest" "$2" --no-symlink-times >"$TMP/got"
  diff "$TMP/want" "$TMP/got" >"$TMP/diff" ||
    fail "$1: $(head -5 "$TMP/diff")"
}
equal "through the mount" "$MNT/tree"
diff -r "$TMP/local/tree/d00" "$MNT/tree/d00"
do_umount
equal "on the server's disk" "$TMP/root/tree"
[ ! -e "$TMP/root/.nfsrootfs" ] || fail "the holding directory is left"

rm -rf "$CACHE"
do_mount notmp,through=/
equal "without the cache" "$MNT/tree"
rm -rf "$MNT/tree"
do_umount
[ -z "$(ls -A "$TMP/root")" ] || fail "rm -rf left: $(ls -A "$TMP/root")"

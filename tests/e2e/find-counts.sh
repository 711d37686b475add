#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What reading names costs: find over the mounted root, cold, again, and after a
# remount, without and with the files' attributes; names that are not there. And
# that it is not one call after another: what is about to be needed is asked ahead.
. "$(dirname "$0")/lib.sh"
requires python3

mkdir -p "$TMP/root/usr/share/large"
"$here/make-tree" 4200 "$TMP/tree.tar"
tar -xf "$TMP/tree.tar" -C "$TMP/root/usr"
(cd "$TMP/root/usr/share/large" && seq -f 'name-of-a-file-%g' 5000 | xargs touch)
entries=$(find "$TMP/root" | wc -l)
dirs=$(find "$TMP/root" -type d | wc -l)

start_server "$TMP/root"
start_relay
do_mount notmp
relay reset-counts
same "entries" "$entries" "$(find "$MNT" -xdev | wc -l)"
cold=$(($(rpcs READDIRPLUS) + $(rpcs GETATTR)))
# A page of 128 KiB holds at least 500 entries.
limit=$((dirs * 12 / 10 + 5000 / 500))
echo "find, cold: $cold calls for $dirs directories"
[ "$cold" -le $limit ] || fail "cold: $cold calls, more than $limit: $(relay counts)"

relay reset-counts
same "entries" "$entries" "$(find "$MNT" -xdev | wc -l)"
same "RPCs of a second find" 0 "$(rpcs)"

relay reset-counts
python3 - "$MNT/usr/tree/d00" <<'PY'
import os, sys
for n in range(1000):
    assert not os.path.exists(f"{sys.argv[1]}/absent{n}")
PY
same "RPCs of 1,000 absent names" 0 "$(rpcs)"
do_umount

do_mount notmp
relay reset-counts
same "entries" "$entries" "$(find "$MNT" -xdev | wc -l)"
echo "find, after a remount: $(rpcs) calls"
[ "$(rpcs GETATTR)" -le "$dirs" ] || fail "remounted: $(relay counts)"
same "listings after a remount" 0 "$(rpcs READDIRPLUS)"
do_umount

# 10 ms away, with the window's default: many are under way at once. The calls that
# find(1) itself waits for are few.
relay delay 5
do_mount notmp
relay reset-counts
same "entries" "$entries" "$(find "$MNT" -xdev | wc -l)"
[ "$(rpcs GETATTR)" -le "$dirs" ] || fail "remounted: $(relay counts)"
[ "$(rpcs inflight_max)" -ge 20 ] || fail "one after another: $(relay counts)"
do_umount

# With the files' attributes: a listing for each directory, and not a GETATTR for
# each file; symlinks' targets are asked for once and then kept.
links=$(find "$TMP/root" -type l | wc -l)
for again in first second; do
  do_mount notmp
  relay reset-counts
  find "$MNT" -xdev -ls >/dev/null
  echo "find -ls, after a remount, $again: $(rpcs) calls"
  [ "$(rpcs READDIRPLUS)" -le $((dirs + dirs / 10 + 5000 / 500)) ] ||
    fail "listings: $(relay counts)"
  [ "$(rpcs GETATTR)" -le "$dirs" ] || fail "attributes: $(relay counts)"
  [ "$(rpcs inflight_max)" -ge 20 ] || fail "one after another: $(relay counts)"
  same "targets of symlinks" "$links" "$(rpcs READLINK)"
  links=0
  do_umount
done
relay delay 0

# Trusted for ever: nothing is asked.
do_mount notmp,ac=forever
relay reset-counts
same "entries" "$entries" "$(find "$MNT" -xdev | wc -l)"
same "RPCs with ac=forever" 0 "$(rpcs)"
do_umount

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What reading names costs: find over the mounted root, cold, again, and after a
# remount; names that are not there.
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

# Trusted for ever: nothing is asked.
do_mount notmp,ac=forever
relay reset-counts
same "entries" "$entries" "$(find "$MNT" -xdev | wc -l)"
same "RPCs with ac=forever" 0 "$(rpcs)"
do_umount

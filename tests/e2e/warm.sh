#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# warm: all names and attributes known by one call a directory, many of them at
# once; asked for again only what is not; what it says; what it refuses.
. "$(dirname "$0")/lib.sh"
requires python3

mkdir -p "$TMP/root/usr" "$TMP/root/etc" "$TMP/root/local"
"$here/make-tree" 3000 "$TMP/tree.tar"
tar -xf "$TMP/tree.tar" -C "$TMP/root/usr"
ln -s /usr "$TMP/root/link"
echo x >"$TMP/root/etc/file"
start_server "$TMP/root"
start_relay
relay delay 5
do_mount "tmp=/local:tmpfs,ac=600"
# count DIR [TEST...]: of what is below it; a name may have a newline in it.
count() {
  where=$1
  shift
  find "$where" -xdev -mindepth 1 ! -path '*/.nfsrootfs*' "$@" -printf x | wc -c
}
entries=$(count "$TMP/root")
dirs=$(($(count "$TMP/root" -type d) + 1))

# In a pipe it is one line.
relay reset-counts
status 0 "$NFSROOTFS" warm "$MNT"
echo "$out"
same "lines in a pipe" 1 "$(echo "$out" | wc -l)"
has "warm" "$entries entries in $dirs directories known" "$out"
links=$(count "$TMP/root" -type l)
same "targets of symlinks" "$links" "$(rpcs READLINK)"
[ "$(rpcs)" -le $((dirs + links + dirs / 10)) ] ||
  fail "more than one call a directory: $(relay counts)"
[ "$(rpcs inflight_max)" -ge 20 ] || fail "not many at once: $(relay counts)"

# Then all is known, and a second one asks for nothing.
stat -f "$MNT" >/dev/null # find asks for the space left
relay reset-counts
same "sizes and times of it all" "$entries" "$(count "$MNT" -newermt 1970-01-01 -size -1000000)"
find "$MNT" -xdev -type l -printf %l >/dev/null
status 0 "$NFSROOTFS" warm "$MNT" --json
same "asked for by a second one" 0 "$(echo "$out" | python3 -c '
import json, sys
w = json.load(sys.stdin)
assert w["over"] and w["failed"] == 0 and w["error"] is None, w
print(w["asked"])')"
same "RPCs of all that" 0 "$(rpcs)"

# With the contents: then reading costs nothing either, also after a remount.
until_true sh -c '[ $(date +%s) -gt $(($(stat -c %Z "$0") + 4)) ]' "$TMP/root/etc/file"
status 0 "$NFSROOTFS" warm "$MNT" --data
echo "$out"
has "warm --data" "files fetched" "$out"
status 1 "$NFSROOTFS" warm "$MNT" --max-size=much
do_umount
do_mount "tmp=/local:tmpfs,ac=forever"
stat -f "$MNT" >/dev/null
relay reset-counts
same "contents" "$("$here/manifest" "$TMP/root/usr" | sha256sum)" \
  "$("$here/manifest" "$MNT/usr" | sha256sum)"
same "RPCs of reading it all" 0 "$(rpcs)"

# After a remount only what was asked for is.
do_umount
do_mount "tmp=/local:tmpfs,ac=600"
relay reset-counts
for path in /usr/tree/d00 "$MNT/usr/tree/d00" link/tree/d00; do
  status 0 "$NFSROOTFS" warm "$MNT" "$path"
  has "$path" "directories known" "$out"
done
[ "$(rpcs READDIRPLUS)" -lt $((dirs / 2)) ] || fail "a part: $(relay counts)"
status 0 "$NFSROOTFS" warm "$MNT" --meta /etc/file /usr/tree/d00

# What it refuses.
status 32 "$NFSROOTFS" warm "$MNT" /no/such
has "no such path" "/no/such: No such file" "$out"
status 32 "$NFSROOTFS" warm "$MNT" /local
has "a tmp area" "is on this machine" "$out"
status 46 "$NFSROOTFS" warm "$TMP"
status 46 "$NFSROOTFS" warm "$MNT/usr"
status 1 "$NFSROOTFS" warm
status 1 "$NFSROOTFS" warm --fast "$MNT"

# On a terminal it says how far it is, and about how long it will take.
"$NFSROOTFS" refresh "$MNT"
relay delay 150
out=$(script -qec "'$NFSROOTFS' warm '$MNT'" /dev/null </dev/null | tr '\r' '\n')
relay delay 0
has "on a terminal" "entries in" "$out"
has "on a terminal" " left" "$out"

# Interrupted: it ends, and the mount is as it was.
"$NFSROOTFS" refresh "$MNT"
relay stall
"$NFSROOTFS" warm "$MNT" /link/ >"$TMP/out" 2>&1 &
HELPER=$!
asked() {
  "$NFSROOTFS" status --json "$MNT" | grep -q '"READDIRPLUS"'
}
until_true asked
kill -TERM $HELPER
set +e
wait $HELPER
got=$?
set -e
HELPER=
case $got in
8) has "interrupted" interrupted "$(cat "$TMP/out")" ;;
143) ;; # while it was still looking for the path
*) fail "interrupted: status $got" ;;
esac
relay resume
same "the mount goes on" x "$(cat "$MNT/etc/file")"
do_umount

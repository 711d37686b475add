#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# refresh: with ac=forever nothing is asked again, until it is told to; then at
# the next use, through the kernel's caches; a mount beneath survives.
. "$(dirname "$0")/lib.sh"
requires python3

root=$TMP/root
mkdir -p "$root/etc" "$root/srv/point" "$root/usr/lib"
for name in contents mode removed type; do echo old >"$root/etc/$name"; done
echo old >"$root/usr/lib/other"
start_server "$root" --fresh
start_relay
do_mount notmp,ac=forever
mkdir "$TMP/over"
echo over >"$TMP/over/file"
mount --bind "$TMP/over" "$MNT/srv/point"

use() {
  ls -lR "$MNT/etc" "$MNT/usr" "$MNT/srv" >/dev/null
  cat "$MNT/etc/"* "$MNT/usr/lib/other" >/dev/null
}
use

echo longer than before >"$root/etc/contents"
chmod 600 "$root/etc/mode"
rm "$root/etc/removed"
echo new >"$root/etc/added"
rm "$root/etc/type" && mkdir "$root/etc/type"
echo longer than before >"$root/usr/lib/other"

relay reset-counts
use
same "RPCs without it" 0 "$(rpcs)"
same "contents without it" old "$(cat "$MNT/etc/contents")"

status 0 "$NFSROOTFS" refresh "$MNT" /etc
has "refresh" "to be asked for again" "$out"
same "lines in a pipe" 1 "$(echo "$out" | wc -l)"
same "RPCs of the refresh itself" 0 "$(rpcs)"
same "contents" "longer than before" "$(cat "$MNT/etc/contents")"
same "mode" 600 "$(stat -c %a "$MNT/etc/mode")"
[ ! -e "$MNT/etc/removed" ] || fail "a removed file is still there"
same "added" new "$(cat "$MNT/etc/added")"
[ -d "$MNT/etc/type" ] || fail "a file that became a directory is still a file"
same "what was not named" old "$(cat "$MNT/usr/lib/other")"

# All of it; a file alone; across a remount.
status 0 "$NFSROOTFS" refresh "$MNT"
same "all" "longer than before" "$(cat "$MNT/usr/lib/other")"
echo once more and longer >"$root/usr/lib/other"
status 0 "$NFSROOTFS" refresh "$MNT" "$MNT/usr/lib/other"
same "one file" "once more and longer" "$(cat "$MNT/usr/lib/other")"
same "the mount beneath" over "$(cat "$MNT/srv/point/file")"
umount "$MNT/srv/point"
status 0 "$NFSROOTFS" refresh "$MNT"
do_umount
chmod 640 "$root/etc/mode"
do_mount notmp,ac=forever
same "doubt outlives the mount" 640 "$(stat -c %a "$MNT/etc/mode")"

# While the server is away, what is known is served all the same.
status 0 "$NFSROOTFS" refresh "$MNT"
relay refuse on
relay reset
until_true sh -c '"$1" status "$2" | grep -q AWAY || { timeout 1 ls "$2/etc" >/dev/null; false; }' \
  - "$NFSROOTFS" "$MNT"
same "while the server is away" 640 "$(stat -c %a "$MNT/etc/mode")"
relay refuse off
do_umount

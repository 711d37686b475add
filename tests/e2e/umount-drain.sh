#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# umount waits until the server has everything, while it is still mounted; when
# it may not, or the server is away, nothing is lost: the log keeps it, the exit
# status says so, and the next mount sends it.
. "$(dirname "$0")/lib.sh"
requires python3

mkdir -p "$TMP/root/etc" "$TMP/root/tmp"
start_server "$TMP/root"
start_relay

# write NAME: a change that waits for its time.
write() {
  mkdir "$MNT/$1"
  echo "$1" >"$MNT/$1/file"
  [ ! -e "$TMP/root/$1" ] || fail "$1 was sent before its time"
}
# there NAME: is it on the server's own disk?
there() {
  same "$1 on the server" "$1" "$(cat "$TMP/root/$1/file" 2>&1)"
}
# next_mount NAME: what an earlier one left is there at once, and is sent.
next_mount() {
  do_mount delay=3600
  same "$1, seen through the next mount" "$1" "$(cat "$MNT/$1/file")"
  [ ! -e "$TMP/root/$1" ] || there "$1"
  status 0 "$NFSROOTFS" sync "$MNT"
  there "$1"
}

# It drains.
do_mount delay=3600
write drained
status 0 "$NFSROOTFS" umount "$MNT"
same "umount says nothing in a pipe" "" "$out"
nothing_left
there drained

# umount(8) and SIGTERM: the daemon drains before it ends.
do_mount delay=3600,notmp
write plainly
umount "$MNT"
nothing_left
there plainly
do_mount delay=3600
write terminated
kill -TERM "$DAEMON"
nothing_left
there terminated

# Refused while in use: nothing changes, nothing is waited for.
do_mount delay=3600
write used
(cd "$MNT" && exec sleep 1000) & HELPER=$!
until_true sh -c '[ "$(readlink "/proc/$0/cwd")" = "$1" ]' $HELPER "$MNT"
status 47 "$NFSROOTFS" umount "$MNT"
status 47 "$NFSROOTFS" umount --now "$MNT"
kill $HELPER
wait $HELPER 2>/dev/null || :
HELPER=
do_umount
there used

# --now: kept, said, and the next mount sends it.
do_mount delay=3600
write kept
status 59 "$NFSROOTFS" umount --now "$MNT"
has "--now says" "in the log in $CACHE" "$out"
nothing_left
[ ! -e "$TMP/root/kept" ] || fail "--now sent it"
next_mount kept
status 0 "$NFSROOTFS" umount --now "$MNT"
same "--now with nothing pending" "" "$out"
nothing_left

# By force: kept.
do_mount delay=3600,notmp
write forced
status 59 "$NFSROOTFS" umount -f "$MNT"
nothing_left
next_mount forced
do_umount

# The server is away: said after 5 s; unmounted; the next mount sends it.
do_mount delay=3600
write away
relay refuse on
relay reset
status 59 timeout 60 "$NFSROOTFS" umount "$MNT"
has "away" "the server does not answer" "$out"
has "away" "in the log in $CACHE" "$out"
nothing_left
[ ! -e "$TMP/root/away" ] || fail "sent to a server that is away"
relay refuse off
next_mount away

# Told not to wait while it drains: it stays mounted, whole, and goes on.
write interrupted
relay refuse on
relay reset
"$NFSROOTFS" umount "$MNT" 2>"$TMP/log" & HELPER=$!
until_true sh -c '"$0" status --json "$1" | grep -q "\"away\": true"' \
  "$NFSROOTFS" "$MNT"
kill -TERM $HELPER
set +e
wait $HELPER
got=$?
set -e
HELPER=
same "interrupted" 8 $got
has "interrupted" "stays mounted" "$(cat "$TMP/log")"
mountpoint -q "$MNT" || fail "unmounted all the same"
mountpoint -q "$MNT/tmp" || fail "its tmp area is gone"
same "still served" interrupted "$(cat "$MNT/interrupted/file")"
relay refuse off
status 0 "$NFSROOTFS" sync "$MNT"
there interrupted
do_umount

# Killed: what was acknowledged is in the log.
do_mount delay=3600
write killed
kill -KILL "$DAEMON"
wait_gone "$DAEMON" 5
status 0 "$NFSROOTFS" umount "$MNT"
has "killed" "the next mount sends it" "$out"
nothing_left
next_mount killed
do_umount

status 1 "$NFSROOTFS" umount --later "$MNT"

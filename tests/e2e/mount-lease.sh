#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# One machine writes: a second one is refused and told who the first is; reading
# beside it, stealing, and coming back after a crash work; an ordinary end
# leaves nothing on the server.
. "$(dirname "$0")/lib.sh"

mkdir -p "$TMP/root/etc" "$TMP/other" "$TMP/cache2"
echo data >"$TMP/root/etc/file"
start_server "$TMP/root" --fresh
start_relay
lease=$TMP/root/.nfsrootfs/lease
host=$(uname -n)

# other OPTIONS: a mount by a machine with another cache directory.
other() {
  "$NFSROOTFS" mount "127.0.0.1:$EXPORT" "$TMP/other" -o \
    "port=$PORT,mountport=$MOUNTPORT,cachedir=$TMP/cache2,notmp,$1" || return
  DAEMONS="$DAEMONS $("$NFSROOTFS" status --json "$TMP/other" |
    sed -n 's/^  "pid": \([0-9]*\),$/\1/p')"
}

# again OPTIONS: do_mount for those that are to fail.
again() {
  "$NFSROOTFS" mount "127.0.0.1:$EXPORT" "$MNT" -o "$(mount_options "$1")"
}

# clean: nothing of ours is on the server.
clean() {
  [ ! -e "$TMP/root/.nfsrootfs" ] ||
    fail "left on the server: $(ls -l "$TMP/root/.nfsrootfs")"
}

do_mount notmp
has "the lease" "host=$host" "$(cat "$lease")"
has "the lease" "mountpoint=$MNT" "$(cat "$lease")"
[ ! -e "$MNT/.nfsrootfs" ] || fail "the hidden directory is visible"

# refused WHAT
refused() {
  status 57 other rw
  has "$1" "is mounted for writing by $host (on $MNT, since 2" "$out"
  has "$1" "-o steal" "$out"
  same "lines of the refusal" 1 "$(echo "$out" | wc -l)"
  ! mountpoint -q "$TMP/other" || fail "refused, but mounted"
}
refused "a second writer"
other ro,noac
same "beside it, ro" data "$(cat "$TMP/other/etc/file")"
echo seen >"$MNT/etc/new"
sync_mount
same "beside it, ro" seen "$(cat "$TMP/other/etc/new")"
"$NFSROOTFS" umount "$TMP/other"
has "the lease" "mountpoint=$MNT" "$(cat "$lease")"
do_umount
clean

# Stolen: the first one's end does not take it away from the second.
do_mount notmp
other steal
has "stolen" "mountpoint=$TMP/other" "$(cat "$lease")"
"$NFSROOTFS" umount "$MNT"
has "stolen" "mountpoint=$TMP/other" "$(cat "$lease")"
echo more >"$TMP/other/etc/more"
status 57 again notmp
has "who stole it" "(on $TMP/other, since" "$out"
"$NFSROOTFS" umount "$TMP/other"
clean

# A crash: others are refused, the same machine goes on.
do_mount notmp
exec 9>"$MNT/etc/held"
rm "$MNT/etc/held" # stays in the hidden directory while it is open
kill -KILL "$DAEMON"
wait_gone "$DAEMON" 5
exec 9>&-
umount "$MNT"
refused "after a crash"
do_mount notmp
same "after a crash" data "$(cat "$MNT/etc/file")"
do_umount
clean

# The server is away at the end: the lease stays, and the next mount has it.
do_mount notmp
relay refuse on
relay reset
timeout 60 "$NFSROOTFS" umount "$MNT" || [ $? = 48 ] || fail "umount: status $?"
relay refuse off
nothing_left
[ -e "$lease" ] || fail "the lease was removed, though the server was away"
do_mount notmp
do_umount
clean

# A mount that fails after it has the lease gives it back.
mkdir "$TMP/root/var"
: >"$TMP/root/var/tmp"
status 32 again tmp=/var/tmp/area
clean

# The mount command interrupted between the lease and the mount: it is given
# back, unless the server does not answer and somebody insists.
interrupted() {
  relay delay 100
  "$NFSROOTFS" mount "127.0.0.1:$EXPORT" "$MNT" -o "$(mount_options notmp)" \
    2>"$TMP/log" & HELPER=$!
  until_true test -e "$lease"
  "$@"
  set +e
  wait $HELPER
  got=$?
  set -e
  HELPER=
  relay delay 0
  same "interrupted: $*" 8 $got
  has "interrupted" "interrupted; nothing is mounted" "$(cat "$TMP/log")"
  ! mountpoint -q "$MNT" || fail "interrupted, but mounted"
}
once() {
  kill -INT $HELPER
}
twice() {
  relay stall
  kill -INT $HELPER
  sleep 0.2 # or they are one
  kill -INT $HELPER
}
interrupted once
clean
interrupted twice
relay resume
do_mount notmp
do_umount
clean

# Nobody can say by what is there who it was.
mkdir -m 700 "$TMP/root/.nfsrootfs"
printf 'id=?\nhost=\033[31mred\n' >"$lease"
status 57 again notmp
has "garbage" "by somebody unknown" "$out"
do_mount notmp,steal
do_umount
clean

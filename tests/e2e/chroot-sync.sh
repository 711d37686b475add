#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Leaving a session is a barrier: then the server's own disk has what was done
# in it, and the exit status is still the command's.
set -eu
. "$(dirname "$0")/chroot-prelude.inc"

make_root "$TMP/root"
start_server "$TMP/root"
do_mount delay=3600

status 3 "$CHROOTCTL" enter "$MNT" -- sh -c 'echo one >/etc/one; exit 3'
same "after leaving" one "$(cat "$TMP/root/etc/one")"
same "it is mounted still" 0 "$(mountpoint -q "$MNT"; echo $?)"

status 0 "$CHROOTCTL" enter --no-sync "$MNT" -- sh -c 'echo two >/etc/two'
[ ! -e "$TMP/root/etc/two" ] || fail "--no-sync waited for the server"
do_umount
same "after umount" two "$(cat "$TMP/root/etc/two")"

# Mounted for the session: its unmounting is the barrier.
export NFSROOTFS
status 4 "$CHROOTCTL" enter -o "$(mount_options delay=3600)" \
  "127.0.0.1:$EXPORT" -- sh -c 'echo three >/etc/three; exit 4'
same "after leaving and unmounting" three "$(cat "$TMP/root/etc/three")"

status 0 "$CHROOTCTL" enter --no-sync -o "$(mount_options delay=3600)" \
  "127.0.0.1:$EXPORT" -- sh -c 'echo four >/etc/four'
has "what is left is said" "in the log" "$out"
[ ! -e "$TMP/root/etc/four" ] || fail "--no-sync waited for the server"
do_mount
status 0 "$NFSROOTFS" sync "$MNT"
same "sent by the next mount" four "$(cat "$TMP/root/etc/four")"
do_umount
echo PASS

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Unmounting: refused, with the reason, while something is in use, and then
# nothing has changed; complete when it is not; complete, too, when the mount
# command is interrupted, the daemon is told to end, or the server is away.
. "$(dirname "$0")/lib.sh"
requires python3 pgrep

mkdir -p "$TMP/root/etc" "$TMP/root/tmp" "$TMP/root/var/tmp/portage"
echo data >"$TMP/root/etc/file"
start_server "$TMP/root"
start_relay

# In use: by a directory, an open file, a tmp area, another mount namespace.
do_mount
areas=$(mounts_below "$MNT")
busy() {
  status 47 "$NFSROOTFS" umount "$MNT"
  has "$1" "process $HELPER" "$out"
  has "$1" "$2" "$out"
  kill $HELPER
  wait $HELPER 2>/dev/null || :
  HELPER=
  same "areas after a refusal" "$areas" "$(mounts_below "$MNT")"
}
(cd "$MNT/etc" && exec sleep 1000) & HELPER=$!
until_true sh -c '[ "$(readlink "/proc/$0/cwd")" = "$1" ]' $HELPER "$MNT/etc"
busy "a current directory" "current directory $MNT/etc"
sleep 1000 <"$MNT/etc/file" & HELPER=$!
until_true grep -qx sleep /proc/$HELPER/comm
busy "an open file" "open $MNT/etc/file"
sleep 1000 >"$MNT/tmp/file" & HELPER=$!
until_true grep -qx sleep /proc/$HELPER/comm
busy "an open file of an area" "open $MNT/tmp/file"
unshare --mount --propagation private sleep 1000 & HELPER=$!
until_true grep -qx sleep /proc/$HELPER/comm
busy "another namespace" "in its own mount namespace"
mount -t tmpfs foreign "$MNT/etc"
status 47 "$NFSROOTFS" umount "$MNT"
has "a foreign mount" "$MNT/etc (tmpfs)" "$out"
umount "$MNT/etc"
do_umount
status 46 "$NFSROOTFS" umount "$MNT"

# An open file that is unlinked, a shared mapping that is dirty: on the server
# when umount returns.
do_mount
python3 - "$MNT/mapped" <<'PY'
import mmap, sys
with open(sys.argv[1], "w+b") as f:
    f.truncate(8192)
    m = mmap.mmap(f.fileno(), 8192)
    m[4096:4100] = b"late"
    m.close()
PY
do_umount
same "a mapping" late "$(tail -c +4097 "$TMP/root/mapped" | head -c 4)"

# The kernel's own umount; lazily; by force; SIGTERM to the daemon.
do_mount
umount -R "$MNT"
nothing_left
do_mount
"$NFSROOTFS" umount -l "$MNT"
nothing_left
do_mount
sleep 1000 <"$MNT/etc/file" & HELPER=$!
until_true grep -qx sleep /proc/$HELPER/comm
"$NFSROOTFS" umount -f "$MNT"
nothing_left
kill $HELPER
HELPER=
do_mount
kill -TERM "$DAEMON"
nothing_left

# SIGTERM while in use: out of sight, but served until its last user goes.
do_mount
exec 9<"$MNT/etc/file"
kill -TERM "$DAEMON"
until_true sh -c '! mountpoint -q "$0"' "$MNT"
same "still served" data "$(cat <&9)"
alive "$DAEMON" || fail "the daemon left its user alone"
exec 9<&-
nothing_left

# The mount command interrupted while the server does not answer.
relay stall
"$NFSROOTFS" mount "127.0.0.1:$EXPORT" "$MNT" -o "$(mount_options)" \
  2>"$TMP/log" &
HELPER=$!
until_true sh -c 'pgrep -P "$0" >"$1"' $HELPER "$TMP/child"
DAEMON=$(cat "$TMP/child")
kill -INT $HELPER
set +e
wait $HELPER
got=$?
set -e
HELPER=
relay resume
same "interrupted" 8 $got
has "interrupted" "interrupted; nothing is mounted" "$(cat "$TMP/log")"
nothing_left

# The server is away: umount does not hang.
do_mount
cat "$MNT/etc/file" >"$TMP/out"
relay refuse on
relay reset
timeout 60 "$NFSROOTFS" umount "$MNT" || [ $? = 48 ] || fail "umount: status $?"
relay refuse off
nothing_left

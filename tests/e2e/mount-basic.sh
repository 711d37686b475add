#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Mount, read, write, unmount: the caller gets its terminal back once the mount
# is usable, what is written is on the server's own disk, and the daemon has let
# go of all that the caller had open.
. "$(dirname "$0")/lib.sh"

mkdir -p "$TMP/root/etc" "$TMP/root/tmp"
echo hello >"$TMP/root/etc/motd"
start_server "$TMP/root"

# A pipe that the daemon kept open would hang this.
out=$(do_mount 2>&1)
same "a mount is silent" "" "$out"
DAEMON=$("$NFSROOTFS" status --json "$MNT" | sed -n 's/^  "pid": \(.*\),$/\1/p')
DAEMONS="$DAEMONS $DAEMON"
same "what it is" "fuse.nfsrootfs 127.0.0.1:$EXPORT" \
  "$(findmnt -n -o FSTYPE,SOURCE "$MNT" | tr -s ' ')"
for fd in 0 1 2; do
  same "descriptor $fd of the daemon" /dev/null \
    "$(readlink "/proc/$DAEMON/fd/$fd")"
done
same "the daemon's directory" / "$(readlink "/proc/$DAEMON/cwd")"

same "a file" hello "$(cat "$MNT/etc/motd")"
mkdir "$MNT/srv"
echo new >"$MNT/srv/file"
chown 12:34 "$MNT/srv/file"
chmod 4750 "$MNT/srv/file"
sync_mount
same "on the server's disk" "new" "$(cat "$TMP/root/srv/file")"
same "owner and mode there" "12:34 4750" \
  "$(stat -c '%u:%g %a' "$TMP/root/srv/file")"
rm -r "$MNT/srv"
sync_mount
[ ! -e "$TMP/root/srv" ] || fail "removed, but still on the server"
do_umount

# Again, from the cache; in the foreground; ended by a signal.
"$NFSROOTFS" mount -f "127.0.0.1:$EXPORT" "$MNT" -o "$(mount_options)" \
  2>"$TMP/log" &
DAEMON=$!
DAEMONS="$DAEMONS $DAEMON"
until_true "$NFSROOTFS" status "$MNT" >"$TMP/status"
same "a file, remounted" hello "$(cat "$MNT/etc/motd")"
kill -TERM $DAEMON
wait $DAEMON || fail "exit status $? after SIGTERM: $(cat "$TMP/log")"
nothing_left

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Lines written for mount -t nfs work; mount(8) finds its helper; what an option
# says is what the kernel and status show.
. "$(dirname "$0")/lib.sh"

mkdir -p "$TMP/root/bin" "$TMP/root/tmp"
start_server "$TMP/root" --fresh

# The tutorial's own.
do_mount auto,rw,hard,intr,nolock
has "status" "rw,hard" "$("$NFSROOTFS" status "$MNT")"
do_umount
do_mount "defaults,_netdev,nofail,noatime,vers=3,nfsvers=3,proto=tcp,tcp,\
local_lock=all,sec=sys,x-systemd.automount,rsize=32768,wsize=65536,actimeo=7"
has "status" "ac=7,nconnect=4,rsize=32768,wsize=65536" "$("$NFSROOTFS" status "$MNT")"
do_umount

# A root's own: setuid programs and devices work; unless told otherwise.
mknod -m 666 "$TMP/root/null" c 1 3
cp "$(command -v id)" "$TMP/root/bin/id"
chmod 4755 "$TMP/root/bin/id"
do_mount notmp
echo x >"$MNT/null" || fail "a device does not work"
if command -v setpriv >/dev/null; then
  chmod 755 "$TMP"
  same "setuid" 0 "$(setpriv --reuid=12345 --regid=12345 --clear-groups "$MNT/bin/id" -u)"
fi
do_umount
do_mount nosuid,nodev,noexec,notmp
status 126 sh -c "'$MNT/bin/id' -u"
status 2 sh -c "echo x >'$MNT/null'"
do_umount
do_mount ro,notmp
status 1 touch "$MNT/file"
has "read-only" "Read-only file system" "$out"
has "the kernel knows" "ro" "$(findmnt -n -o VFS-OPTIONS "$MNT" | tr , '\n' | grep -x ro)"
do_umount

# mount(8), which calls the program by another name and passes -s, -f and -v on.
ln -s "$NFSROOTFS" "$TMP/mount.nfsrootfs"
mkdir -p "$MNT"
helper() {
  "$TMP/mount.nfsrootfs" "127.0.0.1:$EXPORT" "$MNT" "$@"
}
status 0 helper -f -o "$(mount_options)"
[ -z "$(mounts_below "$TMP")" ] || fail "-f is to mount nothing"
status 40 helper -o "$(mount_options frobnicate)"
status 0 helper -s -v -o "$(mount_options frobnicate)"
has "-v" "127.0.0.1:$EXPORT mounted on $MNT" "$out"
DAEMON=$("$NFSROOTFS" status --json "$MNT" | sed -n 's/^  "pid": \(.*\),$/\1/p')
do_umount
for words in "help" "--help" "--version"; do
  status 0 "$NFSROOTFS" $words
  has "$words" nfsrootfs "$out"
done

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The tmp areas: local directories over places of the root, made where they are
# missing, never through a symlink out of the root, kept until discarded, and
# undone by nfsrootfs umount as well as by umount -R.
. "$(dirname "$0")/lib.sh"

mkdir -p "$TMP/root/etc/portage" "$TMP/root/var" "$TMP/outside"
echo 'portage:x:250:251:portage:/var/tmp/portage:/bin/false' >"$TMP/root/etc/passwd"
start_server "$TMP/root" --fresh

# The defaults, on a root that has none of the directories.
do_mount
for where in /tmp /var/tmp/portage; do
  [ "$(stat -c %d "$MNT$where")" = "$(stat -c %d "$CACHE")" ] ||
    fail "$where is not local"
done
same "/tmp" "0:0 1777" "$(stat -c '%u:%g %a' "$MNT/tmp")"
sync_mount
same "/tmp on the server" "0:0 1777" "$(stat -c '%u:%g %a' "$TMP/root/tmp")"
same "portage's" "250:251 775" "$(stat -c '%u:%g %a' "$MNT/var/tmp/portage")"
same "portage's on the server" "250:251 775" \
  "$(stat -c '%u:%g %a' "$TMP/root/var/tmp/portage")"
same "/var/tmp on the server" "0:0 755" "$(stat -c '%u:%g %a' "$TMP/root/var/tmp")"
echo kept >"$MNT/var/tmp/portage/file"
mkdir -p "$MNT/tmp/a/b"
[ -z "$(ls -A "$TMP/root/tmp" "$TMP/root/var/tmp/portage" | grep -v :)" ] ||
  fail "files of a tmp area went to the server"
has "status names them" "tmp area     /var/tmp/portage in $CACHE/" \
  "$("$NFSROOTFS" status "$MNT")"
do_umount
[ -z "$(ls -A "$TMP/root/tmp")" ] || fail "left on the server"

# Kept across a remount; not discarded while mounted; then discarded.
do_mount
same "kept" kept "$(cat "$MNT/var/tmp/portage/file")"
status 47 "$NFSROOTFS" discard "127.0.0.1:$EXPORT" -o "$(mount_options)"
has "while mounted" "is mounted; unmount it first" "$out"
umount -R "$MNT"
nothing_left
status 0 "$NFSROOTFS" discard "$MNT" -o "cachedir=$CACHE"
has "how much" "5 files and directories removed" "$out"
do_mount
[ ! -e "$MNT/var/tmp/portage/file" ] || fail "discarded, but still there"
[ ! -e "$MNT/tmp/a" ] || fail "discarded, but still there"
do_umount

# What make.conf says.
echo 'PORTAGE_TMPDIR="/build/here" # fast' >"$TMP/root/etc/portage/make.conf"
do_mount
mountpoint -q "$MNT/build/here/portage" || fail "PORTAGE_TMPDIR was not read"
! mountpoint -q "$MNT/var/tmp/portage" || fail "two places for portage"
do_umount

# Places of the user's own: in memory, in a directory of his, one in another.
mkdir "$TMP/mine"
do_mount "tmp=/mem:tmpfs,tmp=/mine:$TMP/mine,tmp=/mine/deep/er"
same "in memory" tmpfs "$(stat -f -c %T "$MNT/mem")"
echo x >"$MNT/mine/file"
[ -e "$TMP/mine/file" ] || fail "not in the directory that was named"
mountpoint -q "$MNT/mine/deep/er" || fail "no area inside the other"
! mountpoint -q "$MNT/tmp" || fail "a default area beside those named"
do_umount
do_mount notmp
[ -z "$(mounts_below "$MNT")" ] || fail "areas in spite of notmp"
do_umount

# Flags are the root mount's and not those of the disk below.
mount -t tmpfs -o noexec,nosuid,nodev tmpfs "$TMP/mine"
do_mount "tmp=/mine:$TMP/mine"
same "flags" "" "$(findmnt -n -o VFS-OPTIONS "$MNT/mine" | grep -o 'no[a-z]*' || :)"
do_umount
do_mount "nosuid,noexec,tmp=/mine:$TMP/mine"
has "flags" nosuid "$(findmnt -n -o VFS-OPTIONS "$MNT/mine")"
has "flags" noexec "$(findmnt -n -o VFS-OPTIONS "$MNT/mine")"
do_umount
umount "$TMP/mine"

# Symlinks stay inside the root.
ln -s / "$TMP/root/rootlink"
ln -s "$TMP/outside" "$TMP/root/absolute"
ln -s ../../../../../../../../.. "$TMP/root/updown"
mkdir -p "$TMP/root/real"
ln -s /real "$TMP/root/link"
do_mount "tmp=/link/area,tmp=/updown/real/two"
mountpoint -q "$MNT/real/area" || fail "/link was not followed inside the root"
mountpoint -q "$MNT/real/two" || fail "/updown was not followed inside the root"
do_umount
status 32 "$NFSROOTFS" mount "127.0.0.1:$EXPORT" "$MNT" \
  -o "$(mount_options "tmp=/absolute/x")"
has "a dangling symlink" "tmp area /absolute/x:" "$out"
[ -z "$(ls -A "$TMP/outside")" ] || fail "made something outside the root"
status 32 "$NFSROOTFS" mount "127.0.0.1:$EXPORT" "$MNT" \
  -o "$(mount_options "tmp=/rootlink")"
has "the root itself" "tmp area /rootlink:" "$out"
[ -z "$(mounts_below "$TMP")" ] || fail "a mount that failed left something"

# A read-only root without the directory: said, and left out.
mkdir -p "$MNT"
out=$(do_mount "ro,tmp=/not/there,tmp=/real" 2>&1)
has "left out" "tmp area /not/there left out: the root is read-only" "$out"
touch "$MNT/real/writable"
DAEMON=$("$NFSROOTFS" status --json "$MNT" | sed -n 's/^  "pid": \(.*\),$/\1/p')
do_umount

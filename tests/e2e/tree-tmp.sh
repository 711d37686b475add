#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Unpack and clean in a tmp area never reach the server, whatever the round-trip
# time; what is in a tmp area is not on the server.
. "$(dirname "$0")/lib.sh"
requires python3

mkdir -p "$TMP/root"
"$here/make-tree" 4200 "$TMP/tree.tar"
start_server "$TMP/root"
start_relay --delay-ms 2.5
do_mount
for _ in 1 2; do
  relay reset-counts
  tar -xf "$TMP/tree.tar" -C "$MNT/var/tmp/portage"
  find "$MNT/var/tmp/portage" | wc -l >/dev/null
  rm -rf "$MNT/var/tmp/portage/tree"
  same "RPCs of unpack and clean" 0 "$(rpcs)"
done
echo kept >"$MNT/var/tmp/portage/file"
setfattr -n user.test -v 1 "$MNT/var/tmp/portage/file" 2>/dev/null || :
[ ! -e "$TMP/root/var/tmp/portage/file" ] || fail "it is on the server"
do_umount

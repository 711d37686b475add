#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The server is away, refusing connections or silent, longer than the trust window
# lasts: what was used before is read on, and built from, without an error; what
# was not waits, and can be interrupted.
. "$(dirname "$0")/lib.sh"
requires python3

mkdir -p "$TMP/root/usr" "$TMP/root/other"
"$here/make-tree" 1500 "$TMP/tree.tar"
tar -xf "$TMP/tree.tar" -C "$TMP/root/usr"
printf '#include "used.h"\nint main(void) { return USED; }\n' >"$TMP/root/usr/used.c"
echo '#define USED 0' >"$TMP/root/usr/used.h"
# Too large to be asked for with its neighbours.
head -c 300000 /dev/zero | tee "$TMP/root/other/refused" >"$TMP/root/other/silent"
want=$("$here/manifest" "$TMP/root/usr" | sha256sum)
start_server "$TMP/root"
start_relay
until_true sh -c '[ $(date +%s) -gt $(($(stat -c %Z "$0") + 4)) ]' "$TMP/root/other/silent"
do_mount notmp,ac=1,timeo=50
same "warm" "$want" "$("$here/manifest" "$MNT/usr" | sha256sum)"
ls "$MNT/other" >/dev/null

# away HOW
away() {
  echo 3 >/proc/sys/vm/drop_caches
  sleep 2 # the trust window itself
  same "$1: what is known" "$want" "$(timeout 60 "$here/manifest" "$MNT/usr" | sha256sum)"
  if command -v cc >/dev/null; then
    timeout 60 cc -o "$MNT/other/used-$1" "$MNT/usr/used.c" || fail "$1: cc"
    "$MNT/other/used-$1" || fail "$1: what was built does not run"
  fi
  # Contents that were never read: waited for, and given up when asked to.
  set +e
  timeout -s INT 2 cat "$MNT/other/$1" >"$TMP/out"
  got=$?
  set -e
  same "$1: waiting for what is not known" 124 "$got"
  [ ! -s "$TMP/out" ] || fail "$1: something of it was there"
}

relay refuse on
relay reset
away refused
relay refuse off
same "back" 300000 "$(timeout 60 cat "$MNT/other/refused" | wc -c)"

rm -f "$MNT"/other/used-*
sync_mount
relay stall
away silent
relay resume
same "back again" 300000 "$(timeout 60 cat "$MNT/other/silent" | wc -c)"
rm -f "$MNT"/other/used-*
sync_mount
same "in the end" "$want" "$("$here/manifest" "$MNT/usr" | sha256sum)"
do_umount

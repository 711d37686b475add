#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The server is away while a tree is unpacked onto its tree: who unpacks does not
# notice, and reads back what he wrote; when the server is back it gets all of
# it. Once it refuses connections, once it accepts them and is silent. AWAY: for
# how many seconds (5 each).
. "$(dirname "$0")/lib.sh"
requires python3 tar

away=${AWAY:-5}
mkdir -p "$TMP/root" "$TMP/local"
"$here/make-tree" 1500 "$TMP/tree.tar"
tar -xf "$TMP/tree.tar" -C "$TMP/local"
"$here/manifest" "$TMP/local/tree" --no-symlink-times >"$TMP/want"
start_server "$TMP/root"
start_relay
# Sent at once: it is under way when the server goes.
do_mount notmp,delay=0,timeo=50

ms() {
  echo $(($(date +%s%N) / 1000000))
}
# unpack DIR: sets $took, in milliseconds.
unpack() {
  started=$(ms)
  mkdir "$MNT/$1"
  timeout 120 tar -xf "$TMP/tree.tar" -C "$MNT/$1" ||
    fail "unpack in $1: status $?"
  took=$(($(ms) - started))
}
equal() {
  timeout 120 "$here/manifest" "$2" --no-symlink-times >"$TMP/got" ||
    fail "$1: status $?"
  diff "$TMP/want" "$TMP/got" >"$TMP/diff" ||
    fail "$1: $(head -5 "$TMP/diff")"
}

unpack undisturbed
undisturbed=$took
sync_mount

# gone HOW: the server goes in the middle of an unpack, and others follow until
# its time is over.
gone() {
  how=$1
  back=$(($(ms) + away * 1000))
  number=0
  while [ $number = 0 ] || [ "$(ms)" -lt $back ]; do
    number=$((number + 1))
    if [ $number = 1 ]; then
      (until [ -d "$MNT/$how-1/tree/d02" ]; do sleep 0.01; done
      if [ "$how" = refuse ]; then
        relay refuse on
        relay reset
      else
        relay stall
      fi) & HELPER=$!
    fi
    unpack "$how-$number"
    if [ $number = 1 ]; then
      wait $HELPER
      HELPER=
    fi
    echo "$how: unpack $number took $took ms, $undisturbed ms undisturbed"
    [ $took -le $((undisturbed * 3 + 500)) ] ||
      fail "$how: the unpack took $took ms, $undisturbed ms undisturbed"
    sleep $((away / 5)) # the outage itself: nothing to wait for
  done
  # What of it is not read from memory is read from the log.
  echo 1 >/proc/sys/vm/drop_caches 2>/dev/null || :
  equal "$how: seen while the server is away" "$MNT/$how-$number/tree"
  [ "$(log_field changes)" -gt 0 ] || fail "$how: nothing is pending"
  if [ "$how" = refuse ]; then relay refuse off; else relay resume; fi
  started=$(ms)
  timeout 200 "$NFSROOTFS" sync "$MNT" 2>"$TMP/log" ||
    fail "$how: sync: status $?: $(cat "$TMP/log")"
  echo "$how: sent $(($(ms) - started)) ms after it came back"
  for n in $(seq $number); do
    equal "$how: on the server's disk" "$TMP/root/$how-$n/tree"
  done
  equal "$how: seen when it is back" "$MNT/$how-1/tree"
}
gone refuse
gone stall
same "conflicts" "no conflicts" "$("$NFSROOTFS" conflicts "$MNT")"
do_umount

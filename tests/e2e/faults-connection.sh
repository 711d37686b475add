#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Connections that break, replies that are lost, a server that goes away and
# comes back: the work goes on, and what was done is as if nothing had happened.
# With changes that go through, and with such that are sent later.
. "$(dirname "$0")/lib.sh"
requires python3

mkdir -p "$TMP/root" "$TMP/local"
"$here/make-tree" 1200 "$TMP/tree.tar"
tar -xf "$TMP/tree.tar" -C "$TMP/local"
"$here/manifest" "$TMP/local/tree" --no-symlink-times >"$TMP/want"
start_server "$TMP/root"
start_relay

equal() {
  "$here/manifest" "$MNT/tree" --no-symlink-times >"$TMP/got"
  diff "$TMP/want" "$TMP/got" >"$TMP/diff" || fail "$1: $(head -5 "$TMP/diff")"
  sync_mount
  "$here/manifest" "$TMP/root/tree" --no-symlink-times >"$TMP/got"
  diff "$TMP/want" "$TMP/got" >"$TMP/diff" ||
    fail "$1, on the server: $(head -5 "$TMP/diff")"
  rm -rf "$MNT/tree"
  sync_mount
  [ ! -e "$TMP/root/tree" ] || fail "$1: rm -rf left something"
}

faults() {
  # All connections reset every 200 ms, during the unpack and the clean-up.
  relay cut-every 200
  tar -xf "$TMP/tree.tar" -C "$MNT"
  equal "$how: connections reset every 200 ms"
  relay cut-every 0
  [ "$("$NFSROOTFS" status --json "$MNT" |
    sed -n 's/.*"reconnects": \([0-9]*\).*/\1/p')" -gt 3 ] ||
    fail "no connection was reset"

  # Executed, but the reply never comes: for every kind of change.
  for n in $(seq 40); do
    relay drop-replies 1
    case $((n % 8)) in
    0) mkdir "$MNT/dir$n" ;;
    1) touch "$MNT/file$n" ;;
    2) ln -s target "$MNT/symlink$n" ;;
    3) mkfifo "$MNT/fifo$n" ;;
    4) ln "$MNT/file1" "$MNT/hard$n" ;;
    5) mv "$MNT/file1" "$MNT/moved" && mv "$MNT/moved" "$MNT/file1" ;;
    6) rm "$MNT/fifo$((n - 3))" ;;
    7) mkdir "$MNT/gone$n" && relay drop-replies 1 && rmdir "$MNT/gone$n" ;;
    esac || fail "with a lost reply: operation $n"
  done
  sync_mount
  rm -rf "$MNT"/dir* "$MNT"/file* "$MNT"/symlink* "$MNT"/fifo* "$MNT"/hard*
  sync_mount
  [ -z "$(ls -A "$MNT" "$TMP/root" | grep -v -e : -e .nfsrootfs)" ] || fail "left: $(ls -A "$MNT" "$TMP/root")"

  # The server stops for 10 s in the middle, and comes back.
  tar -xf "$TMP/tree.tar" -C "$MNT" & unpack=$!
  until_true [ -d "$TMP/root/tree/d02" ]
  "$SERVER" kill "$STATE"
  sleep 10 # the outage itself: nothing to wait for
  [ $how != through=/ ] || alive $unpack ||
    fail "the unpack did not wait for the server"
  "$SERVER" restart "$STATE" >/dev/null
  wait $unpack || fail "the unpack did not go on"
  equal "$how: the server stopped for 10 s"
}

# delay=0: sent at once, and not waited for.
for how in through=/ delay=0; do
  do_mount notmp,$how
  faults
  do_umount
done

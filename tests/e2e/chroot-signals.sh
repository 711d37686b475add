#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Signals are passed on, and nothing survives leaving, however it happens.
set -eu
. "$(dirname "$0")/chroot-prelude.inc"

root=$TMP/root
make_root "$root"
# A name by which a process of the session is known outside.
mark=4$(date +%N | cut -c1-6)
running() { grep -qsa "$mark" /proc/[0-9]*/cmdline; }
gone() { ! running; }

# What the command left behind, even when it has left its process group and
# session's terminal, is gone by the time chrootctl returns.
copy_program "$root" setsid
status 0 "$CHROOTCTL" enter "$root" -- sh -c \
  "setsid sleep $mark >/dev/null 2>&1 & sleep $mark >/dev/null 2>&1 & exit 0"
gone || fail "a process outlived its session"

# started COMMAND...: in the background; $pid, once it says that it is ready
started() {
  rm -f "$TMP/out"
  "$CHROOTCTL" enter "$root" -- "$@" >"$TMP/out" 2>&1 &
  pid=$!
  until_true grep -q ready "$TMP/out"
}
ended() {
  set +e
  wait "$pid"
  got=$?
  set -e
  same "$1" "$2" "$got"
}

for sig in TERM HUP USR1 USR2 QUIT INT WINCH; do
  # A command that a shell starts in the background ignores INT and QUIT, and
  # a shell cannot undo that; env can.
  started env --default-signal=INT,QUIT bash -c \
    "trap 'echo got $sig; exit 33' $sig; echo ready; while :; do sleep 0.05; done"
  kill -"$sig" "$pid"
  ended "the status after SIG$sig" 33
  has "SIG$sig" "got $sig" "$(cat "$TMP/out")"
done

started sh -c "echo ready; exec sleep $mark"
kill -TERM "$pid"
ended "a command without a handler" 143
gone || fail "SIGTERM left a process"

# SIGKILL of chrootctl takes everything with it.
started sh -c "sleep $mark & (setsid sleep $mark &) ; echo ready; sleep $mark"
running || fail "the test's own processes are not found"
kill -KILL "$pid"
ended "SIGKILL" 137
until_true gone
same "no mount is left" 0 "$(grep -c " $TMP" /proc/self/mountinfo || true)"
rm -rf "$root/var" || fail "the root is still busy"
echo PASS

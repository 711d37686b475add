# SPDX-License-Identifier: GPL-2.0-or-later
# lib.sh: what the end-to-end tests share; sourced, not run. For any POSIX
# shell.
#
# A test has the directory $TMP, and however it ends, all mounts below $TMP, all
# daemons, servers and relays that it started through this file, and $TMP are
# gone afterwards. It ends with 0 (passed), 77 (skipped) or by fail.
#
#   start_server DIR [OPTIONS of bench/server start]
#   start_relay                    between us and that server, from now on
#   do_mount [OPTIONS]             of the server's export on $MNT
#   sync_mount                     the server's own disk has all of it then
#   do_umount                      and nothing may be left
#
# BUILD is the build tree (default: build).

set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
: "${BUILD:=$top/build}"
: "${NFSROOTFS:=$BUILD/fs/nfsrootfs}"
: "${CHROOTCTL:=$BUILD/chrootctl/chrootctl}"
RELAY=$BUILD/bench/relay
SERVER=$top/bench/server
NAME=$(basename "$0" .sh)

skip() {
  echo "SKIP: $*"
  exit 77
}

# requires PROGRAM...
requires() {
  for program; do
    command -v "$program" >/dev/null || skip "needs $program"
  done
}

fail() {
  echo "FAIL: $*" >&2
  exit 1
}

[ "$(id -u)" = 0 ] || skip "needs root"

TMP=$(mktemp -d "${TMPDIR:-/tmp}/nfsrootfs-e2e.XXXXXX")
TMP=$(realpath "$TMP")
MNT=$TMP/mnt
CACHE=$TMP/cache
# What a sanitizer finds in a process that has no terminal; judged at the end.
export ASAN_OPTIONS="log_path=$TMP/sanitizer${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
export UBSAN_OPTIONS="log_path=$TMP/sanitizer:print_stacktrace=1"
SERVERS=
RELAYS=
DAEMONS=
HELPER= # a process of the test's own that is to be ended, too

# ---- the end ----

# mounts_below DIR: what is mounted there, the last one first.
mounts_below() {
  cut -d' ' -f5 /proc/self/mountinfo | grep "^$1/" | tac || :
}

# alive PID: a zombie is gone; in a container nobody may reap it.
alive() {
  [ -d "/proc/$1" ] && ! grep -qs '^State:[[:space:]]*Z' "/proc/$1/status"
}

# wait_gone PID SECONDS
wait_gone() {
  alive "$1" || return 0
  timeout "$2" tail --pid="$1" -s 0.05 -f /dev/null 2>/dev/null || ! alive "$1"
}

# end_process PID PROGRAM: a process that has ended may have left its number to
# somebody else's, which is spared.
end_process() {
  alive "$1" || return 0
  [ "$(readlink "/proc/$1/exe")" = "$(realpath "$2")" ] || return 0
  kill "$1" 2>/dev/null || :
  wait_gone "$1" 5 || kill -KILL "$1" 2>/dev/null || :
}

cleanup() {
  status=$?
  trap - EXIT INT TERM HUP
  set +e
  cd /
  [ -z "$HELPER" ] || kill "$HELPER" 2>/dev/null
  # The mounts first, while their server still answers.
  for relay in $RELAYS; do
    "$RELAY" ctl "$TMP/relay.$relay" refuse off >/dev/null 2>&1
    "$RELAY" ctl "$TMP/relay.$relay" resume >/dev/null 2>&1
  done
  mounts_below "$TMP" | while read -r where; do
    umount -l "$where" 2>/dev/null
  done
  for pid in $DAEMONS; do
    [ "$(readlink "/proc/$pid/exe")" != "$(realpath "$NFSROOTFS")" ] ||
      wait_gone "$pid" 3 || end_process "$pid" "$NFSROOTFS"
  done
  for pid in $RELAYS; do end_process "$pid" "$RELAY"; done
  for state in $SERVERS; do "$SERVER" stop "$state" 2>/dev/null; done
  for report in "$TMP"/sanitizer.*; do
    [ -e "$report" ] || continue
    head -n 60 "$report" >&2
    [ $status != 0 ] || status=1
  done
  if [ $status != 0 ] && [ $status != 77 ]; then
    echo "to repeat it: BUILD=$BUILD tests/run e2e/$NAME" >&2
    [ -z "${KEEP:-}" ] || { echo "kept: $TMP" >&2; exit $status; }
  fi
  rm -rf --one-file-system "$TMP"
  exit $status
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# ---- a server ----

# Sets PORT, MOUNTPORT, EXPORT, STATE.
start_server() {
  requires ganesha.nfsd rpcbind
  state=$TMP/server.$(echo "$SERVERS" | wc -w)
  SERVERS="$SERVERS $state"
  "$SERVER" start "$@" --state "$state" >"$state.env"
  PORT=$(sed -n 's/^port=//p' "$state.env")
  MOUNTPORT=$(sed -n 's/^mountport=//p' "$state.env")
  EXPORT=$(sed -n 's/^export=//p' "$state.env")
  STATE=$state
}

# start_relay [OPTIONS]: PORT and MOUNTPORT lead through it from now on. It can
# be told things with: relay COMMAND...
start_relay() {
  [ -x "$RELAY" ] || skip "$RELAY is not built"
  mkfifo "$TMP/ready"
  "$RELAY" --map "127.0.0.1:0=127.0.0.1:$PORT" \
    --map "127.0.0.1:0=127.0.0.1:$MOUNTPORT" --control "$TMP/ctl" "$@" \
    >"$TMP/ready" 2>"$TMP/relay.log" &
  ln -s ctl "$TMP/relay.$!"
  RELAYS="$RELAYS $!"
  read -r _ PORT MOUNTPORT <"$TMP/ready" ||
    fail "the relay did not start: $(cat "$TMP/relay.log")"
  rm "$TMP/ready"
}

relay() {
  "$RELAY" ctl "$TMP/ctl" "$@"
}

# rpcs [PROCEDURE]: how many calls went through the relay so far.
rpcs() {
  relay counts "${1:-total}"
}

# ---- a mount ----

# mount_options [OPTIONS]: with what the server and the cache need.
mount_options() {
  echo "port=$PORT,mountport=$MOUNTPORT,cachedir=$CACHE${1:+,$1}"
}

# do_mount [OPTIONS]: sets DAEMON.
do_mount() {
  mkdir -p "$MNT" "$CACHE"
  chmod 755 "$CACHE"
  "$NFSROOTFS" mount "127.0.0.1:$EXPORT" "$MNT" -o "$(mount_options "$@")"
  DAEMON=$("$NFSROOTFS" status --json "$MNT" |
    sed -n 's/^  "pid": \([0-9]*\),$/\1/p')
  [ "$DAEMON" ] || fail "status names no process"
  DAEMONS="$DAEMONS $DAEMON"
}

# sync_mount: changes are sent later; before the server's disk is looked at.
sync_mount() {
  "$NFSROOTFS" sync "$MNT"
}

# log_field FIELD: of the write-back log, as status has it.
log_field() {
  "$NFSROOTFS" status --json "$MNT" | python3 -c '
import json, sys
print(json.load(sys.stdin)["log"][sys.argv[1]])' "$1"
}

# mutating: how many calls that change something went through the relay.
mutating() {
  relay counts | python3 -c '
import json, sys
counts = json.load(sys.stdin)
print(sum(counts.get(name, 0) for name in
    "SETATTR WRITE CREATE MKDIR SYMLINK MKNOD REMOVE RMDIR RENAME LINK".split()))'
}

# kill_daemon: as a crash would, and its mount is taken away.
kill_daemon() {
  kill -KILL "$DAEMON"
  wait_gone "$DAEMON" 10 || fail "process $DAEMON outlives SIGKILL"
  umount -l "$MNT"
}

# nothing_left: of a mount on $MNT.
nothing_left() {
  wait_gone "$DAEMON" 10 || fail "the daemon, process $DAEMON, is still there"
  ! mountpoint -q "$MNT" || fail "still mounted: $MNT"
  [ -z "$(mounts_below "$MNT")" ] || fail "still mounted: $(mounts_below "$MNT")"
  left=$(find /run/nfsrootfs -name "*$(basename "$TMP")*" 2>/dev/null || :)
  left=$left$(find /run/nfsrootfs -name "*$(basename "$TMP" | sed 's/-/%2D/g')*" \
    2>/dev/null || :)
  [ -z "$left" ] || fail "left in /run/nfsrootfs: $left"
}

do_umount() {
  "$NFSROOTFS" umount "$MNT"
  nothing_left
}

# ---- judging ----

# same WHAT EXPECTED ACTUAL
same() {
  [ "$2" = "$3" ] || fail "$1: expected \"$2\", got \"$3\""
}

# has WHAT PART TEXT
has() {
  case $3 in
  *"$2"*) ;;
  *) fail "$1: expected \"$2\" in: $3" ;;
  esac
}

# status EXPECTED COMMAND...: runs it; output goes to $out, its status is checked.
status() {
  want=$1
  shift
  set +e
  out=$("$@" 2>&1)
  got=$?
  set -e
  [ "$got" = "$want" ] || fail "$*: expected status $want, got $got: $out"
}

# until_true COMMAND...: waits for what another process is about to do, where
# there is no event to wait for. At most 10 s.
until_true() {
  for _ in $(seq 200); do
    if "$@" 2>/dev/null; then return 0; fi
    sleep 0.05
  done
  fail "waited 10 s for: $*"
}

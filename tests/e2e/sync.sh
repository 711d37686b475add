#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# sync: nothing is sent before its time; sync returns when the server's own disk
# has all of it, whoever wrote it and however; it waits for a server that is
# away, and can be told not to; status shows what is pending.
. "$(dirname "$0")/lib.sh"
requires python3

mkdir -p "$TMP/root/etc" "$TMP/root/tmp"
echo old >"$TMP/root/etc/replaced"
start_server "$TMP/root"
start_relay
do_mount notmp,delay=3600

# log FIELD: of status.
log() {
  "$NFSROOTFS" status --json "$MNT" | python3 -c '
import json, sys
print(json.load(sys.stdin)["log"][sys.argv[1]])' "$1"
}
silent_sync() {
  status 0 "$NFSROOTFS" sync "$@"
  same "sync $* says nothing in a pipe" "" "$out"
}

# Nothing pending.
silent_sync "$MNT"
same "changes of a fresh mount" 0 "$(log changes)"

# Files, a replacement, a link, a directory; and what a writer that goes on holds:
# close(2) would hand it over, so nothing is closed. It is more than the daemon
# takes in a moment: that is what syncfs(2) alone does not wait for.
mkdir -p "$MNT/srv/deep"
echo new >"$MNT/srv/deep/file"
ln -s deep "$MNT/srv/symlink"
echo new >"$MNT/etc/.tmp" && mv "$MNT/etc/.tmp" "$MNT/etc/replaced"
head -c 60000000 /dev/urandom >"$TMP/much"
python3 - "$MNT/srv" "$TMP" <<'PY' & HELPER=$!
import mmap, os, sys, time
srv, tmp = sys.argv[1:]
f = open(srv + "/mapped", "w+b")
f.truncate(8192)
m = mmap.mmap(f.fileno(), 8192)
m[4096:4100] = b"late"
much = open(srv + "/much", "wb", buffering=0)
much.write(open(tmp + "/much", "rb").read())
open(tmp + "/written", "w").close()
time.sleep(1000)
PY
until_true [ -e "$TMP/written" ]
same "before its time" old "$(cat "$TMP/root/etc/replaced")"
[ ! -e "$TMP/root/srv" ] || fail "sent before its time"
[ "$(log changes)" -ge 5 ] || fail "changes pending: $(log changes)"
[ "$(log inodes)" -ge 4 ] || fail "inodes pending: $(log inodes)"
[ "$(log bytes_on_disk)" -gt 0 ] || fail "no log on the disk"
has "status as text" " to be sent, the oldest " "$("$NFSROOTFS" status "$MNT")"

silent_sync "$MNT"
same "a file" new "$(cat "$TMP/root/srv/deep/file")"
same "a symlink" deep "$(readlink "$TMP/root/srv/symlink")"
same "a replaced file" new "$(cat "$TMP/root/etc/replaced")"
[ ! -e "$TMP/root/etc/.tmp" ] || fail "the name before the rename is there"
cmp "$TMP/much" "$TMP/root/srv/much" || fail "a file still open: not all is there"
same "a mapping" late "$(tail -c +4097 "$TMP/root/srv/mapped" | head -c 4)"
kill $HELPER
wait $HELPER 2>/dev/null || :
HELPER=
silent_sync "$MNT/srv/deep/file"
same "changes after sync" 0 "$(log changes)"
same "data after sync" 0 "$(log data_bytes)"

# What is undone is not sent.
relay reset-counts
for n in $(seq 50); do echo "$n" >"$MNT/srv/gone$n"; done
rm "$MNT"/srv/gone*
silent_sync "$MNT"
same "files created for nothing" 0 "$(rpcs CREATE)"
[ "$(log cancelled)" -gt 0 ] || fail "nothing was counted as cancelled"

# JSON; several; on a terminal.
echo 1 >"$MNT/srv/one"
"$NFSROOTFS" sync --json "$MNT/srv" | python3 -c '
import json, sys
s = json.load(sys.stdin)
assert s["mountpoint"] == sys.argv[1], s
assert s["reached"] is True and s["away"] is False and s["error"] is None, s
assert s["changes"] == s["bytes"] == s["stuck"] == s["copies"] == 0, s' "$MNT"
"$NFSROOTFS" sync --json "$MNT" "$MNT/etc" | python3 -c '
import json, sys
assert [s["reached"] for s in json.load(sys.stdin)] == [True, True]'
relay delay 50
for n in $(seq 300); do echo "$n" >"$MNT/srv/slow$n"; done
python3 - "$NFSROOTFS" "$MNT" >"$TMP/shown" <<'PY'
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], ["nfsrootfs", "sync", sys.argv[2]])
shown = b""
try:
    while piece := os.read(fd, 4096):
        shown += piece
except OSError:
    pass
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, shown
print(repr(shown))
# A line, if it took long enough for one, is taken away at the end.
assert not shown or shown.endswith(b"\r\x1b[K"), shown
assert b"\n" not in shown, shown
PY
relay delay 0

# The server is away: said once, waited for; ended by a signal; done when it is
# back.
echo late >"$MNT/srv/late"
relay refuse on
relay reset
"$NFSROOTFS" sync "$MNT" 2>"$TMP/log" & HELPER=$!
until_true grep -q "does not answer" "$TMP/log"
kill -TERM $HELPER
set +e
wait $HELPER
got=$?
set -e
same "sync ended by a signal" 8 $got
has "it says" "will be sent when it does" "$(cat "$TMP/log")"
has "it says" "interrupted" "$(cat "$TMP/log")"
"$NFSROOTFS" sync "$MNT" 2>"$TMP/log" & HELPER=$!
until_true grep -q "does not answer" "$TMP/log"
relay refuse off
wait $HELPER || fail "sync after the server came back: status $?"
HELPER=
same "said once" 1 "$(grep -c "does not answer" "$TMP/log")"
same "when it is back" late "$(cat "$TMP/root/srv/late")"

status 46 "$NFSROOTFS" sync "$TMP"
status 46 "$NFSROOTFS" sync /proc
status 1 "$NFSROOTFS" sync
same "no conflicts" "no conflicts" "$("$NFSROOTFS" conflicts "$MNT")"
"$NFSROOTFS" conflicts --json "$MNT" | python3 -c '
import json, sys
c = json.load(sys.stdin)
assert c["total"] == 0 and c["conflicts"] == [], c'
status 1 "$NFSROOTFS" conflicts "$MNT" --keep mine all
status 1 "$NFSROOTFS" conflicts "$MNT" --keep ours
status 32 "$NFSROOTFS" conflicts "$MNT" --keep ours 17
status 0 "$NFSROOTFS" conflicts "$MNT" --keep ours all
do_umount

# A mount that writes nothing has nothing to send.
do_mount ro,notmp
silent_sync "$MNT"
do_umount

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# status: the counters are those the relay sees, the JSON is JSON whatever the
# names, and a daemon that died is shown as dead.
. "$(dirname "$0")/lib.sh"
requires python3

mkdir -p "$TMP/root/etc" "$TMP/root/tmp"
: >"$TMP/root/etc/one"
start_server "$TMP/root"
start_relay
MNT="$TMP/m n\"t\\ü"
do_mount ac=60,timeo=100
ls -lR "$MNT" >"$TMP/list"
cat >"$TMP/check.py" <<'PY'
import json, sys
mnt, source, calls = sys.argv[1], sys.argv[2], int(sys.argv[3])
s = json.load(sys.stdin)
assert s["mountpoint"] == mnt, s["mountpoint"]
assert s["source"] == source, s["source"]
assert s["state"] == "ok"
assert s["rpc"]["total"] == sum(s["rpc"]["by_procedure"].values()) > 0
# The relay also saw what preceded the connections: NULL and MOUNT's calls.
assert 0 <= calls - s["rpc"]["total"] <= 12, (calls, s["rpc"])
assert s["rpc"]["by_procedure"]["READDIRPLUS"] >= 1
assert s["fuse"]["total"] == sum(s["fuse"]["by_kind"].values()) > 0
assert s["connections"] == {"total": 4, "connected": 4, "reconnects": 0}
assert s["cache"]["inodes"] >= 3 and s["cache"]["names"] >= 2
assert s["contents"]["kept"] and s["contents"]["damaged"] == 0
assert s["contents"]["bytes_max"] >= 8 << 20
assert "ac=60" in s["options"].split(",") and "timeo=100" in s["options"].split(",")
assert [a["path"] for a in s["areas"]] == ["/tmp", "/var/tmp/portage"]
assert s["areas"][0]["where"] == mnt + "/tmp"
assert 1 << 20 < s["rss_bytes"] < 150 << 20
assert s["since"].endswith("Z") and s["uptime_s"] >= 0
PY
calls=$(rpcs)
"$NFSROOTFS" status --json "$MNT" | python3 "$TMP/check.py" "$MNT" \
  "127.0.0.1:$EXPORT" "$calls"
"$NFSROOTFS" status "$MNT" --json | python3 -m json.tool >"$TMP/json"
"$NFSROOTFS" status --json | python3 -c '
import json, sys
assert sys.argv[1] in [s["mountpoint"] for s in json.load(sys.stdin)]' "$MNT"
same "asking costs no call" "$calls" "$(rpcs)"
text=$("$NFSROOTFS" status "$MNT")
has "text" "127.0.0.1:$EXPORT on $MNT" "$text"
has "text" "4 of 4 connections up" "$text"

# Clients that say nothing, too much, or go away, hold nobody up.
python3 - "$MNT" /run/nfsrootfs/* <<'PY'
import os, socket, sys
name = os.path.basename(os.path.dirname(sys.argv[1]))
path = [p for p in sys.argv[2:] if p.endswith(".sock") and
        name.replace("-", "%2D") in p][0]
def dial():
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    return s
silent = [dial() for _ in range(10)]
long = dial()
long.sendall(b"x" * 1000)
try:
    assert long.recv(10) == b""
except ConnectionResetError:
    pass
gone = dial()
gone.sendall(b"status json\n")
gone.close()
odd = dial()
odd.sendall(b"frobnicate\n")
assert odd.recv(1000) == b"unknown request 'frobnicate'\n"
ok = dial()
ok.sendall(b"status text\n")
assert b"connections up" in ok.recv(10000)
PY

status 46 "$NFSROOTFS" status "$TMP"
has "not ours" "is not mounted by nfsrootfs" "$out"
status 1 "$NFSROOTFS" status "$MNT" more
status 46 "$NFSROOTFS" umount "$TMP"
status 46 "$NFSROOTFS" umount /proc

# The server goes away and comes back.
relay refuse on
relay reset
ls "$MNT/etc" >"$TMP/list"
until_true sh -c '"$0" status --json "$1" | grep -q "\"connected\": 0"' \
  "$NFSROOTFS" "$MNT"
relay refuse off

# A dead daemon; umount still works and leaves nothing.
kill -KILL "$DAEMON"
wait_gone "$DAEMON" 5
status 49 "$NFSROOTFS" status "$MNT"
has "dead" "DEAD" "$out"
status 49 "$NFSROOTFS" status --json "$MNT"
has "dead" '"state": "dead"' "$out"
status 45 "$NFSROOTFS" mount "127.0.0.1:$EXPORT" "$MNT" -o "$(mount_options)"
"$NFSROOTFS" umount "$MNT" 2>"$TMP/log"
nothing_left

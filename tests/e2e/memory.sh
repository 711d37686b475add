#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The daemon stays below 150 MB after a find over 200,000 files, and below 100 MB
# when the kernel has let go of them.
. "$(dirname "$0")/lib.sh"
requires python3

mkdir -p "$TMP/root"
python3 - "$TMP/root" <<'PY'
import os, sys
for d in range(200):
    path = f"{sys.argv[1]}/dir{d}"
    os.mkdir(path)
    for n in range(1000):
        os.close(os.open(f"{path}/a-file-with-a-usual-name-{n}.h", os.O_CREAT | os.O_WRONLY))
PY
start_server "$TMP/root"
start_relay
do_mount notmp
same "entries" 200201 "$(find "$MNT" | wc -l)"
# with attributes, too: then the kernel knows every inode
same "files" 200000 "$(find "$MNT" -type f -size -1 | wc -l)"
kb=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$DAEMON/status")
echo "memory at its highest: $kb KiB ($(grep -h '^Rss' "/proc/$DAEMON/status" |
  tr -s '\t ' ' ' | tr '\n' ' '))"
[ "$kb" -lt $((150 * 1000)) ] || fail "$kb KiB"

# The kernel lets go of what it does not use: FORGET.
echo 2 >/proc/sys/vm/drop_caches
rss() { sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$DAEMON/status"; }
few_nodes() {
  [ "$("$NFSROOTFS" status --json "$MNT" | sed -n 's/.*"nodes": \([0-9]*\).*/\1/p')" -lt 1000 ]
}
until_true few_nodes
echo "idle: $(rss) KiB"
[ "$(rss)" -lt $((100 * 1000)) ] || fail "idle: $(rss) KiB"
do_umount

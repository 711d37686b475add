#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Memory with many files pending is bounded; after a crash the next mount replays
# them in seconds, and has every one of them. COUNT says how many (30000).
. "$(dirname "$0")/lib.sh"
requires python3

count=${COUNT:-30000}
# For 200,000: 400 MB in memory, 5 s to mount.
limit=$((60000000 + count * 1700))
limit_ms=$((1000 + count / 50))
mkdir -p "$TMP/root"
start_server "$TMP/root"

# status FIELDS...: of status --json, as a path of keys.
field() {
  "$NFSROOTFS" status --json "$MNT" | python3 -c '
import functools, json, sys
print(functools.reduce(lambda d, k: d[k], sys.argv[1:], json.load(sys.stdin)))' "$@"
}

do_mount notmp,delay=3600
python3 - "$MNT" "$count" <<'PY'
import os, sys
top, count = sys.argv[1], int(sys.argv[2])
for n in range(count):
    d = f"{top}/dir{n // 1000}"
    if n % 1000 == 0:
        os.mkdir(d)
    fd = os.open(f"{d}/a-file-with-a-usual-name-{n}.h", os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"%d\n" % n)
    os.close(fd)
PY
changes=$(field log changes)
rss=$(field rss_bytes)
hwm=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$DAEMON/status")
echo "$count files, $changes changes pending: $((rss / 1000000)) MB," \
  "$((hwm / 1000)) MB at most; log $(($(field log bytes_on_disk) / 1000000)) MB"
[ "$changes" -ge $((2 * count)) ] || fail "only $changes pending"
[ "$rss" -lt $limit ] || fail "$rss bytes in memory"

kill -KILL "$DAEMON"
wait_gone "$DAEMON" 5
umount -l "$MNT"
start=$(date +%s%N)
do_mount notmp,delay=3600
spent=$((($(date +%s%N) - start) / 1000000))
echo "mounted again after $spent ms, $(field log replayed) records," \
  "$(($(field rss_bytes) / 1000000)) MB"
[ "$(field log replayed)" -gt $((2 * count)) ] ||
  fail "replayed: $(field log replayed)"
same "changes after replay" "$changes" "$(field log changes)"
[ $spent -lt $limit_ms ] || fail "mounting took $spent ms"
[ "$(field rss_bytes)" -lt $limit ] || fail "$(field rss_bytes) bytes after replay"

cat >"$TMP/check" <<'PY'
import os, sys
top, count = sys.argv[1], int(sys.argv[2])
for n in range(count):
    with open(f"{top}/dir{n // 1000}/a-file-with-a-usual-name-{n}.h") as f:
        text = f.read()
    assert text == f"{n}\n", (n, text)
PY
python3 "$TMP/check" "$MNT" "$count"
start=$(date +%s%N)
status 0 "$NFSROOTFS" sync "$MNT"
echo "sent in $((($(date +%s%N) - start) / 1000000)) ms"
python3 "$TMP/check" "$TMP/root" "$count"
do_umount

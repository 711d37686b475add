#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# nfsrootfs probe: says of an export what a user must know before mounting it,
# changes nothing there but an access time (to see the server's clock), and exits
# as a mount would.
. "$(dirname "$0")/lib.sh"
requires python3

mkdir -p "$TMP/root/etc"
start_server "$TMP/root"
start_relay --delay-ms 5
before=$(stat -c '%y %a %U' "$TMP/root")
status 0 "$NFSROOTFS" probe "127.0.0.1:$EXPORT" -o "port=$PORT,mountport=$MOUNTPORT"
has "the exports" "$EXPORT" "$out"
has "the version" 3 "$out"
same "the root directory" "$before" "$(stat -c '%y %a %U' "$TMP/root")"

"$NFSROOTFS" probe --json "127.0.0.1:$EXPORT" \
  -o "port=$PORT,mountport=$MOUNTPORT" >"$TMP/json"
cat "$TMP/json"
python3 - "$TMP/json" <<'PY'
import json, sys
text = open(sys.argv[1]).read()
assert text.endswith("}\n"), text[-5:]
probe = json.loads(text)
print(json.dumps(probe))
PY

# Each problem, as a mount would tell it.
probe() {
  want=$1
  shift
  status "$want" "$NFSROOTFS" probe "$@"
}
probe 52 "127.0.0.1:/wrong" -o "port=$PORT,mountport=$MOUNTPORT"
has "a wrong export lists the right ones" "$EXPORT" "$out"
probe 50 "no-such-host.invalid:/" -o "port=$PORT,mountport=$MOUNTPORT"
probe 51 "127.0.0.1:$EXPORT" -o "port=1,mountport=1"
probe 40 "127.0.0.1:$EXPORT" -o nonsense

start_server "$TMP/root" --squash root
probe 54 "127.0.0.1:$EXPORT" -o "port=$PORT,mountport=$MOUNTPORT"
has "what to write into /etc/exports" no_root_squash "$out"
start_server "$TMP/root" --ro
probe 55 "127.0.0.1:$EXPORT" -o "port=$PORT,mountport=$MOUNTPORT"
start_server "$TMP/root" --allow 192.0.2.1
probe 53 "127.0.0.1:$EXPORT" -o "port=$PORT,mountport=$MOUNTPORT"

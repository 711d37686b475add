#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# nfsrootfs cache list, check, remove: mounted and not, with damage, and with
# changes that the server does not have.
. "$(dirname "$0")/lib.sh"
requires python3

mkdir -p "$TMP/root/usr"
"$here/make-tree" 300 "$TMP/tree.tar"
tar -xf "$TMP/tree.tar" -C "$TMP/root/usr"
head -c 9000000 /dev/urandom >"$TMP/root/usr/large"
whole=$("$here/manifest" "$TMP/root/usr")
touch "$TMP/root/now"
start_server "$TMP/root"
until_true sh -c '[ $(date +%s) -gt $(($(stat -c %Z "$0") + 4)) ]' "$TMP/root/now"

# cache VERB [ARGUMENTS]
cache() {
  verb=$1
  shift
  "$NFSROOTFS" cache "$verb" "$@" -o "$(mount_options)"
}

# field NAME: of the only object in the JSON on standard input.
field() {
  sed -n "s/^ *\"$1\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}\$/\1/p"
}

# listed FIELD: of the only export.
listed() {
  cache list --json | field "$1"
}

# checked FIELD
checked() {
  field "$1" <"$TMP/checked"
}

# damage: some bytes of each pack.
damage() {
  python3 - "$CACHE"/*/blob/*.pack <<'PY'
import os, random, sys
for path in sys.argv[1:]:
    with open(path, "r+b") as f:
        for at in range(8192, os.path.getsize(path), 100000):
            f.seek(at)
            old = f.read(1)
            f.seek(at)
            f.write(bytes([old[0] ^ 1]))
PY
}

# ---- nothing yet ----
mkdir -p "$CACHE"
same "list of nothing" "[]" "$(cache list --json | tr -d '\n ')"
status 32 cache check "127.0.0.1:$EXPORT"
has "check of nothing" "nothing is kept of" "$out"

# ---- mounted ----
do_mount notmp,ac=forever,delay=3600
same "read" "$whole" "$("$here/manifest" "$MNT/usr")"
same "mounted" true "$(listed mounted)"
same "mount point" "$MNT" "$(listed mountpoint)"
same "changes" 0 "$(listed changes)"
[ "$(listed contents_bytes)" -gt 9000000 ] || fail "$(cache list)"
[ "$(listed meta_bytes)" -gt 0 ] || fail "$(cache list)"
has "list" "to be sent   nothing: the server has everything" "$(cache list "$MNT")"
cache check "$MNT" --json >"$TMP/checked"
same "damaged" 0 "$(checked damaged)"
[ "$(checked bytes)" -gt 9000000 ] || fail "$(cat "$TMP/checked")"
damage
status 63 cache check "$MNT"
has "check" "DAMAGED and are dropped" "$out"
cache check "$MNT" >"$TMP/out"
has "check again" "are sound" "$(cat "$TMP/out")"
echo 3 >/proc/sys/vm/drop_caches
same "damaged while mounted" "$whole" "$("$here/manifest" "$MNT/usr")"
status 47 cache remove "$MNT"
has "remove" "unmount it first, or remove the contents only" "$out"
cache remove "127.0.0.1:$EXPORT" --contents >"$TMP/out"
[ "$(listed contents_bytes)" -lt 1000000 ] || fail "$(cache list)"
echo 3 >/proc/sys/vm/drop_caches
same "without contents" "$whole" "$("$here/manifest" "$MNT/usr")"
echo new >"$MNT/new"
sync -f "$MNT" || :
until_true [ "$(listed changes)" -gt 0 ]
status 59 "$NFSROOTFS" umount --now "$MNT"
nothing_left

# ---- not mounted ----
same "not mounted" false "$(listed mounted)"
changes=$(listed changes)
[ "$changes" -gt 0 ] || fail "$(cache list)"
same "listing changes nothing" "$changes" "$(listed changes)"
has "list" "the server does not have them" "$(cache list)"
cache check "$MNT" --json >"$TMP/checked"
same "damaged" 0 "$(checked damaged)"
chunks=$(checked chunks)
[ "$chunks" -gt 300 ] || fail "$(cat "$TMP/checked")"
damage
status 63 cache check "127.0.0.1:$EXPORT" --json
cache check "$MNT" --json >"$TMP/checked"
[ "$(checked chunks)" -lt "$chunks" ] || fail "$(cat "$TMP/checked")"
cache remove "$MNT" >"$TMP/out"
has "remove" "log is kept: $changes changes" "$(cat "$TMP/out")"
same "left" "" "$(ls "$CACHE"/*/blob "$CACHE"/*/meta | grep -v : || :)"
do_mount notmp,ac=forever,delay=3600
same "what waited" new "$(cat "$MNT/new")"
sync_mount
same "on the server" new "$(cat "$TMP/root/new")"
rm "$MNT/new"
sync_mount
same "all of it" "$whole" "$("$here/manifest" "$MNT/usr")"
do_umount

# ---- the command line ----
status 1 "$NFSROOTFS" cache
status 1 "$NFSROOTFS" cache remove
status 1 "$NFSROOTFS" cache remove --json "$MNT"
status 1 "$NFSROOTFS" cache list --contents

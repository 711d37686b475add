#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# -o record=FILE writes down what was used, and warm --from FILE fetches it: what
# ran then runs again without a call, on a machine that knew nothing.
. "$(dirname "$0")/lib.sh"

mkdir -p "$TMP/root/usr" "$TMP/root/bin" "$TMP/root/local"
"$here/make-tree" 400 "$TMP/tree.tar"
tar -xf "$TMP/tree.tar" -C "$TMP/root/usr"
echo "a name with a newline" >"$TMP/root/bin/new
line"
echo target >"$TMP/root/bin/target"
ln -s target "$TMP/root/bin/link"
touch "$TMP/root/now"
start_server "$TMP/root"
start_relay
until_true sh -c '[ $(date +%s) -gt $(($(stat -c %Z "$0") + 4)) ]' "$TMP/root/now"

FILE=$TMP/record
# The run: some files, a symlink, names that are not there, a listing.
run() {
  cat "$MNT"/usr/tree/d00/e1/*.c "$MNT/bin/link" "$MNT/bin/new
line" >"$TMP/seen.$1"
  ! [ -e "$MNT/usr/tree/d00/e2/absent" ] || fail "absent is there"
  ls "$MNT/usr/tree/d01" >/dev/null
  : >"$MNT/local/here"
}

# ---- recorded ----
do_mount "tmp=/local:tmpfs,record=$FILE"
run 1
[ ! -e "$FILE" ] || fail "it is written at the end"
do_umount
[ ! -e "$FILE.new" ] || fail "left: $FILE.new"
same "first line" "nfsrootfs-record 1" "$(head -n 1 "$FILE")"
for line in "names /" "names /usr/tree/d00/e1" "contents /usr/tree/d00/e1/f20.c" \
  "names /usr/tree/d00/e2" "names /usr/tree/d01" "contents /bin/link" \
  "contents /bin/target" 'contents /bin/new\012line'; do
  grep -qxF "$line" "$FILE" || fail "no line '$line': $(cat "$FILE")"
done
! grep -q "contents /usr/tree/d00/e2" "$FILE" || fail "not read: $(cat "$FILE")"
! grep -q "/usr/tree/d01/e0" "$FILE" || fail "not used: $(cat "$FILE")"
! grep -q "/local/" "$FILE" || fail "of a tmp area: $(cat "$FILE")"
lines=$(($(wc -l <"$FILE") - 1))
same "each once" "$lines" "$(sed 1d "$FILE" | sort -u | wc -l)"

# ---- fetched, where nothing is known ----
rm -rf "$CACHE"
relay delay 5
do_mount "tmp=/local:tmpfs,ac=600"
relay reset-counts
status 0 "$NFSROOTFS" warm "$MNT" --from "$FILE"
echo "$out"
has "warm" "are known, as recorded; 0 are gone" "$out"
same "lines in a pipe" 1 "$(echo "$out" | wc -l)"
[ "$(rpcs inflight_max)" -ge 10 ] || fail "not many at once: $(relay counts)"
[ "$(rpcs READ)" -gt 0 ] || fail "nothing was read: $(relay counts)"
relay reset-counts
run 2
same "calls of what ran before" 0 "$(rpcs)"
cmp "$TMP/seen.1" "$TMP/seen.2"
relay reset-counts
status 0 "$NFSROOTFS" warm "$MNT" --from "$FILE" --json
has "again" "\"recorded\": $lines," "$out"
has "again" "\"done\": $lines," "$out"
same "calls of a second time" 0 "$(rpcs)"
cat "$MNT/usr/tree/d00/e0/f0.c" >/dev/null
[ "$(rpcs)" -gt 0 ] || fail "what was not recorded was fetched, too"
do_umount
do_mount "tmp=/local:tmpfs,ac=forever"
relay reset-counts
run 3
same "calls after a remount" 0 "$(rpcs)"

# ---- what is gone, and what a record is not ----
{ echo "nfsrootfs-record 1"; echo "contents /nothing"; echo "names /bin/link"
  echo "contents /local/here"; echo "names /bin/../../../etc"; } >"$TMP/gone"
status 0 "$NFSROOTFS" warm "$MNT" --from "$TMP/gone"
has "gone" "; 4 are gone" "$out"
{ cat "$FILE"; echo "content /bin"; } >"$TMP/bad"
status 32 "$NFSROOTFS" warm "$MNT" --from "$TMP/bad"
has "bad" "line $((lines + 2)) is not one of a record" "$out"
status 32 "$NFSROOTFS" warm "$MNT" --from /dev/null
has "empty" "line 1 is not one of a record" "$out"
status 32 "$NFSROOTFS" warm "$MNT" --from "$TMP/no-such-file"
status 1 "$NFSROOTFS" warm "$MNT" --from "$FILE" /usr
has "with a path" "the record has them" "$out"

# ---- interrupted, while the server is away ----
do_umount
rm -rf "$CACHE"
do_mount "tmp=/local:tmpfs"
relay stall
timeout --signal=INT 1 "$NFSROOTFS" warm "$MNT" --from "$FILE" >"$TMP/out" 2>&1 &&
  fail "it ended without the server"
relay resume
has "interrupted" "; interrupted" "$(cat "$TMP/out")"
do_umount

# ---- a record stays until the next one is whole ----
cp "$FILE" "$TMP/before"
do_mount "tmp=/local:tmpfs,record=$FILE"
run 4
kill_daemon
cmp "$FILE" "$TMP/before"
do_mount "tmp=/local:tmpfs"
mkdir "$TMP/mnt2" "$TMP/cache2"
status 57 "$NFSROOTFS" mount "127.0.0.1:$EXPORT" "$TMP/mnt2" \
  -o "port=$PORT,mountport=$MOUNTPORT,cachedir=$TMP/cache2,record=$FILE"
do_umount
cmp "$FILE" "$TMP/before"
[ ! -e "$FILE.new" ] || fail "left: $FILE.new"
status 32 "$NFSROOTFS" mount "127.0.0.1:$EXPORT" "$MNT" \
  -o "$(mount_options "record=$TMP/nowhere/record")"
has "no directory" "record=$TMP/nowhere/record: No such file or directory" "$out"
status 1 "$NFSROOTFS" mount "127.0.0.1:$EXPORT" "$MNT" -o "$(mount_options record=here)"
has "relative" "want an absolute path" "$out"

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# `chrootctl enter HOST:/PATH` mounts before and unmounts after, whatever
# happens between. A stand-in for nfsrootfs writes down how it is called and
# mounts a local directory; what it is called with is its documented interface.
set -eu
. "$(dirname "$0")/chroot-prelude.inc"

server=server-$(date +%N)
make_root "$TMP/root"
cat >"$TMP/nfsrootfs" <<END
#!/bin/sh
echo "\$@" >>"$TMP/calls"
case \$1 in
mount)
  case \$2 in *refused*) echo "nfsrootfs: access denied" >&2; exit 5 ;; esac
  mount --bind "$TMP/root" "\$3" ;;
umount)
  if [ -e "$TMP/stuck" ]; then exit 6; fi
  umount "\$2"
  if [ -e "$TMP/pending" ]; then exit 59; fi ;;
esac
END
chmod 755 "$TMP/nfsrootfs"
export NFSROOTFS="$TMP/nfsrootfs"
sessions() { ls -A /run/chrootctl 2>/dev/null | grep -c "$server" || true; }
nothing_left() {
  same "$1: directories" 0 "$(sessions)"
  same "$1: mounts" 0 "$(grep -c /run/chrootctl/ /proc/self/mountinfo || true)"
  same "$1: unmounts" "$2" "$(grep -c ^umount "$TMP/calls" || true)"
  : >"$TMP/calls"
}

status 3 "$CHROOTCTL" enter -o ro,soft "$server:/export/root" -- sh -c 'exit 3'
has "the options" "mount $server:/export/root /run/chrootctl/$server:_export_root." \
  "$(cat "$TMP/calls")"
has "the options" " -o ro,soft" "$(cat "$TMP/calls")"
nothing_left "a command that fails" 1

status 137 "$CHROOTCTL" enter "$server:/x" -- sh -c 'kill -9 $$'
nothing_left "a command that is killed" 1

status 3 "$CHROOTCTL" enter --no-sync "$server:/x" -- sh -c 'exit 3'
has "the server is not waited for" "umount /run/chrootctl/*--now" \
  "$(cat "$TMP/calls")"
nothing_left "--no-sync" 1

: >"$TMP/pending"
status 0 "$CHROOTCTL" enter "$server:/x" -- true
rm "$TMP/pending"
nothing_left "an unmount with changes left in the log" 1

"$CHROOTCTL" enter "$server:/x" -- sh -c 'echo ready; exec sleep 100' \
  >"$TMP/out" 2>&1 &
pid=$!
until_true grep -q ready "$TMP/out"
kill -TERM $pid
set +e
wait $pid
got=$?
set -e
same "chrootctl told to end" 143 "$got"
nothing_left "chrootctl itself is told to end" 1

status 117 "$CHROOTCTL" enter "$server:/refused" -- true
has "a mount that fails says why" "access denied" "$out"
has "a mount that fails" "cannot mount $server:/refused" "$out"
nothing_left "a mount that fails" 0

rm "$TMP/root/usr/bin/sh"
status 114 "$CHROOTCTL" enter "$server:/x" -- true
nothing_left "a root that cannot be entered" 1
cp -L /bin/sh "$TMP/root/usr/bin/sh"

: >"$TMP/stuck"
status 125 "$CHROOTCTL" enter "$server:/x" -- true
has "an unmount that fails" "is still mounted on /run/chrootctl/$server" "$out"
umount /run/chrootctl/$server:_x.*
rmdir /run/chrootctl/$server:_x.*
echo PASS

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What is mounted inside, that none of it is seen outside, and that no link in
# the root leads a mount or a write out of it.
set -eu
. "$(dirname "$0")/chroot-prelude.inc"

root=$TMP/root
make_root "$root"
outside() { cat /proc/self/mountinfo; }

# A tmp area, as `nfsrootfs mount` makes it, is carried along.
mkdir -p "$root/var/tmp/portage" "$TMP/area"
mount --bind "$root" "$root"
mount --bind "$TMP/area" "$root/var/tmp/portage"
before=$(outside)

status 0 "$CHROOTCTL" enter "$root" -- sh -c '
  set -e
  echo x >/var/tmp/portage/built
  echo $$ $PPID
  cat /proc/self/mountinfo
  : >/dev/null
  test -c /dev/tty && test -c /dev/urandom && test -c /dev/full
  test -d /dev/shm && test "$(stat -c %a /dev/shm)" = 1777
  test "$(stat -c %a /run/lock)" = 1777
  test -e /dev/fd/0 && test -e /sys/kernel
  : >/run/written
  ! touch /sys/kernel/written 2>/dev/null
  ! chmod 600 /dev/null 2>/dev/null
  test "$(stat -f -c %T /proc)" = proc
'
for what in "/ /proc .* - proc" "/ /sys ro,.* - sysfs" "/ /dev rw,nosuid" \
  "/ /dev/pts .*gid=7" "/ /run rw" "/var/tmp/portage"; do
  echo "$out" | grep -q -- "$what" || fail "no mount like $what in: $out"
done
has "the process ids are the session's own" "2 1" "$out"
echo "$out" | grep -q 'shared:' && fail "shared mounts inside: $out"
same "nothing of this machine is in sight inside" 0 \
  "$(echo "$out" | cut -d' ' -f5 | grep -c "$TMP" || true)"
same "mounts outside" "$before" "$(outside)"
same "written through the tmp area" x "$(cat "$TMP/area/built")"
[ ! -e "$root/run/written" ] || fail "/run inside is the root's own directory"
[ "$(stat -c %a /dev/null)" = 666 ] || fail "/dev/null of this machine changed"

# --bind, --bind-ro, also to a place that a link leads to.
mkdir "$TMP/src" "$root/real"
echo hello >"$TMP/src/f"
ln -s /real "$root/alias"
same "--bind" hello "$("$CHROOTCTL" enter --bind "$TMP/src:/alias" "$root" -- \
  sh -c 'touch /real/new && cat /real/f')"
[ -e "$TMP/src/new" ] || fail "--bind is not writable"
status 1 "$CHROOTCTL" enter --bind-ro "$TMP/src:/real" "$root" -- \
  sh -c 'test -e /real/f || exit 9; touch /real/newer 2>/dev/null'
status 125 "$CHROOTCTL" enter --bind "$TMP/src:/absent" "$root" -- true
has "a target that does not exist" "/absent: does not exist" "$out"
mkdir "$TMP/victim"
ln -s "../../../../../../..$TMP/victim" "$root/escape"
status 125 "$CHROOTCTL" enter --bind "$TMP/src:/escape" "$root" -- true
same "mounts outside after an attack" "$before" "$(outside)"

# resolv.conf: this machine's, in every form that the root's can have; the
# root's own file is never written.
machine=$(cat /etc/resolv.conf)
inside() { "$CHROOTCTL" enter "$@" "$root" -- cat /etc/resolv.conf 2>"$TMP/err"; }
same "a plain file" "$machine" "$(inside)"
same "the file below" "nameserver 192.0.2.99" "$(cat "$root/etc/resolv.conf")"
same "--no-resolv" "nameserver 192.0.2.99" "$(inside --no-resolv)"
"$CHROOTCTL" enter "$root" -- sh -c 'echo spoilt >/etc/resolv.conf'
same "written inside" "$machine" "$(cat /etc/resolv.conf)"
same "the file below" "nameserver 192.0.2.99" "$(cat "$root/etc/resolv.conf")"
ln -s /run "$root/var/run"
for link in /run/systemd/resolve/stub-resolv.conf ../run/resolv.conf \
  ../var/run/NetworkManager/resolv.conf /var/run/a/b/c; do
  ln -sf "$link" "$root/etc/resolv.conf"
  same "a dangling link to $link" "$machine" "$(inside)"
done
for link in /var/absent/resolv.conf "../../../../../..$TMP/victim/f" \
  /run/a/../../etc/made /etc/resolv.conf; do
  ln -sf "$link" "$root/etc/resolv.conf"
  status 0 "$CHROOTCTL" enter "$root" -- true
  has "a link to $link" "warning: host names will not resolve" "$out"
done
[ -z "$(ls "$TMP/victim")" ] || fail "something was written outside"
[ ! -e "$root/etc/made" ] && [ ! -e "$root/var/absent" ] || fail "written to the root"
rm "$root/etc/resolv.conf"
status 0 "$CHROOTCTL" enter "$root" -- \
  sh -c 'test ! -e /etc/resolv.conf'
has "none" "no /etc/resolv.conf" "$out"
[ ! -e "$root/etc/resolv.conf" ] || fail "resolv.conf was made in the root"
same "mounts outside at the end" "$before" "$(outside)"
echo PASS

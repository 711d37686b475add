#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What cannot be entered is refused before anything is mounted or changed,
# each with its own message and status; `check` says the same.
set -eu
. "$(dirname "$0")/chroot-prelude.inc"
requires setpriv

good=$TMP/good
make_root "$good"

# refused STATUS TEXT DIR
refused() {
  before=$(ls -laR "$3" 2>/dev/null || true)
  status "$1" "$CHROOTCTL" enter "$3" -- true
  has "enter $3" "$2" "$out"
  status "$1" "$CHROOTCTL" check "$3"
  has "check $3" "$2" "$out"
  has "check $3" FAILED "$out"
  same "nothing changed in $3" "$before" "$(ls -laR "$3" 2>/dev/null || true)"
}

# variant NAME: a copy of the good root, to be damaged
variant() {
  cp -a "$good" "$TMP/$1"
  bad=$TMP/$1
}

refused 111 "does not exist" "$TMP/absent"
: >"$TMP/file"
refused 112 "is not a directory" "$TMP/file"
mkdir "$TMP/empty"
refused 113 "no directory bin, etc, usr" "$TMP/empty"

variant no-shell
rm "$bad/usr/bin/sh"
refused 114 "has no shell" "$bad"
ln -s /usr/../../../../../../bin/sh "$bad/usr/bin/sh"
refused 114 "has no shell" "$bad" # a link to itself, once kept inside
rm "$bad/usr/bin/sh"
: >"$bad/usr/bin/sh"
refused 114 "cannot be executed" "$bad"

# The first 20 bytes of ELF: class, byte order, type, machine.
variant foreign
header='\177ELF\001\002\001\0\0\0\0\0\0\0\0\0\0\002\0\010' # mips, 32-bit, big
{ printf "$header"; head -c 200 /dev/zero; } >"$bad/usr/bin/sh"
chmod 755 "$bad/usr/bin/sh"
refused 115 "mips, 32-bit, big-endian" "$bad"
has "the machine's own architecture" "this machine runs" "$out"
echo '#!/bin/false' >"$bad/usr/bin/sh"
refused 115 "is not an ELF program" "$bad"

for point in proc sys dev run; do
  variant "link-$point"
  rmdir "$bad/$point"
  ln -s ../../../../../../../../../../../mnt "$bad/$point"
  refused 116 "/$point in it is a symbolic link" "$bad"
done
variant file-proc
rmdir "$bad/proc"
: >"$bad/proc"
refused 116 "/proc in it is a file" "$bad"

chmod 755 "$TMP"
for dir in "$good" 192.0.2.1:/nowhere; do
  status 110 setpriv --reuid 65534 --regid 65534 --clear-groups \
    "$CHROOTCTL" enter "$dir" -- true
  has "not the superuser" "only the superuser" "$out"
done

status 0 "$CHROOTCTL" check "$good"
has "a good root" "ok      architecture" "$out"

# --dry-run prints the steps in their order, and does none of them.
rmdir "$good/sys"
status 0 "$CHROOTCTL" enter --dry-run --bind /usr:/tmp "$good" -- touch /made
has "dry run" "mount proc on /proc" "$out"
has "dry run" "bind /usr on /tmp
make the new root /" "$out"
has "dry run" "touch /made" "$out"
[ ! -e "$good/made" ] && [ ! -e "$good/sys" ] || fail "--dry-run did something"
status 0 "$CHROOTCTL" enter "$good" -- touch /made
has "a missing directory is made, and said" "no /sys" "$out"
[ -e "$good/made" ] && [ -d "$good/sys" ] || fail "enter did nothing"
echo PASS

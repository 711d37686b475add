#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The main job over a real server: enter the mounted root, unpack and compile in
# the tmp area, install into the root; what was installed runs there, and is on
# the server's disk with its owner, mode and setuid bit. And all of it by
# `chrootctl enter HOST:/PATH`.
set -eu
. "$(dirname "$0")/chroot-prelude.inc"
requires cc tar

make_root "$TMP/root"
copy_program "$TMP/root" tar install cat chmod chown mkdir rm stat ln
printf 'root:x:0:0::/root:/bin/sh\nportage:x:250:250::/var/tmp/portage:/bin/false\n' \
  >"$TMP/root/etc/passwd"
mkdir -p "$TMP/src/hello-1"
cat >"$TMP/src/hello-1/hello.c" <<'C'
#include <stdio.h>
#include <unistd.h>
int main(void) { printf("hello, euid %d\n", (int)geteuid()); return 0; }
C
# The compiler stays outside the small root: the program is compiled in the tmp
# area, where inside and outside meet.
tar -C "$TMP/src" -cf "$TMP/hello.tar" hello-1

start_server "$TMP/root"
start_relay --delay-ms 1
do_mount
area=/var/tmp/portage
sync_mount
same "the area's owner on the server" "250:250 775" \
  "$(stat -c '%u:%g %a' "$TMP/root$area")"
cp "$TMP/hello.tar" "$MNT$area/"
inside() {
  timeout 60 "$CHROOTCTL" enter "$MNT" -- sh -ec "$1"
}
inside "cd $area && tar -xf hello.tar"
cc -static -o "$MNT$area/hello-1/hello" "$MNT$area/hello-1/hello.c"
inside "cd $area/hello-1
  mkdir -p /usr/local/bin /usr/local/share/doc/hello
  install -m 4711 -o 250 -g 250 hello /usr/local/bin/hello
  install -m 644 hello.c /usr/local/share/doc/hello/hello.c
  ln -s hello /usr/local/bin/hi
  cd / && rm -rf $area/hello-1"
same "run inside" "hello, euid 250" "$(inside /usr/local/bin/hi)"
same "what is cleaned" "" "$(ls "$TMP/root$area")"
do_umount

same "owner and mode on the server" "250:250 4711" \
  "$(stat -c '%u:%g %a' "$TMP/root/usr/local/bin/hello")"
same "the symlink on the server" hello "$(readlink "$TMP/root/usr/local/bin/hi")"
cmp "$TMP/src/hello-1/hello.c" "$TMP/root/usr/local/share/doc/hello/hello.c" ||
  fail "the installed file differs"

# By name: mounted before, unmounted after, the status passed on.
status 7 timeout 60 "$CHROOTCTL" enter "127.0.0.1:$EXPORT" \
  -o "$(mount_options)" -- sh -c '/usr/local/bin/hello; exit 7'
has "run by name" "hello, euid 250" "$out"
same "mounts left" 0 "$(grep -c /run/chrootctl/ /proc/self/mountinfo || :)"

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Where a change is made decides when the server gets it: through=, back= inside
# of it, what is moved from the one to the other; delay= sends by itself;
# fsync=server waits for the server.
. "$(dirname "$0")/lib.sh"
requires python3

root=$TMP/root
mkdir -p "$root/srv/back/deep" "$root/usr"
start_server "$root"
start_relay

pending() {
  "$NFSROOTFS" status --json "$MNT" | python3 -c '
import json, sys
print(json.load(sys.stdin)["log"]["changes"])'
}
# there NAME TEXT, missing NAME: on the server's own disk, now.
there() {
  same "$1 on the server" "$2" "$(cat "$root/$1" 2>&1)"
}
missing() {
  [ ! -e "$root/$1" ] && [ ! -L "$root/$1" ] ||
    fail "$1 was sent before its time"
}

# The deepest path decides.
do_mount notmp,delay=3600,through=/srv,back=/srv/back
echo 1 >"$MNT/srv/file"
there srv/file 1
mkdir -p "$MNT/srv/a/b" && echo 2 >"$MNT/srv/a/b/file"
there srv/a/b/file 2
ln -s to "$MNT/srv/symlink"
same "a symlink" to "$(readlink "$root/srv/symlink")"
mv "$MNT/srv/file" "$MNT/srv/renamed"
there srv/renamed 1
chmod 600 "$MNT/srv/renamed"
same "chmod" 600 "$(stat -c %a "$root/srv/renamed")"
rm "$MNT/srv/renamed"
missing srv/renamed
same "pending of what goes through" 0 "$(pending)"
echo 3 >"$MNT/srv/back/file"
echo 4 >"$MNT/srv/back/deep/file"
echo 5 >"$MNT/usr/file"
mkdir "$MNT/usr/dir" && echo 6 >"$MNT/usr/dir/file"
for f in srv/back/file srv/back/deep/file usr/file usr/dir; do missing $f; done

# A file that is moved into what goes through is there when the call returns;
# with all that it needs to be there, and no more.
mv "$MNT/usr/file" "$MNT/srv/moved"
there srv/moved 5
missing usr/file
echo 55 >"$MNT/srv/moved"
there srv/moved 55
mv "$MNT/usr/dir" "$MNT/srv/dir"
there srv/dir/file 6
echo 7 >"$MNT/srv/dir/new"
there srv/dir/new 7
# Out of it: what is changed there from now on waits.
mv "$MNT/srv/moved" "$MNT/usr/moved"
echo 8 >>"$MNT/usr/moved"
same "moved out" "55
8" "$(cat "$MNT/usr/moved")"
[ "$(cat "$root/usr/moved" 2>&1)" != "55
8" ] || fail "moved out, and sent at once"
mv "$MNT/srv/dir" "$MNT/usr/dir2"
echo 9 >"$MNT/usr/dir2/later"
missing usr/dir2/later
# A place takes its policy along; a link in one place of a file in the other.
mv "$MNT/srv/back" "$MNT/srv/back2"
echo 10 >"$MNT/srv/back2/new"
missing srv/back2/new
echo 11 >"$MNT/usr/linked"
ln "$MNT/usr/linked" "$MNT/srv/link"
there srv/link 11
status 0 "$NFSROOTFS" sync "$MNT"
there usr/moved "55
8"
there usr/dir2/later 9
there usr/linked 11
there srv/back2/new 10
do_umount

# All goes through, but for one place. And a path that is not there.
do_mount notmp,delay=3600,through=/,back=/usr,through=/none 2>"$TMP/log"
has "a path that is not there" "/none: there is no such directory" \
  "$(cat "$TMP/log")"
echo 1 >"$MNT/top" && mkdir "$MNT/new" && echo 2 >"$MNT/new/file"
there top 1
there new/file 2
same "pending" 0 "$(pending)"
echo 3 >"$MNT/usr/top"
missing usr/top
rm -r "$MNT/new" "$MNT/usr/top"
missing new
same "cancelled" 0 "$(pending)"
do_umount

# It is sent by itself, and no earlier.
do_mount notmp,delay=1
start=$(date +%s%N)
echo 1 >"$MNT/usr/soon"
until_true [ -s "$root/usr/soon" ]
spent=$((($(date +%s%N) - start) / 1000000))
[ $spent -ge 900 ] || fail "sent after $spent ms, with delay=1"
do_umount
do_mount notmp,delay=0
echo 1 >"$MNT/usr/now"
until_true [ -s "$root/usr/now" ]
do_umount

# fsync: of a file, with what leads to it; of a directory.
fsync() {
  python3 -c '
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
os.fsync(fd)' "$1"
}
do_mount notmp,delay=3600,fsync=server
mkdir -p "$MNT/usr/x/y" && echo 1 >"$MNT/usr/x/y/file"
missing usr/x
fsync "$MNT/usr/x/y/file"
there usr/x/y/file 1
echo 2 >"$MNT/usr/x/other"
fsync "$MNT/usr/x"
there usr/x/other 2
do_umount
do_mount notmp,delay=3600
relay reset-counts
echo 1 >"$MNT/usr/local"
fsync "$MNT/usr/local"
missing usr/local
same "calls for an fsync" 0 "$(rpcs WRITE)"
do_umount
there usr/local 1

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Each way a mount can be refused has its own message and exit status, and
# leaves nothing: no mount, no process, no socket.
. "$(dirname "$0")/lib.sh"

mkdir -p "$TMP/root/tmp" "$MNT" "$CACHE"
start_server "$TMP/root"
export_a=$EXPORT
port_a=$PORT mountport_a=$MOUNTPORT

# refused STATUS MESSAGE SOURCE DIR OPTIONS
refused() {
  status "$1" "$NFSROOTFS" mount "$3" "$4" -o "$5"
  has "message of $1" "$2" "$out"
  [ "$(echo "$out" | wc -l)" = 1 ] || fail "more than one line: $out"
  [ -z "$(mounts_below "$TMP")" ] || fail "$3 $4 $5 left a mount"
}
good=$(mount_options)

# the command line
refused 40 "unknown option 'frobnicate'" "127.0.0.1:$EXPORT" "$MNT" "$good,frobnicate"
refused 1 "timeo=soon: want a whole number" "127.0.0.1:$EXPORT" "$MNT" "$good,timeo=soon"
refused 1 "only NFS version 3 is spoken" "127.0.0.1:$EXPORT" "$MNT" "$good,vers=4.2"
refused 1 "not of the form HOST:/PATH" "no-path" "$MNT" "$good"
status 1 "$NFSROOTFS" mount "127.0.0.1:$EXPORT"
has "an argument missing" "wants HOST:/PATH and a mount point" "$out"
status 1 "$NFSROOTFS" frobnicate
has "an unknown command" "unknown command 'frobnicate'" "$out"

# this machine
if command -v setpriv >/dev/null; then
  chmod 755 "$TMP"
  cp "$NFSROOTFS" "$TMP/nfsrootfs" # the build tree may be root's alone
  status 41 setpriv --reuid=65534 --regid=65534 --clear-groups \
    "$TMP/nfsrootfs" mount "127.0.0.1:$EXPORT" "$MNT" -o "$good"
  has "not root" "only root may do this" "$out"
fi
status 42 unshare --mount sh -c '
  mount -t tmpfs tmpfs /dev && exec "$@"' sh \
  "$NFSROOTFS" mount "127.0.0.1:$EXPORT" "$MNT" -o "$good"
has "no device" "there is no /dev/fuse" "$out"
status 42 unshare --mount sh -c '
  mount -t tmpfs tmpfs /dev && : >/dev/fuse && exec "$@"' sh \
  "$NFSROOTFS" mount "127.0.0.1:$EXPORT" "$MNT" -o "$good"
has "another device" "/dev/fuse is not the FUSE device" "$out"
refused 43 "does not exist; make it with mkdir" "127.0.0.1:$EXPORT" "$TMP/none" "$good"
: >"$TMP/file"
refused 44 "is not a directory" "127.0.0.1:$EXPORT" "$TMP/file" "$good"
refused 44 "is not a directory" "127.0.0.1:$EXPORT" "$TMP/file/below" "$good"
refused 1 "own root" "127.0.0.1:$EXPORT" / "$good"

# the server
refused 50 "cannot find the address of no-such-host.invalid" \
  "no-such-host.invalid:$EXPORT" "$MNT" "$good"
closed=$((PORT + 2000))
refused 51 "nothing listens there" "127.0.0.1:$EXPORT" "$MNT" \
  "port=$closed,mountport=$closed,cachedir=$CACHE"
refused 52 "does not export /nowhere" 127.0.0.1:/nowhere "$MNT" "$good"
start_server "$TMP/root" --allow 192.0.2.1
refused 53 "refuses to export" "127.0.0.1:$EXPORT" "$MNT" "$(mount_options)"
has "what to do" "no_root_squash" "$out"
start_server "$TMP/root" --squash root
refused 54 "no_root_squash" "127.0.0.1:$EXPORT" "$MNT" "$(mount_options)"
do_mount ro 2>"$TMP/log"
do_umount
start_server "$TMP/root" --ro
refused 55 "-o ro" "127.0.0.1:$EXPORT" "$MNT" "$(mount_options)"
do_mount ro 2>"$TMP/log"
status 1 touch "$MNT/x"
do_umount
PORT=$port_a MOUNTPORT=$mountport_a EXPORT=$export_a

# already mounted: there, and elsewhere
do_mount
status 45 "$NFSROOTFS" mount "127.0.0.1:$EXPORT" "$MNT" -o "$good"
has "mounted there" "is already mounted" "$out"
mkdir "$TMP/mnt2"
status 64 "$NFSROOTFS" mount "127.0.0.1:$EXPORT" "$TMP/mnt2" -o "$good"
has "mounted elsewhere" "is in use" "$out"
mkdir -m 700 "$MNT/cache"
status 60 "$NFSROOTFS" mount "127.0.0.1:$EXPORT" "$TMP/mnt2" \
  -o "port=$PORT,mountport=$MOUNTPORT,cachedir=$MNT/cache"
has "the cache on FUSE" "on a network or FUSE filesystem (FUSE)" "$out"
status 60 "$NFSROOTFS" mount "127.0.0.1:$EXPORT" "$TMP/mnt2" \
  -o "port=$PORT,mountport=$MOUNTPORT,cachedir=$MNT/cache/new"
[ ! -e "$TMP/root/cache/new" ] || fail "made a cache directory on the server"
do_umount

# the cache directory
base="port=$PORT,mountport=$MOUNTPORT"
mkdir "$TMP/ro"
mount -t tmpfs -o ro tmpfs "$TMP/ro"
status 61 "$NFSROOTFS" mount "127.0.0.1:$EXPORT" "$MNT" -o "$base,cachedir=$TMP/ro"
has "read-only" "cannot be written to" "$out"
umount "$TMP/ro"
refused 61 "make it first" "127.0.0.1:$EXPORT" "$MNT" "$base,cachedir=$TMP/a/b"
refused 61 "Not a directory" "127.0.0.1:$EXPORT" "$MNT" "$base,cachedir=$TMP/file"
mkdir -m 777 "$TMP/open"
chmod 777 "$TMP/open"
refused 65 "others may write" "127.0.0.1:$EXPORT" "$MNT" "$base,cachedir=$TMP/open"
dir=$CACHE/127.0.0.1:$PORT:-export
[ -d "$dir/meta" ] || fail "no $dir/meta"
same "mounts that failed left no directory" 3 "$(ls "$CACHE" | wc -l)"
chmod 755 "$dir"
refused 65 "must be root's alone" "127.0.0.1:$EXPORT" "$MNT" "$good"
chmod 700 "$dir"
mv "$dir" "$TMP/moved"
ln -s "$TMP/moved" "$dir"
refused 65 "is not a directory" "127.0.0.1:$EXPORT" "$MNT" "$good"
rm "$dir"
mv "$TMP/moved" "$dir"

cp "$dir/about" "$TMP/about"
sed -i '1s/[0-9]*$/999/' "$dir/about"
refused 62 "format version 999" "127.0.0.1:$EXPORT" "$MNT" "$good"
echo garbage >"$dir/about"
refused 63 "is damaged" "127.0.0.1:$EXPORT" "$MNT" "$good"
cp "$TMP/about" "$dir/about"
sed -i 's/^server .*/server elsewhere:\/export/' "$dir/about"
refused 66 "belongs to elsewhere:/export" "127.0.0.1:$EXPORT" "$MNT" "$good"
cp "$TMP/about" "$dir/about"

# the metadata cache in it; what removes it is what the message says
for file in "$dir"/meta/*; do
  [ -s "$file" ] || continue
  case $file in *lock*) continue ;; esac
  size=$(stat -c %s "$file")
  head -c 4096 /dev/urandom | dd of="$file" conv=notrunc bs=4096 status=none
  head -c 4096 /dev/urandom |
    dd of="$file" conv=notrunc bs=4096 seek=1 status=none
  truncate -s "$size" "$file"
done
refused 63 "is damaged; nothing is lost" "127.0.0.1:$EXPORT" "$MNT" "$good"
"$NFSROOTFS" discard --cache "127.0.0.1:$EXPORT" -o "$base,cachedir=$CACHE" >"$TMP/out"
do_mount
same "mounted after discard" tmp "$(ls "$MNT" | grep tmp)"
do_umount
[ -z "$(ls /run/nfsrootfs 2>/dev/null | grep "$(basename "$TMP" | sed 's/-/%2D/g')" || :)" ] ||
  fail "something was left in /run/nfsrootfs"

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What somebody else changed on the server under a change that waits is never
# overwritten unseen: ours has the name, theirs lies beside it, both are listed
# and can be settled. What the server refuses for good is kept, shown everywhere,
# survives the mount, and can be tried again or given up.
. "$(dirname "$0")/lib.sh"
requires python3 chattr

root=$TMP/root
mkdir -p "$root/etc" "$root/gone" "$root/locked"
start_server "$root" --fresh
start_relay

# conflicts EXPRESSION: over the list c of nfsrootfs conflicts.
conflicts() {
  "$NFSROOTFS" conflicts --json "$MNT" | python3 -c '
import json, sys
c = json.load(sys.stdin)["conflicts"]
print(eval(sys.argv[1]))' "$1"
}
log() {
  "$NFSROOTFS" status --json "$MNT" | python3 -c '
import json, sys
print(json.load(sys.stdin)["log"][sys.argv[1]])' "$1"
}
# sent: all of it, quietly but for the copies.
sent() {
  status 0 "$NFSROOTFS" sync "$MNT"
  same "pending after sync" 0 "$(log changes)"
}
# beside DIR/NAME: the server's version of it.
beside() {
  set -- "$1" "$root/$1".conflict-*
  [ $# = 2 ] && [ -e "$2" ] || fail "copies of $1: $*"
  echo "$2"
}
# both NAME: a file changed here and there, and sent.
both() {
  printf 'base' >"$root/etc/$1"
  same "$1 before" base "$(cat "$MNT/etc/$1")"
  printf 'ours' >"$MNT/etc/$1"
  printf 'theirs, longer' >"$root/etc/$1"
  sent
  same "$1: ours has the name" ours "$(cat "$root/etc/$1")"
  same "$1: theirs is beside" "theirs, longer" "$(cat "$(beside "etc/$1")")"
  same "$1: theirs is seen" "theirs, longer" "$(cat "$MNT/etc/$1".conflict-*)"
}

do_mount notmp,delay=3600,ac=0
same "none yet" "no conflicts" "$("$NFSROOTFS" conflicts "$MNT")"

# Changed contents; each way to settle it.
both ours
has "sync says" "the server's version lies beside" "$out"
has "the list" "copy" "$("$NFSROOTFS" conflicts "$MNT")"
same "the path" /etc/ours "$(conflicts 'c[0]["path"]')"
same "the copy" "$(beside etc/ours)" "$root$(conflicts 'c[0]["copy"]')"
status 0 "$NFSROOTFS" conflicts "$MNT" --keep ours "$(conflicts 'c[0]["id"]')"
sent
same "--keep ours" ours "$(cat "$root/etc/ours")"
same "--keep ours" "ours" "$(cd "$root/etc" && echo ours*)"
both theirs
status 0 "$NFSROOTFS" conflicts "$MNT" --keep theirs all
same "--keep theirs, here" "theirs, longer" "$(cat "$MNT/etc/theirs")"
sent
same "--keep theirs" "theirs, longer" "$(cat "$root/etc/theirs")"
same "--keep theirs" "theirs" "$(cd "$root/etc" && echo theirs*)"
both both
status 0 "$NFSROOTFS" conflicts "$MNT" --keep both all
sent
same "--keep both" "theirs, longer" "$(cat "$(beside etc/both)")"
rm "$MNT"/etc/both.conflict-*
same "settled" 0 "$(conflicts 'len(c)')"
status 32 "$NFSROOTFS" conflicts "$MNT" --keep ours 999999

# One that was appended to, one that is removed here, one that is renamed over.
for name in append remove replace; do
  echo base >"$root/etc/$name"
  same "$name" base "$(cat "$MNT/etc/$name")"
done
echo more >>"$MNT/etc/append"
rm "$MNT/etc/remove"
echo new >"$MNT/etc/.new"
mv "$MNT/etc/.new" "$MNT/etc/replace"
for name in append remove replace; do echo "theirs" >"$root/etc/$name"; done
sent
same "removed here, changed there" theirs "$(cat "$(beside etc/remove)")"
[ ! -e "$root/etc/remove" ] || fail "removed here, but there"
same "replaced here" new "$(cat "$root/etc/replace")"
same "replaced here, changed there" theirs "$(cat "$(beside etc/replace)")"
same "appended here, changed there" theirs "$(cat "$(beside etc/append)")"
same "copies" 3 "$(log copies)"
status 0 "$NFSROOTFS" conflicts "$MNT" --keep ours all
same "settled" 0 "$(log copies)"
sent
same "copies are gone" "" "$(find "$root" -name '*.conflict-*')"

# A name that is taken there meanwhile: by a file, by a directory; a directory
# that both made is one.
ls "$MNT/etc" >/dev/null
echo ours >"$MNT/etc/name" && echo theirs >"$root/etc/name"
echo ours >"$MNT/etc/dirname" && mkdir "$root/etc/dirname"
echo theirs >"$root/etc/dirname/in"
mkdir "$MNT/etc/dir" && echo ours >"$MNT/etc/dir/a"
mkdir "$root/etc/dir" && echo theirs >"$root/etc/dir/b"
ln -s ours "$MNT/etc/symlink" && ln -s theirs "$root/etc/symlink"
mkdir "$MNT/etc/overfile" && echo theirs >"$root/etc/overfile"
echo in >"$MNT/etc/overfile/in"
sent
same "name: ours" ours "$(cat "$root/etc/name")"
same "name: theirs" theirs "$(cat "$(beside etc/name)")"
same "dirname: ours" ours "$(cat "$root/etc/dirname")"
same "dirname: theirs" theirs "$(cat "$(beside etc/dirname)/in")"
same "dir" "a b" "$(cd "$root/etc/dir" && echo *)"
same "dir, here" "a b" "$(cd "$MNT/etc/dir" && echo *)"
same "symlink: ours" ours "$(readlink "$root/etc/symlink")"
same "symlink: theirs" theirs \
  "$(readlink "$root"/etc/symlink.conflict-*)"
same "overfile: ours" in "$(cat "$root/etc/overfile/in")"
same "overfile: theirs" theirs "$(cat "$(beside etc/overfile)")"
same "copies" 4 "$(log copies)"
status 0 "$NFSROOTFS" conflicts "$MNT" --keep both all

# A directory removed here, in which somebody makes a file meanwhile.
mkdir "$root/gone/dir"
echo old >"$root/gone/dir/old"
same "before" old "$(cat "$MNT/gone/dir/old")"
rm -r "$MNT/gone/dir"
echo theirs >"$root/gone/dir/theirs"
sent
[ ! -e "$root/gone/dir" ] || fail "a directory that is removed has its name"
same "what was made in it" theirs "$(cat "$(beside gone/dir)/theirs")"
status 0 "$NFSROOTFS" conflicts "$MNT" --keep theirs all
sent
same "back again" theirs "$(cat "$MNT/gone/dir/theirs")"
same "back again" theirs "$(cat "$root/gone/dir/theirs")"

# Removed there under a write: made anew; and where another one has the name by
# then, that is kept.
for name in anew replaced; do
  mkdir "$root/gone/$name"
  echo base >"$root/gone/$name/file"
  chmod 640 "$root/gone/$name/file"
  same "before" base "$(cat "$MNT/gone/$name/file")"
  echo ours >"$MNT/gone/$name/file"
  rm "$root/gone/$name/file"
done
echo theirs >"$root/gone/replaced/file"
sent
same "made anew" "ours 640" \
  "$(cat "$root/gone/anew/file") $(stat -c %a "$root/gone/anew/file")"
same "made anew, here" ours "$(cat "$MNT/gone/anew/file")"
same "replaced" ours "$(cat "$root/gone/replaced/file")"
same "replaced, theirs" theirs "$(cat "$(beside gone/replaced/file)")"
# Removed there and here; a directory removed there under what is made in it.
echo base >"$root/gone/twice"
ls -l "$MNT/gone" >/dev/null
rm "$MNT/gone/twice" "$root/gone/twice"
mkdir -p "$root/gone/up/lost" && chmod 710 "$root/gone/up/lost"
ls -R "$MNT/gone/up" >/dev/null
echo new >"$MNT/gone/up/lost/a"
mkdir "$MNT/gone/up/lost/d" && echo deep >"$MNT/gone/up/lost/d/b"
rm -r "$root/gone/up"
sent
same "in a directory made anew" "new deep 710" "$(cat "$root/gone/up/lost/a" \
  "$root/gone/up/lost/d/b" | tr '\n' ' ')$(stat -c %a "$root/gone/up/lost")"
same "the same, here" "new deep" \
  "$(cat "$MNT/gone/up/lost/a" "$MNT/gone/up/lost/d/b" | tr '\n' ' ' | sed 's/ $//')"
# A name that was free when something was renamed to it here.
ls "$MNT/etc" >/dev/null
echo ours >"$MNT/etc/.tmp" && sent
mv "$MNT/etc/.tmp" "$MNT/etc/taken" && echo theirs >"$root/etc/taken"
sent
same "renamed to a name taken there" "ours theirs" \
  "$(cat "$root/etc/taken") $(cat "$(beside etc/taken)")"
status 0 "$NFSROOTFS" conflicts "$MNT" --keep ours all
sent

# Refused for good.
chattr +i "$root/locked" 2>/dev/null || skip "needs chattr +i"
unlock() {
  chattr -i "$root/locked" "$root/locked"/* 2>/dev/null || :
}
end() {
  status=$?
  set +e
  unlock
  (exit $status)
  cleanup
}
trap end EXIT
ls "$MNT/locked" >/dev/null
echo kept >"$MNT/locked/file"
mkdir "$MNT/locked/dir" && echo inside >"$MNT/locked/dir/inside"
echo other >"$MNT/etc/other"
status 58 "$NFSROOTFS" sync "$MNT"
has "sync says" "the server refuses 2 changes" "$out"
same "all else is there" other "$(cat "$root/etc/other")"
same "stuck" 2 "$(log stuck)"
has "status" "2 REFUSED by the server" "$("$NFSROOTFS" status "$MNT")"
same "the list" \
  "[('/locked/dir', 'stuck', 'create'), ('/locked/file', 'stuck', 'create')]" \
  "$(conflicts 'sorted((x["path"], x["kind"], x["what"]) for x in c)')"
has "why" "ermi" "$(conflicts 'c[0]["error"]')"
same "applied here" kept "$(cat "$MNT/locked/file")"
same "applied here" inside "$(cat "$MNT/locked/dir/inside")"
python3 - "$MNT/locked/file" "$MNT/etc/other" <<'PY'
import errno, os, sys
with open(sys.argv[1], "a") as f:
    try:
        os.fsync(f.fileno())
        sys.exit("fsync of what is stuck says nothing")
    except OSError as e:
        assert e.errno in (errno.EPERM, errno.EACCES), e
with open(sys.argv[2], "a") as f:
    os.fsync(f.fileno())
PY
status 32 "$NFSROOTFS" conflicts "$MNT" --keep both all
status 59 "$NFSROOTFS" umount "$MNT"
has "umount says" "refuse" "$out"
nothing_left

# The next mount has it still; then the server takes it.
do_mount notmp,delay=3600,ac=0
same "after the next mount" kept "$(cat "$MNT/locked/file")"
same "after the next mount" inside "$(cat "$MNT/locked/dir/inside")"
status 58 "$NFSROOTFS" sync "$MNT"
same "stuck after the next mount" 2 "$(log stuck)"
unlock
sent
same "no longer refused" kept "$(cat "$root/locked/file")"
same "no longer refused" inside "$(cat "$root/locked/dir/inside")"
same "settled" "0 0" "$(log stuck) $(conflicts 'len(c)')"

# Contents, a removal and a rename that are refused, and given up: what the server
# has is seen again.
mkdir "$root/locked/d"
for name in rm mv write; do echo "old $name" >"$root/locked/$name"; done
for name in rm mv write; do
  same before "old $name" "$(cat "$MNT/locked/$name")"
done
chattr +i "$root/locked" "$root/locked/write"
rm "$MNT/locked/rm"
mv "$MNT/locked/mv" "$MNT/locked/mv2"
echo "new and longer" >"$MNT/locked/write"
echo new >"$MNT/locked/made"
status 58 "$NFSROOTFS" sync "$MNT"
same "stuck" 4 "$(log stuck)"
[ ! -e "$MNT/locked/rm" ] || fail "removed, but seen"
status 0 "$NFSROOTFS" conflicts "$MNT" --keep ours \
  "$(conflicts '[x["id"] for x in c if x["what"] == "remove"][0]')"
status 58 "$NFSROOTFS" sync "$MNT"
same "tried again, and refused again" 4 "$(log stuck)"
status 0 "$NFSROOTFS" conflicts "$MNT" --keep theirs all
same "given up" "0 0" "$(log stuck) $(log changes)"
for name in rm mv write; do
  same "given up" "old $name" "$(cat "$MNT/locked/$name")"
done
same "given up: names" "$(ls "$root/locked")" "$(ls "$MNT/locked")"
sent
unlock
echo again >"$MNT/locked/made"
sent
same "and later" again "$(cat "$root/locked/made")"
do_umount

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The exit status of `chrootctl enter` is the command's.
set -eu
. "$(dirname "$0")/chroot-prelude.inc"

root=$TMP/root
make_root "$root"

status 0 "$CHROOTCTL" enter "$root" -- true
status 1 "$CHROOTCTL" enter "$root" sh -c 'exit 1'
status 42 "$CHROOTCTL" enter "$root" -- sh -c 'exit 42'
status 143 "$CHROOTCTL" enter "$root" -- sh -c 'kill -TERM $$'
status 137 "$CHROOTCTL" enter "$root" -- sh -c 'kill -KILL $$'
status 127 "$CHROOTCTL" enter "$root" -- no-such-command
has "command not found" no-such-command "$out"
status 126 "$CHROOTCTL" enter "$root" -- /etc/passwd
has "not executable" /etc/passwd "$out"

# Arguments arrive as they were given.
status 0 "$CHROOTCTL" enter "$root" -- sh -c 'for a; do echo "[$a]"; done' sh \
  'a b' '' '$HOME' "it's" '--'
same arguments "[a b]
[]
[\$HOME]
[it's]
[--]" "$out"

# Commands on standard input, and standard output that is the command's only.
same "commands on stdin" "yes 7" "$(echo 'echo $FROM_PROFILE $((3+4)); exit 0' |
  "$CHROOTCTL" enter "$root" 2>/dev/null)"
status 9 sh -c "echo 'exit 9' | '$CHROOTCTL' enter '$root'"
same "stdin of a command" "through" \
  "$(echo through | "$CHROOTCTL" enter "$root" -- cat)"

# SIGCHLD ignored by the caller does not lose the status.
status 5 sh -c "trap '' CHLD; exec '$CHROOTCTL' enter '$root' -- sh -c 'exit 5'"

# Usage errors.
for args in "" "enter" "bogus" "check" "check a b" "enter --bogus $root" \
  "enter -o ro $root" "enter -E =x $root" "enter --bind /tmp:rel $root" \
  "enter --dry-run host:/path"; do
  # shellcheck disable=SC2086
  status 2 "$CHROOTCTL" $args
done
status 125 "$CHROOTCTL" enter --bind "$TMP/absent:/tmp" "$root" -- true
status 0 "$CHROOTCTL" --help
has help "usage: chrootctl enter" "$out"
status 0 "$CHROOTCTL" --version
has version "chrootctl " "$out"
echo PASS

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Terminals inside: the user's own, new ones, job control, and the foreground
# given back on leaving.
set -eu
. "$(dirname "$0")/chroot-prelude.inc"
requires script

root=$TMP/root
make_root "$root"
copy_program "$root" script stty

# on_terminal COMMAND: its output, run by sh on a new terminal
on_terminal() { script -qec "$1" /dev/null </dev/null | tr -d '\r'; }

same "tty(1)" /dev/console "$(on_terminal "'$CHROOTCTL' enter '$root' -- tty")"
same "/dev/tty" open "$(on_terminal \
  "'$CHROOTCTL' enter '$root' -- sh -c ': </dev/tty && echo open'")"
same "a new terminal" "/dev/pts/0 7" "$("$CHROOTCTL" enter "$root" -- \
  script -qec 'echo $(tty) $(stat -c %g $(tty))' /dev/null </dev/null | tr -d '\r')"
same "no terminal" "not a tty" "$("$CHROOTCTL" enter "$root" -- tty </dev/null || true)"

# Job control: an interactive bash stops and resumes a job, and when it has
# left, the caller's own shell is in the foreground again. Keys are sent when
# what they are meant for is on the screen. (A shell that starts something in the
# background has it ignore Ctrl-C; env undoes that.)
mkfifo "$TMP/keys"
env --default-signal=INT,QUIT script -qec "'$CHROOTCTL' enter '$root'; echo left=\$?; stty -a >/dev/tty && echo still-in-front" \
  /dev/null <"$TMP/keys" >"$TMP/screen" 2>&1 &
pid=$!
exec 3>"$TMP/keys"
shown() { grep -q "$1" "$TMP/screen"; }
until_true shown '(root)'
echo 'sh -c "echo on-\$((1+1)); sleep 100"' >&3
until_true shown on-2
printf '\032' >&3
until_true shown Stopped
echo 'kill %1; fg; echo after-$?' >&3
until_true shown after-
echo 'sh -c "echo on-\$((1+2)); sleep 100"' >&3
until_true shown on-3
printf '\003' >&3
echo 'echo status-$?' >&3
until_true shown status-130
echo 'exit 6' >&3
until_true shown still-in-front
exec 3>&-
wait "$pid"
shown left=6 || fail "the status of the shell: $(cat "$TMP/screen")"
echo PASS

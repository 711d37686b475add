#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The environment inside is that of a fresh login, and the prompt names the
# root.
set -eu
. "$(dirname "$0")/chroot-prelude.inc"
requires script

root=$TMP/root-a
make_root "$root"

export EMPTY= SECRET=leak KEPT=kept TERM=dumb
status 0 "$CHROOTCTL" enter "$root" -- env
case $out in *SECRET* | *CHROOT*) fail "the caller's environment leaks: $out" ;; esac
for line in TERM=dumb HOME=/root USER=root LOGNAME=root SHELL=/bin/bash \
  FROM_PROFILE=yes PATH=/usr/local/sbin; do
  has "login environment" "$line" "$out"
done
status 0 "$CHROOTCTL" enter -E KEPT -E 'NEW=a b' -E HOME=/tmp -E UNSET_HERE -E EMPTY \
  "$root" -- env
has "-E passes on" "KEPT=kept" "$out"
has "-E sets" "NEW=a b" "$out"
has "-E passes on what is empty" "EMPTY=" "$out"
has "-E replaces" "HOME=/tmp" "$out"
case $out in *UNSET_HERE* | *HOME=/root*) fail "-E: $out" ;; esac

# The command starts in the home directory, or in / when there is none.
same "working directory" /root "$("$CHROOTCTL" enter "$root" -- sh -c 'pwd')"
rmdir "$root/root"
same "without a home" / "$("$CHROOTCTL" enter "$root" -- sh -c 'pwd')"
mkdir "$root/root"

# env-update runs first; its output is not the command's; it may fail.
cat >"$root/usr/sbin/env-update" <<'END'
#!/bin/sh
echo "noise of env-update"
echo 'export FROM_ENV_UPDATE=yes' >>/etc/profile
exit 3
END
chmod 755 "$root/usr/sbin/env-update"
same "--no-env-update" "" \
  "$("$CHROOTCTL" enter --no-env-update "$root" -- sh -c 'echo $FROM_ENV_UPDATE')"
same "env-update" yes \
  "$("$CHROOTCTL" enter "$root" -- sh -c 'echo $FROM_ENV_UPDATE' 2>"$TMP/err")"
has "a failure is a warning" "warning: /usr/sbin/env-update" "$(cat "$TMP/err")"
has "its output" "noise" "$(cat "$TMP/err")"
rm "$root/usr/sbin/env-update"

# interactive: what a shell on a terminal shows
interactive() {
  printf '%s\nexit\n' "$1" |
    script -qec "'$CHROOTCTL' enter '$root'" /dev/null 2>&1 | tr -d '\r'
}

# Startup files that set the prompt themselves do not win.
cat >>"$root/etc/profile" <<'END'
PS1='from-profile> '
END
echo "PS1='from-bash-profile> '; FROM_HOME=yes" >"$root/root/.bash_profile"
has "bash" "(root-a) from-bash-profile> " "$(interactive 'echo')"
has "bash: profiles are read" "=yes=yes=" \
  "$(interactive 'echo =$FROM_PROFILE=$FROM_HOME=')"
sed -i 's/bash$/sh/' "$root/etc/passwd"
has "sh" "(root-a) from-profile> " "$(interactive 'echo')"
has "sh: profiles are read" "=yes=" "$(interactive 'echo =$FROM_PROFILE=')"

# The name is a word for a shell, whatever the directory is called.
mv "$root" "$TMP/x\$(touch \$HOME)y"
root="$TMP/x\$(touch \$HOME)y"
has "a hostile name" "(x__touch__HOME_y) " "$(interactive 'echo')"

# A shell that is not there is replaced.
sed -i 's/sh$/nosuchshell/' "$root/etc/passwd"
status 0 "$CHROOTCTL" enter "$root" -- sh -c 'echo $SHELL'
has "a missing login shell" "nosuchshell" "$out"
has "its replacement" "/bin/sh" "$out"
echo PASS

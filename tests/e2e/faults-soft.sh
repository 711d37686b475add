#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A server that no longer answers. soft: an error in time. hard: a wait that a
# signal ends; what is known keeps being served.
. "$(dirname "$0")/lib.sh"

mkdir -p "$TMP/root/known" "$TMP/root/unknown" "$TMP/root/never"
echo 1 >"$TMP/root/known/file"
echo 2 >"$TMP/root/unknown/file"
echo 3 >"$TMP/root/never/file"
start_server "$TMP/root"
start_relay

do_mount notmp,soft,timeo=10,retrans=1,ac=1
cat "$MNT/known/file" >/dev/null
relay stall
started=$(date +%s)
if ls "$MNT/unknown" 2>"$TMP/err"; then fail "no error from a silent server"; fi
took=$(($(date +%s) - started))
has "the error" "Input/output error" "$(cat "$TMP/err")"
[ $took -le 6 ] || fail "timeo=10,retrans=1 took $took s"
relay resume
until_true ls "$MNT/unknown"
do_umount

# Another directory: the cache knows that one by now, across the mount.
do_mount notmp,timeo=10,ac=1
ls "$MNT/known" >/dev/null
cat "$MNT/known/file" >/dev/null
relay refuse on
relay reset
ls "$MNT/never" >"$TMP/out" 2>&1 & waiting=$!
until_true grep -q request_wait_answer "/proc/$waiting/stack"
sleep 2 # the trust window ends
same "what is known" file "$(timeout 10 ls "$MNT/known")"
alive $waiting || fail "a hard mount did not wait: $(cat "$TMP/out")"
kill -TERM $waiting
wait_gone $waiting 5 || fail "a signal did not end the wait"
relay refuse off
same "after the outage" file "$(timeout 30 ls "$MNT/never")"
do_umount

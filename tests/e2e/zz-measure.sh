#!/bin/bash
# measure.sh TREE DELAYS(one way) : cold find, remount find, remount find -ls
. "$(dirname "$0")/lib.sh"
TREE=$1; shift
cat $(find $TREE -maxdepth 1 -type f | head -1) >/dev/null
start_server $TREE --ro
start_relay
secs() { local a=$(date +%s.%N); "$@" >/dev/null; echo "$(date +%s.%N) - $a" | bc; }
counts() { relay counts | python3 -c '
import json,sys
c=json.load(sys.stdin); print({k:v for k,v in c.items() if k in ("GETATTR","READDIRPLUS","LOOKUP","total","max_in_flight","inflight_max")})'; }
dirs=$(find $TREE -xdev -type d | wc -l)
echo "dirs $dirs"
for d in "$@"; do
  relay delay $d
  rm -rf $CACHE
  do_mount ro,notmp; relay reset-counts
  echo "one-way $d: cold find $(secs find $MNT -xdev)"; counts
  [ -z "${V:-}" ] || $NFSROOTFS status $MNT | grep -E "ahead|RPC|daemon"
  do_umount
  do_mount ro,notmp; relay reset-counts
  echo "  remount find $(secs find $MNT -xdev)"; counts
  [ -z "${V:-}" ] || $NFSROOTFS status $MNT | grep -E "ahead|FUSE"
  do_umount
  do_mount ro,notmp; relay reset-counts
  echo "  remount find -ls $(secs find $MNT -xdev -ls)"; counts
  [ -z "${V:-}" ] || $NFSROOTFS status $MNT | grep -E "ahead|FUSE"
  do_umount
done

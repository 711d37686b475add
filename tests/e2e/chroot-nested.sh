#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Sandboxes inside a session, a session inside a chroot, and a machine whose
# root cannot be pivoted away.
set -eu
. "$(dirname "$0")/chroot-prelude.inc"

root=$TMP/root
make_root "$root"

# What Portage's sandboxes use.
status 0 "$CHROOTCTL" enter "$root" -- unshare -m -p -i -n -u -f --mount-proc \
  sh -c 'echo pid $$; cat /proc/net/dev'
has "mount, PID, IPC and network namespaces" "pid 1" "$out"
has "a network of its own" "lo:" "$out"
# Refused by the kernel to what runs in a chroot(2).
if unshare -U true 2>/dev/null; then
  status 0 "$CHROOTCTL" enter "$root" -- unshare -U -r -m -p -f --mount-proc \
    sh -c 'echo pid $$'
  same "a user namespace with a /proc" "pid 1" "$out"
fi

# A root inside a root, chrootctl in a plain chroot: "/" is no mount point.
outer=$TMP/outer
make_root "$outer"
copy_program "$outer" chroot
cp "$CHROOTCTL" "$outer/usr/bin/chrootctl"
copy_libraries "$outer" "$CHROOTCTL"
mv "$root" "$outer/inner"
mount -t proc proc "$outer/proc"
for n in null zero full random urandom tty; do
  : >"$outer/dev/$n"
  mount --bind "/dev/$n" "$outer/dev/$n"
done
before=$(cat /proc/self/mountinfo)
status 0 chroot "$outer" chrootctl enter /inner -- sh -c 'ls -d /inner 2>&1; cat /proc/mounts'
has "in a chroot" "proc /proc proc" "$out"
has "in a chroot" "cannot access '/inner'" "$out"
same "mounts outside the chroot" "$before" "$(cat /proc/self/mountinfo)"

# On an initramfs pivot_root(2) gives EINVAL; what is done then must show the
# same root.
if command -v strace >/dev/null; then
  status 4 env ASAN_OPTIONS=detect_leaks=0 strace -f -qq -o /dev/null -e trace=pivot_root \
    -e inject=pivot_root:error=EINVAL "$CHROOTCTL" enter "$outer/inner" -- \
    sh -c 'test -e /root && test ! -e /inner && test -e /proc/1/stat && exit 4'
fi
echo PASS

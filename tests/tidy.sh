#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# tidy.sh: the house's rules that a machine can check: which way includes point,
# and how long files and functions are. Prints each breach.
cd "$(dirname "$0")/.." || exit 2
breaches=$(
  # includes REGEX FILES: who includes what matches.
  includes() {
    regex=$1
    shift
    grep -nE "^#include [<\"]$regex" "$@" /dev/null
  }
  includes '(\.\./fs|\.\./chrootctl|fuse|nfsc)' cache/*.[ch] |
    sed 's/$/  <- cache\/ knows neither FUSE nor NFS/'
  includes 'nfsc/' fs/*.[ch] chrootctl/*.[ch] | grep -v '^fs/nfs_compat.h:' |
    sed 's/$/  <- only nfs_compat.h includes libnfs/'
  includes 'fuse(3|_lowlevel)' fs/*.[ch] | grep -v '^fs/fuse_ops.h:' |
    sed 's/$/  <- only fuse_ops.h includes libfuse/'
  includes 'lmdb' fs/*.[ch] cache/*.[ch] | grep -v '^cache/meta_int.h:' |
    sed 's/$/  <- only meta_int.h includes LMDB/'
  includes 'zstd' fs/*.[ch] cache/*.[ch] | grep -v '^cache/blob_int.h:' |
    sed 's/$/  <- only blob_int.h includes zstd/'
  includes '.*(fs/|cache/(meta|blob|attr|sync))' chrootctl/*.[ch] |
    sed 's/$/  <- chrootctl takes base.h and msg.h only/'
  for file in cache/*.[ch] fs/*.[ch] chrootctl/*.[ch] bench/*.[ch] tests/*.[ch]; do
    head -n 1 "$file" | grep -q '^/\* SPDX-License-Identifier: GPL-2.0-or-later \*/$' ||
      echo "$file: no licence in the first line"
    awk -v file="$file" '
      /^{$/ { start = NR }
      /^}$/ && start { if (NR - start > 71)
        printf "%s:%d: a function of %d lines\n", file, start, NR - start - 1
        start = 0 }
      END { if (NR > 600) printf "%s: %d lines\n", file, NR }' "$file"
  done
  # Nothing of the machine it was written on.
  git grep -nE '\b(TODO|FIXME|XXX)\b' -- '*.[ch]' '*.sh' 2>/dev/null |
    grep -v '^tests/tidy.sh:'
)
[ -z "$breaches" ] || { echo "$breaches"; exit 1; }

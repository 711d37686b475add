#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Who writes a new file and renames it to its name, over an older one or not,
# shows nobody on the server a half-written file, while changes are sent all the
# time and connections break.
. "$(dirname "$0")/lib.sh"
requires python3

mkdir -p "$TMP/root/pub"
start_server "$TMP/root"
start_relay
do_mount notmp,delay=0
seconds=${SECONDS_OF_IT:-10}

# A file is a line with its name, a version and a size, and so many bytes that
# are made of these.
cat >"$TMP/publish.py" <<'PY'
import hashlib, os, random, sys, time

role, folder, until = sys.argv[1], sys.argv[2], time.time() + float(sys.argv[3])
NAMES, SIZES = 40, (0, 10, 5_000, 70_000, 3_000_000)


def content(name, version, size):
    head = f"{name} {version} {size}\n".encode()
    piece = hashlib.sha256(head).digest()
    return head + (piece * (size // len(piece) + 1))[:size]


def write():
    chance, version = random.Random(17), 0
    while time.time() < until:
        version += 1
        name = f"f{chance.randrange(NAMES)}"
        # in the same directory, or in another one
        other = f"{folder}/{'new' if version % 3 else 'stage/new'}.{version}"
        with open(other, "wb") as f:
            data = content(name, version, chance.choice(SIZES))
            at = 0
            while at < len(data):  # in pieces, as a linker does
                n = chance.randrange(1, 200_000)
                f.write(data[at:at + n])
                at += n
            if version % 10 == 0:
                os.fsync(f.fileno())
        os.rename(other, f"{folder}/{name}")
        if version % 7 == 0:
            time.sleep(0.02)
    print(f"{version} versions of {NAMES} names published")


def read():
    seen, reads = set(), 0
    while time.time() < until:
        for n in range(NAMES):
            name = f"f{n}"
            try:
                with open(f"{folder}/{name}", "rb") as f:
                    data = f.read()
            except FileNotFoundError:
                assert name not in {s[0] for s in seen}, f"{name} was there before"
                continue
            line = data.split(b"\n")[0].decode().split()
            assert len(line) == 3, f"{name}: half-written: {data[:80]!r}"
            assert line[0] == name, f"{name} has the contents of {line[0]}"
            assert data == content(name, int(line[1]), int(line[2])), \
                f"{name}, version {line[1]}: {len(data)} bytes for {line[2]}"
            seen.add((name, line[1]))
            reads += 1
    print(f"{reads} reads saw {len(seen)} versions, all whole")
    assert len(seen) > NAMES, "the reader saw too few"


{"write": write, "read": read}[role]()
PY
mkdir "$MNT/pub/stage"
python3 "$TMP/publish.py" read "$TMP/root/pub" "$((seconds + 2))" >"$TMP/reader" 2>&1 &
HELPER=$!
relay cut-every ${CUT:-700}
python3 "$TMP/publish.py" write "$MNT/pub" "$seconds"
relay cut-every 0
sync_mount
wait $HELPER || fail "the reader: $(tail -3 "$TMP/reader")"
HELPER=
cat "$TMP/reader"
(cd "$MNT/pub" && sha256sum f*) >"$TMP/here"
(cd "$TMP/root/pub" && sha256sum f*) >"$TMP/there"
cmp "$TMP/here" "$TMP/there" || fail "the server has other files than the mount"
same "left besides" "stage" "$(ls "$TMP/root/pub" | grep -v '^f')"
do_umount

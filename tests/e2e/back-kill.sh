#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The daemon is killed at any moment, again and again, while a writer works:
# nothing that the writer was told is done is lost, contents and names alike. It
# keeps a manifest outside of the mount: what it is about to do, and that it was
# done. After each death: remount, compare all of it; at the end without the
# metadata cache, and on the server's own disk.
#
# KILLS  how often (12); SEED  when, and what is done
. "$(dirname "$0")/lib.sh"
requires python3

: "${KILLS:=12}" "${SEED:=$$}"
echo "KILLS=$KILLS SEED=$SEED"
mkdir "$TMP/root"
cat >"$TMP/writer.py" <<'PY'
import hashlib, json, os, random, sys

command, root, path = sys.argv[1:4]


def load():
    """What there is by the manifest: path -> hash, "dir" or "-> TARGET"; and the
    change that was under way, if it is not known to be done."""
    there, doing = {}, None
    with open(path, "a+") as f:
        f.seek(0)
        for line in f:
            try:
                rec = json.loads(line)
            except ValueError:      # the writer's own last line, cut off
                break
            if rec == "done":
                apply(there, doing)
                doing = None
            else:
                doing = rec
    return there, doing


def apply(there, rec):
    op, a, b = rec
    if op in ("write", "mkdir", "symlink"):
        there[a] = b
    elif op == "rename":
        there[b] = there.pop(a)
    elif op == "link":
        there[b] = there[a]
    else:
        del there[a]


def full(name):
    return os.path.join(root, name)


def look(name):
    p = full(name)
    if os.path.islink(p):
        return "-> " + os.readlink(p)
    if os.path.isdir(p):
        return "dir"
    if not os.path.exists(p):
        return None
    with open(p, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def perform(rec, data):
    op, a, b = rec
    if op == "write":
        with open(full(a), "wb") as f:
            f.write(data)
    elif op == "mkdir":
        os.mkdir(full(a))
    elif op == "symlink":
        os.symlink(b[3:], full(a))
    elif op == "rename":
        os.rename(full(a), full(b))
    elif op == "link":
        os.link(full(a), full(b))
    elif op == "rmdir":
        os.rmdir(full(a))
    else:
        os.unlink(full(a))


def choose(there, n):
    files = [p for p, h in there.items() if len(h) == 64]
    dirs = [""] + [p + "/" for p, h in there.items() if h == "dir"]
    new = random.choice(dirs) + "n%d" % n
    op = random.choice(["write"] * 5 + ["over", "mkdir", "symlink", "rename",
                                        "rename", "link", "unlink", "unlink"])
    if op in ("write", "over"):
        data = random.randbytes(random.choice([0, 10, 4000, 30000, 300000]))
        target = random.choice(files) if op == "over" and files else new
        if target != new and os.stat(full(target)).st_nlink > 1:
            target = new    # would be the contents of others, too
        return ("write", target, hashlib.sha256(data).hexdigest()), data
    if op == "mkdir" and len(dirs) < 20:
        return ("mkdir", new, "dir"), None
    if op == "symlink":
        return ("symlink", new, "-> " + new), None
    if op == "rename" and files:
        a = random.choice(files)
        b = random.choice(files + [new])
        return (("rename", a, b), None) if a != b else choose(there, n)
    if op == "link" and files:
        return ("link", random.choice(files), new), None
    if op == "unlink" and len(files) > 30:
        return ("unlink", random.choice(files), None), None
    return choose(there, n)


def work():
    there, _ = load()
    n = len(there) * 1000 + random.randrange(10 ** 9)
    with open(path, "a") as f:
        def note(what):
            f.write(json.dumps(what) + "\n")
            f.flush()
            os.fsync(f.fileno())
        try:
            while True:
                n += 1
                rec, data = choose(there, n)
                note(rec)
                perform(rec, data)
                note("done")
                apply(there, rec)
        except OSError as e:
            if e.errno not in (107, 103):   # ENOTCONN, ECONNABORTED: killed
                raise


def wrong(there):
    return ["%s: %s, not %s" % (p, look(p), h) for p, h in there.items()
            if look(p) != h]


def check():
    """All that was done is there, and what was under way is or is not."""
    there, doing = load()
    bad = wrong(there)
    if doing and doing[0] == "write" and doing[1] in there:
        # Contents that were being replaced may be any mixture, as on a disk.
        bad = [b for b in bad if not b.startswith(doing[1] + ":")]
        if not bad:
            there.pop(doing[1])
            h = look(doing[1])
            if h:
                there[doing[1]] = h
    elif doing:
        after = dict(there)
        apply(after, doing)
        if bad and not wrong(after):
            bad, there = [], after
        elif not bad and doing[0] == "rename" and look(doing[2]) and \
                doing[2] not in there:
            bad = ["%s is there, too" % doing[2]]
        elif not bad and doing[0] == "write" and os.path.lexists(
                full(doing[1])):
            os.unlink(full(doing[1]))   # not promised; start over
        elif not bad and doing[0] in ("link", "mkdir", "symlink") and \
                not wrong(after):
            there = after
    if bad:
        sys.exit("\n".join(bad[:10] + ["under way: %s" % (doing,)]))
    with open(path + ".new", "w") as f:
        for p, h in sorted(there.items()):
            f.write(json.dumps(("mkdir" if h == "dir" else "write", p, h)) +
                    '\n"done"\n')
    os.rename(path + ".new", path)
    print(len(there))


random.seed("%s-%s" % (os.environ["SEED"], os.environ.get("LIFE", "")))
{"work": work, "check": check}[command]()
PY

start_server "$TMP/root"
export SEED LIFE
pending=0
total=0
LIFE=0
do_mount notmp,delay=1
while [ $LIFE -lt "$KILLS" ]; do
  LIFE=$((LIFE + 1))
  python3 "$TMP/writer.py" work "$MNT" "$TMP/manifest" 2>"$TMP/writer.log" &
  HELPER=$!
  # At any moment from 50 to 800 ms: there is no event to wait for.
  sleep "$(python3 -c "import random; random.seed('$SEED/$LIFE')
print(random.uniform(0.05, 0.8))")"
  kill -KILL "$DAEMON"
  wait_gone "$DAEMON" 10 || fail "cannot be killed"
  wait $HELPER || fail "the writer: $(tail -n 3 "$TMP/writer.log")"
  HELPER=
  umount -l "$MNT"
  do_mount notmp,delay=1
  [ "$(log_field changes)" = 0 ] || pending=$((pending + 1))
  total=$(python3 "$TMP/writer.py" check "$MNT" "$TMP/manifest") ||
    fail "death $LIFE: $total"
done
[ $pending -gt 0 ] || fail "nothing was pending at any death"

kill -KILL "$DAEMON"
wait_gone "$DAEMON" 10 || fail "cannot be killed"
umount -l "$MNT"
rm -rf "$CACHE"/*/meta
do_mount notmp,delay=3600
python3 "$TMP/writer.py" check "$MNT" "$TMP/manifest" >/dev/null ||
  fail "without the metadata cache"
sync_mount
python3 "$TMP/writer.py" check "$TMP/root" "$TMP/manifest" >/dev/null ||
  fail "on the server's disk"
echo "$KILLS deaths, something was pending at $pending; $total objects at the end"
do_umount

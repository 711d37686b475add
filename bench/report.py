# SPDX-License-Identifier: GPL-2.0-or-later
"""report.py: what bench/run has measured, as CSV (every run), as Markdown
(medians) and as a picture (gnuplot)."""
import csv
import math
import os
import platform
import statistics
import subprocess

from systems import SYSTEMS

# RPCs the kernel's NFSv3 client spends on an entry, or on a file where
# "files" says so, one after another. Counted with Linux 7.2 against the same
# server and the same archive; see the README. At a given round-trip time their
# product is a lower bound for the seconds.
KERNEL_RPCS = {"unpack": ("entries", 6.0), "find": ("entries", 0.6),
               "read": ("files", 4.2), "clean": ("entries", 1.6)}
COMPUTED = "computed"

# (a bar, the part of it that is sent afterwards)
COLOURS = {"memfs": ("#b0b0b0",), "local": ("#7f7f7f",), "tmp": ("#56b4e9",),
           "back": ("#0072b2", "#a6cbe3"), "back-cold": ("#009e73", "#a3dac9"),
           "through": ("#e69f00",), "plain": ("#d55e00",),
           "kernel": ("#cc79a7",), COMPUTED: ("#e8b9d2",)}


def title(name):
    return "kernel NFSv3 client (computed)" if name == COMPUTED else \
        SYSTEMS[name].title


def number(x):
    """Three digits, no more: nothing here is known better."""
    if x is None:
        return ""
    if x >= 100:
        return "{:,.0f}".format(x)
    return "%.1f" % x if x >= 10 else "%.2f" % x


class Medians:
    def __init__(self, rows, archive):
        self.cells = {}
        for row in rows:
            key = row["system"], row["rtt_ms"], row["phase"]
            self.cells.setdefault(key, []).append(row)
        self.rtts = sorted({row["rtt_ms"] for row in rows})
        order = list(SYSTEMS)
        self.systems = sorted({row["system"] for row in rows}, key=order.index)
        self.archive = archive

    def of(self, what, system, rtt, phase):
        """The median, or None when nothing was counted."""
        values = [row[what] for row in self.cells.get((system, rtt, phase), [])
                  if row.get(what) is not None]
        return statistics.median(values) if values else None

    def extrapolated(self, system, rtt, phase):
        """(done, of) of the slowest run, or None."""
        pairs = [(row["done"], row["of"])
                 for row in self.cells.get((system, rtt, phase), [])
                 if row["of"] is not None]
        return min(pairs) if pairs else None

    def computed(self, rtt, phase):
        if phase not in KERNEL_RPCS or rtt == 0:
            return None
        unit, rpcs = KERNEL_RPCS[phase]
        return rpcs * getattr(self.archive, unit) * rtt / 1000


def write_csv(path, rows):
    names = ["system", "rtt_ms", "phase", "rep", "seconds", "rpcs", "fuse",
             "done", "of", "drain", "drain_rpcs", "drain_objects", "changes"]
    with open(path, "w", newline="") as f:
        out = csv.DictWriter(f, names)
        out.writeheader()
        for row in rows:
            row = dict(row, seconds="%.4f" % row["seconds"])
            if "drain" in row:
                row["drain"] = "%.4f" % row["drain"]
            out.writerow(row)


def machine():
    with open("/proc/cpuinfo") as f:
        model = next((line.split(":")[1].strip() for line in f
                      if line.startswith("model name")), platform.machine())
    return "%d x %s, Linux %s" % (os.cpu_count(), model, platform.release())


# Phases that change much: what is sent after the others is next to nothing.
CHANGING = ["unpack", "compile", "clean"]


def cell(medians, system, rtt, phase):
    seconds = medians.of("seconds", system, rtt, phase)
    partial = medians.extrapolated(system, rtt, phase)
    if seconds is None:
        return ""
    if partial is None:
        drain = medians.of("drain", system, rtt, phase)
        return number(seconds) if drain is None or phase not in CHANGING \
            else "%s + %s" % (number(seconds), number(drain))
    done, total = partial
    if math.isinf(seconds):
        return "(none of %d done)" % total
    return "%s (%d of %d)" % (number(seconds), done, total)


def table(head, lines):
    """Markdown that is readable as text, too."""
    lines = [head] + list(lines)
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    for i, line in enumerate(lines):
        yield "| " + " | ".join(
            [line[0].ljust(widths[0])] +
            [c.rjust(w) for c, w in zip(line[1:], widths[1:])]) + " |"
        if i == 0:
            yield "|" + "|".join(["-" * (widths[0] + 2)] + [
                "-" * (w + 1) + ":" for w in widths[1:]]) + "|"


def markdown(medians, phases, reps):
    a = medians.archive
    yield "Seconds for a source tree of %s entries (%s MB); medians of %d, " \
        "runs interleaved." % ("{:,}".format(a.entries), a.bytes // 10 ** 6,
                               reps)
    yield "(K of N): ended early, extrapolated from K of N entries."
    yield "A + B: the commands took A; then it took B to send what they had " \
        "changed, which nobody waits for."
    yield "Walking to the work directory and reading the counter are counted, " \
        "too: up to 4 FUSE requests and 1 RPC."
    yield "*Computed*: the RPCs the kernel's client was counted to need, one " \
        "after another (unpack %g an entry), times the round-trip time; " \
        "nothing else." % KERNEL_RPCS["unpack"][1]
    yield "Machine: %s." % machine()
    for rtt in medians.rtts:
        yield ""
        yield "**Round-trip time %g ms, seconds**" % rtt
        yield ""
        lines = [[title(s)] + [cell(medians, s, rtt, p) for p in phases]
                 for s in medians.systems]
        if rtt:
            lines.append(
                ["*" + title(COMPUTED) + "*"] +
                [number(medians.computed(rtt, p)) for p in phases])
        yield from table(["system"] + phases, lines)
        yield ""
        yield from drain_table(medians, rtt)
        yield "**Round-trip time %g ms, RPCs / FUSE requests** (RPCs while " \
            "the command ran)" % rtt
        yield ""

        def counts(s, p):
            pair = [medians.of(what, s, rtt, p) for what in ("rpcs", "fuse")]
            return " / ".join("-" if n is None else "{:,.0f}".format(n)
                              for n in pair)
        yield from table(["system"] + phases,
                         [[title(s)] + [counts(s, p) for p in phases]
                          for s in medians.systems if SYSTEMS[s].networked])


def drain_table(medians, rtt):
    """Write-back: what was changed, and what sending it took."""
    lines = []
    for s in medians.systems:
        for phase in CHANGING + ["unsent"]:
            drain, rpcs, objects = [
                medians.of(what, s, rtt, phase)
                for what in ("drain", "drain_rpcs", "drain_objects")]
            if not SYSTEMS[s].drains or drain is None:
                continue
            lines.append([
                title(s),
                "clean, before it was sent" if phase == "unsent" else phase,
                number(medians.of("seconds", s, rtt, phase)), number(drain),
                "{:,.0f}".format(objects), "{:,.0f}".format(rpcs),
                "%.2f" % (rpcs / objects) if objects > 1 else ""])
    if not lines:
        return
    yield "**Round-trip time %g ms, what was sent afterwards**" % rtt
    yield ""
    yield from table(["system", "phase", "command, s", "drain, s",
                      "files and directories", "RPCs", "RPCs each"], lines)
    changes = [medians.of("changes", s, rtt, "unsent") for s in medians.systems]
    yield ""
    yield "Of the tree that was unpacked and removed before it was sent, " \
        "%d RPCs changed something on the server." % \
        max(c for c in changes if c is not None)
    yield ""


class Bars:
    """gnuplot's data of one system's bars in one panel."""

    def __init__(self, bottom):
        self.bottom = bottom
        self.boxes = {"now": [], "later": []}
        self.labels = []

    def box(self, kind, left, right, low, high):
        self.boxes[kind].append("%f %f %f %f %f %f" % (
            (left + right) / 2, low, left, right, low, high))

    def label(self, text, x, y, lines=1):
        self.labels.append('set label "%s" at %f,%f center offset 0,%g '
                           'font ",8" tc "#333333" front' %
                           (text, x, y, 0.45 + 0.75 * (lines - 1)))

    def add(self, left, right, seconds, drain):
        top = max(seconds, self.bottom * 1.05)
        middle = (left + right) / 2
        self.box("now", left, right, self.bottom, top)
        if drain:
            self.box("later", left, right, top, top + drain)
        if drain and drain > 0.05 * top:    # else it cannot be seen
            self.label("%s\\n+%.2g" % (number(seconds), drain), middle,
                       top + drain, 2)
        else:
            self.label(number(seconds), middle, top)


def panel(medians, rtt, phases, bottom, top):
    """gnuplot commands for the bars of one round-trip time."""
    bars = [s for s in medians.systems if s in COLOURS] + \
        ([COMPUTED] if medians.rtts[-1] else [])
    width = 0.84 / len(bars)
    labels, plots, blocks = [], [], []
    for i, system in enumerate(bars):
        data = Bars(bottom)
        for x, phase in enumerate(phases):
            seconds = medians.computed(rtt, phase) if system == COMPUTED \
                else medians.of("seconds", system, rtt, phase)
            if seconds is None or math.isinf(seconds):
                continue
            left = x - 0.42 + i * width
            data.add(left + 0.01, left + width - 0.01, seconds,
                     medians.of("drain", system, rtt, phase)
                     if phase in CHANGING else None)
        labels += data.labels
        for kind, colour in zip(data.boxes, COLOURS[system]):
            if not data.boxes[kind]:
                continue
            name = "$bars_%d" % len(blocks)
            blocks.append("%s << EOD\n%s\nEOD" %
                          (name, "\n".join(data.boxes[kind])))
            fill = "fs pattern 4" if system == COMPUTED else \
                "fs solid 0.9 noborder" if kind == "now" else \
                "fs solid 1 noborder"
            plots.append('%s using 1:2:3:4:5:6 with boxxyerror %s lc rgb "%s" '
                         '%s' % (name, fill, colour, 'title "%s"' %
                                 title(system) if kind == "now" else
                                 'title "the same: sent afterwards"'))
    return "\n".join(
        ["unset label"] + blocks + labels +
        ['set title "round-trip time %g ms" font ",12" offset 0,-0.5' % rtt,
         "set yrange [%g:%g]" % (bottom, top),
         "plot " + ", \\\n  ".join(plots)])


def gnuplot(medians, phases, path):
    seen = [medians.of("seconds", s, r, p) for s in medians.systems
            if s in COLOURS for r in medians.rtts for p in phases]
    seen += [medians.computed(r, p) for r in medians.rtts for p in phases]
    seen = [s for s in seen if s and not math.isinf(s)]
    bottom = 10 ** math.floor(math.log10(min(seen)))
    top = 10 ** math.ceil(math.log10(max(seen) * 1.6))
    height = 330 * len(medians.rtts) + 85
    tics = ", ".join('"%s" %d' % (p, i) for i, p in enumerate(phases))
    script = """
set terminal svg size 1150,%d font "Helvetica,11" background "white" dynamic
set output "%s"
set logscale y 10
set ylabel "seconds (log scale)"
set xrange [-0.5:%g]
set xtics (%s) scale 0 font ",12"
set format y "%%g"
set grid ytics lc rgb "#dddddd" lw 1
set border 3 lc rgb "#888888"
set tics nomirror textcolor rgb "#222222"
set lmargin 9
set rmargin 2
set multiplot layout %d,1 margins 0.065,0.985,%g,%g spacing 0,%g
set key outside top center horizontal font ",10" samplen 1.5 width -1 noenhanced
""" % (height, path, len(phases) - 0.5, tics, len(medians.rtts),
       40 / height, 1 - 110 / height, 62 / height)
    for i, rtt in enumerate(sorted(medians.rtts, reverse=True)):
        script += panel(medians, rtt, phases, bottom, top) + "\n"
        script += "unset key\n"
    return script + "unset multiplot\n"


def write(out, rows, archive, phases):
    medians = Medians(rows, archive)
    write_csv(os.path.join(out, "results.csv"), rows)
    with open(os.path.join(out, "results.md"), "w") as f:
        for line in markdown(medians, phases, max(r["rep"] for r in rows)):
            f.write(line + "\n")
    subprocess.run(["gnuplot"], text=True, check=True,
                   input=gnuplot(medians, phases,
                                 os.path.join(out, "results.svg")))

"""Prints what measure.py measured as tables for people; with --json FILE, also the samples of all modes in one file."""

import json
import statistics
import sys

OPERATIONS = ("run", "create", "start", "delete", "c+s+d", "exec", "state", "kill")
TITLES = {
    "unified": "unified: /sys/fs/cgroup is cgroup v2 alone",
    "host": "host: the cgroup hierarchies as this machine has them",
    "default": "config of `rt spec`",
    "seccomp": "the same with Docker's default seccomp profile",
}


def median(results, name, op, key):
    if op == "c+s+d":
        parts = [median(results, name, part, key) for part in ("create", "start", "delete")]
        if None in parts:
            return None
        return max(parts) if key == "rss" else sum(parts)
    value = results.get(name, {}).get(op, {}).get(key)
    if isinstance(value, list):
        return statistics.median(value) if value else None
    return value


def table(title, names, columns, cell):
    rows = [[title, *columns]] + [[name, *(cell(name, column) for column in columns)] for name in names]
    rows = [row for row in rows if any(row[1:])]
    if len(rows) < 2:
        return
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  " + row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:])), sep="  ")
    print()


def report(part):
    results = part["results"]
    names = sorted(results, key=lambda name: median(results, name, "run", "ns"))
    rounds = len(next(iter(results.values()))["run"]["ns"])
    print(f"== {TITLES[part['mode']]}; {TITLES[part['config']]}; medians of {rounds} interleaved rounds")
    print("" if part["real_time"] else "   at normal priority: whatever else this machine did is in the times\n")
    present = [op for op in OPERATIONS if median(results, "rt", op, "ns") is not None]

    def time(name, op):
        value = median(results, name, op, "ns")
        return "" if value is None else f"{value / 1e6:.2f}"

    def over(base):
        def ratio(name, op):
            value, one = median(results, name, op, "ns"), median(results, base, op, "ns")
            return "" if value is None or one is None else f"{value / one:.2f}"
        return ratio

    def count(key):
        def number(name, op):
            value = median(results, name, op, key)
            return "" if value is None else f"{value:.0f}"
        return number

    table("time, ms", names, present, time)
    table("time, rt = 1", names, present, over("rt"))
    table("time, kernel floor = 1", names, ["run", "exec"], over("floor"))
    single = [op for op in present if op != "c+s+d"]
    table("peak RSS, KB", names, single, count("rss"))
    table("page faults", names, single, count("faults"))
    table("system calls", names, single, count("calls"))
    table("private memory of a created container's init, KB", names, ["create"], lambda name, op: count("private")(name, op))
    for name, why in part["left_out"].items():
        print(f"  left out: {name}: {why}\n")


def main():
    files, out = sys.argv[1:], None
    if files[0] == "--json":
        out, files = files[1], files[2:]
    parts = []
    for name in files:
        with open(name) as file:
            parts += json.load(file)
    for part in parts:
        report(part)
    if out:
        with open(out, "w") as file:
            json.dump(parts, file, indent=1)


main()

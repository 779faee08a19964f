"""usage: order.py PROGRAM TRACE... > ORDER
       order.py --check ORDER MAP

From the addresses that each command touched to the names of the functions. Those of
`run` and `create`, which need most memory, come first, and of these and of the others those of most commands. What a new
compiler or dependency changes in a name becomes "*", so that the list outlives both."""

import bisect
import collections
import fnmatch
import os
import re
import subprocess
import sys


def lasting(name):
    # The disambiguator of a crate, and references to places behind it, whose distance depends on its length
    # (the "v0" mangling of The rustc Book, "Symbol Mangling").
    return re.sub(r"B[0-9A-Za-z]*_", "B*_", re.sub(r"Cs[0-9A-Za-z]+_", "Cs*_", name)) if name.startswith("_R") else name


def check(order, linker_map):
    """Fails if more than one name in twenty of the list matches no function that the linker has placed by it."""
    sections = re.findall(r"^ \.text\.(?:unlikely\.)?(\S+)", open(linker_map).read(), re.MULTILINE)
    names = [line.strip() for line in open(order) if not line.startswith("#")]
    placed = set(sections)
    patterns = [name for name in names if "*" in name]
    matched = re.compile("|".join(f"(?:{fnmatch.translate(pattern)})" for pattern in patterns) or "$^")
    live = {name for name in names if name in placed}
    for section in placed:
        if section not in live and matched.match(section):
            live.update(pattern for pattern in patterns if fnmatch.fnmatchcase(section, pattern))
    # The C library's entry and assembler functions have no sections of their own.
    stale = [name for name in names if name not in live and name.startswith("_R")]
    print(f"startup.order: {len(stale)} of {len(names)} names match no function of this build")
    for name in stale[:10]:
        print(f"  {name}")
    if len(stale) * 20 > len(names):
        sys.exit("order: more than 5 % are stale: run hack/order and commit what it writes")


def main():
    if sys.argv[1] == "--check":
        return check(*sys.argv[2:])
    program, traces = sys.argv[1], sys.argv[2:]
    listing = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    names = collections.defaultdict(list)
    for line in listing.splitlines():
        parts = line.split()
        if len(parts) == 3 and parts[1] in "tTwW":
            names[int(parts[0], 16)].append(parts[2])
    starts = sorted(names)
    instances = collections.Counter(lasting(name) for group in names.values() for name in group)

    users = collections.defaultdict(set)
    for trace in traces:
        for line in open(trace):
            at = bisect.bisect_right(starts, int(line, 16)) - 1
            if at >= 0:
                users[starts[at]].add(trace)
    print("# Written by hack/order.")

    def rank(start):
        commands = sorted(os.path.basename(trace) for trace in users[start])
        least = [not any(command.startswith(f"at.{verb}.") for command in commands) for verb in ("run", "create")]
        return *least, -len(commands), commands, start

    for start in sorted(users, key=rank):
        for name in names[start]:
            print(lasting(name) if instances[lasting(name)] <= 4 else name)


main()

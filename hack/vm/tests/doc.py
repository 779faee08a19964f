#!/usr/bin/env python3
"""usage: doc.py FILE [SECTION...]

Runs a document: each ```sh block, as it is written, with bash -e in the current directory; of the named sections, or of all.
"```sh exit=127" has to end with that status. A ```text block right after it shows what the block has to print, on standard
output and standard error; in it "…" stands for any characters, and on a line of its own for any lines.
"""
import re
import subprocess
import sys
from itertools import zip_longest


def blocks(path, sections):
    """(line, info, text) of each fenced block in the sections; the text between two blocks comes as info None."""
    section, fence, lines, wanted = None, None, [], set(sections)
    for number, line in enumerate(open(path, encoding="utf-8"), 1):
        if fence is None and line.startswith("#"):
            section = line.lstrip("#").strip()
            wanted.discard(section)
        if not line.startswith("```"):
            if fence is None and line.strip():
                yield number, None, line
            lines.append(line)
        elif fence is None:
            fence, start, lines = line[3:].strip(), number, []
        else:
            if not sections or section in sections:
                yield start, fence, "".join(lines)
            fence = None
    if wanted:
        sys.exit(f"{path}: there is no section {', '.join(sorted(wanted))}")
    if fence is not None:
        sys.exit(f"{path}:{start}: the block has no end")


def pattern(text):
    parts = []
    for line in text.splitlines():
        if line.strip() == "…":
            parts.append("(?:.*\n)*")
        else:
            parts.append(".*".join(re.escape(part) for part in line.rstrip().split("…")) + " *\n")
    return "".join(parts)


def main(path, sections):
    found = list(blocks(path, sections))
    ran = 0
    for (line, info, text), (_, after, shown) in zip_longest(found, found[1:], fillvalue=(0, None, "")):
        words = (info or "").split()
        if words[:1] != ["sh"]:
            continue
        want = 0
        for word in words[1:]:
            if not re.fullmatch("exit=[0-9]+", word):
                sys.exit(f"{path}:{line}: what is {word}?")
            want = int(word[5:])
        done = subprocess.run(["bash", "-e", "-o", "pipefail", "-c", text], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace")
        ran += 1
        if done.returncode != want:
            sys.exit(f"{path}:{line}: status {done.returncode}, not {want}, of\n{text}which printed\n{done.stdout}")
        if after == "text" and not re.fullmatch(pattern(shown), done.stdout):
            sys.exit(f"{path}:{line}: the document shows\n{shown}and it printed\n{done.stdout}")
    if not ran:
        sys.exit(f"{path}: there is nothing to run")
    print(f"{path}: {ran} blocks")


if len(sys.argv) < 2:
    sys.exit(__doc__)
main(sys.argv[1], sys.argv[2:])

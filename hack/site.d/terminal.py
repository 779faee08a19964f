#!/usr/bin/env python3
"""usage: terminal.py TITLE < TEXT > PICTURE

Draws what a command printed on a terminal as an SVG. The text is drawn as it is: rt's tables have no colours.
"""

import html
import sys

CHARACTER, LINE, MARGIN, BAR = 7.8, 18, 14, 30


def main(title, text):
    lines = text.replace("\r", "").rstrip("\n").split("\n")
    width = round(max(len(line) for line in lines) * CHARACTER + 2 * MARGIN)
    height = BAR + len(lines) * LINE + 2 * MARGIN - 4
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">')
    print(f'<rect width="{width}" height="{height}" rx="6" fill="#1e2430"/>')
    print(f'<rect width="{width}" height="{BAR}" rx="6" fill="#343c4c"/>')
    print(f'<text x="{width // 2}" y="20" text-anchor="middle" font-family="sans-serif" font-size="12" fill="#c8cfdb">{html.escape(title)}</text>')
    print('<g font-family="DejaVu Sans Mono, Liberation Mono, Menlo, Consolas, monospace" font-size="13" fill="#e4e8ef">')
    for number, line in enumerate(lines):
        y = BAR + MARGIN + LINE * number + 10
        # The length holds columns in place, whatever the font's width is.
        length = f' textLength="{len(line) * CHARACTER:.1f}"' if line else ""
        print(f'<text x="{MARGIN}" y="{y}"{length} xml:space="preserve">{html.escape(line)}</text>')
    print("</g>\n</svg>")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1], sys.stdin.read())

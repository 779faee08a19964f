"""Plots as SVG, without anything that has to be installed."""

import html
import math

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 320, 50, 130, 34, 30
COLOURS = ("#cc6644", "#4477aa", "#669944", "#886699", "#998833")


def step(top):
    """A round number of which about five reach `top`."""
    rough = top / 5
    unit = 10 ** math.floor(math.log10(rough))
    return next(unit * n for n in (1, 2, 5, 10) if unit * n >= rough)


def marks(bottom, top):
    """1, 2, 5, 10, 20, … as far as they are between both."""
    powers = range(math.floor(math.log10(bottom)), math.ceil(math.log10(top)) + 1)
    return [n * 10**power for power in powers for n in (1, 2, 5) if bottom <= n * 10**power <= top]


def lines(title, unit, series):
    """`series` by name: points of a number and its value. The horizontal places are those of the points, evenly apart.

    Where the values are more than ten times apart, the vertical axis is logarithmic.
    """
    points = [x for x, _ in next(iter(series.values()))]
    values = [y for values in series.values() for _, y in values]
    top, bottom = max(values) * 1.05, min(values) / 1.2
    logarithmic = top > 10 * bottom
    plot_width, plot_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x_of(x):
        return LEFT + plot_width * points.index(x) / (len(points) - 1)

    def y_of(y):
        share = math.log(y / bottom) / math.log(top / bottom) if logarithmic else y / top
        return TOP + plot_height * (1 - share)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="16" font-size="13" font-weight="bold">{html.escape(title)} ({html.escape(unit)})</text>',
    ]
    for at in marks(bottom, top) if logarithmic else [step(top) * n for n in range(int(top / step(top)) + 1)]:
        y = y_of(at)
        out.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#dddddd"/>')
        out.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end" fill="#666666">{at:g}</text>')
    for x in points:
        out.append(f'<text x="{x_of(x):.1f}" y="{HEIGHT - 10}" text-anchor="middle" fill="#666666">{x}</text>')
    taken = []
    for colour, (name, values) in zip(COLOURS, sorted(series.items())):
        path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in values)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out.extend(f'<circle cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="3" fill="{colour}"/>' for x, y in values)
        y = y_of(values[-1][1]) + 4
        while any(abs(y - other) < 12 for other in taken):
            y -= 12
        taken.append(y)
        out.append(f'<text x="{WIDTH - RIGHT + 8}" y="{y:.1f}" fill="{colour}">{html.escape(name)}: {values[-1][1]:.3g}</text>')
    return "\n".join(out) + "\n</svg>\n"

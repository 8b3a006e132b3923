"""Small plots as inline SVG: no library, no script, readable in every browser and in print."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

COLOURS: Final = ("#1b6ca8", "#d1495b", "#3a7d44", "#b8860b", "#6a4c93", "#4f5d75")
WIDTH, HEIGHT = 860, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 150, 26, 34


@dataclass(frozen=True, slots=True)
class Line:
    """One curve: (x, y) points in the order of x."""

    name: str
    points: Sequence[tuple[float, float]]
    dash: str = ""
    """SVG dash pattern; empty is a solid line."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment on the x axis; with an end it is a band."""

    at: float
    text: str
    end: float | None = None


@dataclass(frozen=True, slots=True)
class Plot:
    """Curves over one x axis in seconds."""

    unit: str
    lines: Sequence[Line]
    marks: Sequence[Mark] = field(default_factory=tuple)
    x_top: float = 0.0
    """Where the x axis ends; 0: where the last point is."""


def nice_ticks(top: float, count: int = 4) -> list[float]:
    """Round numbers from 0 to at least `top`."""
    if top <= 0:
        return [0.0, 1.0]
    raw = top / count
    magnitude = 10.0 ** len(str(int(raw))) / 10 if raw >= 1 else 10.0 ** -_leading_zeros(raw)
    step = next(magnitude * factor for factor in (1, 2, 2.5, 5, 10) if magnitude * factor >= raw)
    ticks = [0.0]
    while ticks[-1] < top:
        ticks.append(ticks[-1] + step)
    return ticks


def _leading_zeros(value: float) -> int:
    zeros = 0
    while value < 1:
        value *= 10
        zeros += 1
    return zeros


@dataclass(frozen=True, slots=True)
class _Scale:
    x_top: float
    y_top: float

    def x(self, value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * value / self.x_top

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / self.y_top


def draw(plot: Plot) -> str:
    """The plot as one `<svg>` element."""
    x_top = plot.x_top or max((point[0] for line in plot.lines for point in line.points), default=1.0) or 1.0
    y_ticks = nice_ticks(max((point[1] for line in plot.lines for point in line.points), default=1.0))
    scale = _Scale(x_top, y_ticks[-1])
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="system-ui, sans-serif" font-size="11">',
        *(_mark(mark, scale) for mark in plot.marks),
        # After all shapes, so that none covers a name.
        *(_mark_name(mark, scale, number) for number, mark in enumerate(plot.marks)),
        *(_level(tick, scale) for tick in y_ticks),
        *(
            f'<text x="{scale.x(tick):.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle" fill="#555">{tick:g} s</text>'
            for tick in nice_ticks(x_top, 6)
            if tick <= x_top
        ),
        f'<text x="{LEFT - 44}" y="{TOP - 8}" fill="#555">{escape(plot.unit)}</text>',
        *(_curve(line, scale, number) for number, line in enumerate(plot.lines)),
        "</svg>",
    ]
    return "".join(parts)


def _mark(mark: Mark, scale: _Scale) -> str:
    left = scale.x(min(mark.at, scale.x_top))
    if mark.end is not None:
        width = scale.x(min(mark.end, scale.x_top)) - left
        return f'<rect x="{left:.1f}" y="{TOP}" width="{width:.1f}" height="{HEIGHT - TOP - BOTTOM}" fill="#f3e3d3"/>'
    return f'<line x1="{left:.1f}" x2="{left:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#999" stroke-dasharray="3 3"/>'


def _mark_name(mark: Mark, scale: _Scale, number: int) -> str:
    left = scale.x(min(mark.at, scale.x_top)) + 3
    # Neighbouring texts stand on two levels, so that they stay readable where two moments are close.
    level = TOP + (11 if mark.end is None else 37) + 13 * (number % 2)
    colour = "#666" if mark.end is None else "#8a5a2b"
    return f'<text x="{left:.1f}" y="{level}" fill="{colour}">{escape(mark.text)}</text>'


def _level(tick: float, scale: _Scale) -> str:
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{scale.y(tick):.1f}" y2="{scale.y(tick):.1f}" stroke="#e5e5e5"/>'
        f'<text x="{LEFT - 6}" y="{scale.y(tick) + 4:.1f}" text-anchor="end" fill="#555">{tick:g}</text>'
    )


def _curve(line: Line, scale: _Scale, number: int) -> str:
    colour = COLOURS[number % len(COLOURS)]
    path = " ".join(f"{scale.x(x):.1f},{scale.y(y):.1f}" for x, y in line.points)
    level = TOP + 16 * number + 8
    dash = f' stroke-dasharray="{line.dash}"' if line.dash else ""
    return (
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"{dash}/>'
        f'<line x1="{WIDTH - RIGHT + 12}" x2="{WIDTH - RIGHT + 30}" y1="{level}" y2="{level}" stroke="{colour}" '
        f'stroke-width="3"{dash}/><text x="{WIDTH - RIGHT + 36}" y="{level + 4}" fill="#333">{escape(line.name)}</text>'
    )

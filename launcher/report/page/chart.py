"""A chart of curves over steps, as SVG text: the same twice, for a wide and for a narrow screen.

Decides where things are drawn. What is drawn is `page.charts`; how it is coloured, `page.css`. Pure: equal charts give
equal text.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from launcher.report.page.marks import look, marker
from launcher.report.page.scales import Scale, bounds, short, shorter, ticks, whole_ticks
from launcher.report.page.series import Point

LETTER = 6.6
"""How wide a letter of a label is, about."""
BESIDE = 8
"""Pixels: the width of a mark."""
HEADS = 20
"""Restarts on the axis that are drawn large."""
EARLY = 16
"""A curve that ends so far from the right edge is named where it ends."""


@dataclass(frozen=True)
class Curve:
    """One line of a chart, in parts that are not joined."""

    name: str
    look: int
    """Which colour, dash and shape it has."""
    parts: list[list[Point]]
    marked: bool = False
    """Each point is a measurement of its own, and gets a mark."""


@dataclass(frozen=True)
class Ground:
    """What is drawn behind every chart: stages, restarts, steps done again."""

    stages: list[tuple[str, int, int]]
    restarts: list[tuple[int, str]]
    """After which step, and why."""
    redone: list[tuple[int, int]]
    steps: int
    """The last that is drawn."""
    changes: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    """After which step another engine came, or a verdict fell, and what it was."""


@dataclass(frozen=True)
class Chart:
    """Curves over steps."""

    key: str
    """For anchors and ids; of letters and digits."""
    title: str
    told: str
    """What there is to see, in words."""
    unit: str
    curves: list[Curve]
    from_zero: bool = False


@dataclass(frozen=True)
class Paper:
    """How large it is drawn, and the margins."""

    name: str
    width: int
    height: int
    left: int
    right: int
    ticks: int
    top: int = 22
    bottom: int = 40


WIDE = Paper("wide", 900, 320, 56, 128, 8)
NARROW = Paper("narrow", 360, 270, 44, 10, 4)


def drawn(chart: Chart, ground: Ground) -> Markup:
    """Return the chart for both kinds of screen; style shows one of them."""
    return Markup("").join(_svg(chart, ground, paper) for paper in (WIDE, NARROW))


def outside(chart: Chart) -> tuple[int, float]:
    """Return how many points of a chart have values beyond its edge, and the furthest of these; 0 points if none."""
    low, high = _bounds(chart)
    beyond = [value for curve in chart.curves for part in curve.parts for point in part
              for value in (point.low, point.high) if not low <= value <= high]
    return len(beyond), max(beyond, key=abs, default=0.0)


def _bounds(chart: Chart) -> tuple[float, float]:
    points = [point for curve in chart.curves for part in curve.parts for point in part]
    low, high = bounds([point.mean for point in points], [point.low for point in points],
                       [point.high for point in points])
    return (min(0.0, low) if chart.from_zero else low), high


def _svg(chart: Chart, ground: Ground, paper: Paper) -> Markup:
    low, high = _bounds(chart)
    x = Scale(0, max(1, ground.steps), paper.left, paper.width - paper.right)
    y = Scale(low, high, paper.height - paper.bottom, paper.top)
    inside = [_behind(ground, x, y, paper), _axes(chart, x, y, paper)]
    inside += [_curve(curve, x, y) for curve in chart.curves]
    inside += [_rug(ground, x, y), _names(chart, x, y) if paper.right > 40 else Markup("")]
    key = f"{chart.key}-{paper.name}"
    return Markup('<svg class="chart {}" viewBox="0 0 {} {}" role="img" aria-labelledby="{}-t {}-d">'
                  '<title id="{}-t">{}</title><desc id="{}-d">{}</desc>{}</svg>').format(
        paper.name, paper.width, paper.height, key, key, key, chart.title, key, chart.told, Markup("").join(inside))


def _behind(ground: Ground, x: Scale, y: Scale, paper: Paper) -> Markup:
    """Return the stages' borders and names, and a shade over steps that were done again."""
    parts = [Markup('<rect class="redone" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
        x(first - 0.5), y.end, max(1.0, x(last + 0.5) - x(first - 0.5)), y.start - y.end)
        for first, last in ground.redone]
    for name, first, last in ground.stages:
        left, right = x(max(0, first - 0.5)), x(last + 0.5)
        if first > 1:
            parts.append(Markup('<path class="border" d="M{:.1f} {:.1f}V{:.1f}"/>').format(left, y.end - 14, y.start))
        if room := int((right - left - 6) / LETTER):
            parts.append(Markup('<text class="stage" x="{:.1f}" y="{:.1f}">{}</text>').format(
                left + 4, y.end - 6, fitted(name, room)))
    return Markup("").join(parts)


def _axes(chart: Chart, x: Scale, y: Scale, paper: Paper) -> Markup:
    steps = [Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
        x(step), y.start + 18, shorter(step)) for step in whole_ticks(0, int(x.high), paper.ticks)]
    ends = Markup('<path class="axis" d="M{} {:.1f}H{}"/><text class="label" x="{}" y="{}" text-anchor="end">step'
                  '</text><text class="label" x="2" y="{}">{}</text>').format(
        x.start, y.start, x.end, x.end, y.start + 34, y.end - 6, chart.unit)
    values = [(value, short(value)) for value in ticks(y.low, y.high, 4 if paper.name == "narrow" else 5)]
    return Markup("").join([level_lines(values, x, y), *steps, ends])


def level_lines(values: Sequence[tuple[float, str]], x: Scale, y: Scale) -> Markup:
    """Return a level line with its label for each value."""
    return Markup("").join(Markup('<path class="grid" d="M{} {:.1f}H{}"/><text class="tick" x="{}" y="{:.1f}" '
                                  'text-anchor="end">{}</text>').format(x.start, y(value), x.end, x.start - 6,
                                                                        y(value) + 4, text) for value, text in values)


def _curve(curve: Curve, x: Scale, y: Scale) -> Markup:
    parts, index = [], curve.look
    for points in curve.parts:
        if any(point.high > point.low for point in points):
            around = [(point.step, point.high) for point in points] + [(point.step, point.low)
                                                                      for point in reversed(points)]
            parts.append(Markup('<path class="b {}" d="{}Z"/>').format(look(index), _path(around, x, y)))
        parts.append(Markup('<path class="l {}" d="{}"/>').format(
            look(index), _path([(point.step, point.mean) for point in points], x, y)))
        if curve.marked or len(points) == 1:
            parts += [marker(index, x(point.step), y(point.mean), 3.4, f"{curve.name}, step {point.step:g}: "
                             f"{point.mean:.4g}") for point in points]
    return Markup("").join(parts)


def _path(places: Sequence[tuple[float, float]], x: Scale, y: Scale) -> str:
    (first, *rest) = [f"{x(step):.1f} {y(value):.1f}" for step, value in places]
    return f"M{first}" + (f"L{'L'.join(rest)}" if rest else "h.1")


def _rug(ground: Ground, x: Scale, y: Scale) -> Markup:
    """Return a tick below the axis for each restart, with a head where there are few, and a diamond for each change;
    those on one place are one, and a change on a restart's place stands beside it."""
    restarts = _placed(((step, f"restart after step {step}: {why}") for step, why in ground.restarts), x)
    changes = _placed(((step, f"after step {step}: {what}") for step, what in ground.changes), x)
    head = "l-3.5 4h7l-3.5 -4" if len(restarts) <= HEADS else ""
    ticks = [Markup('<path class="restart" d="M{} {:.1f}{}v6"><title>{}</title></path>').format(
        place, y.start + 1, head, told[0] if len(told) == 1 else f"{len(told)} restarts; {told[0]}")
        for place, told in restarts.items()]
    return Markup("").join(ticks) + Markup("").join(
        Markup('<path class="change" d="M{} {:.1f}l3.5 4l-3.5 4l-3.5 -4z"><title>{}</title></path>').format(
            place + BESIDE * (place in restarts), y.start + 1, "; ".join(told)[:400])
        for place, told in changes.items())


def _placed(marks: Iterable[tuple[int, str]], x: Scale) -> dict[int, list[str]]:
    places: dict[int, list[str]] = {}
    for step, told in marks:
        places.setdefault(round(x(step)), []).append(told)
    return places


def _names(chart: Chart, x: Scale, y: Scale) -> Markup:
    """Return the curves' names beside their ends, moved apart where they would lie on each other."""
    if len(chart.curves) < 2:
        return Markup("")
    ends = [(y(curve.parts[-1][-1].mean), x(curve.parts[-1][-1].step), curve.look, curve.name)
            for curve in chart.curves if curve.parts]
    early = [end for end in ends if end[1] < x.end - EARLY]
    late = sorted(end for end in ends if end[1] >= x.end - EARLY)
    places = apart([place for place, *_ in late], 14.0, y.end + 4, y.start)
    named = Markup('<text class="name" x="{:.1f}" y="{:.1f}">{}</text>')
    inside = [named.format(right + 6, place + 4, fitted(name, 16)) for place, right, _, name in early]
    outside = [Markup('<path class="lead {}" d="M{:.1f} {:.1f}L{:.1f} {:.1f}"/>').format(
        look(index), right + 3, end, x.end + 10, place) + named.format(x.end + 13, place + 4, fitted(name, 16))
        for place, (end, right, index, name) in zip(places, late, strict=True)]
    return Markup("").join(inside + outside)


def apart(places: Sequence[float], least: float, low: float, high: float) -> list[float]:
    """Return places in order at least so far from each other, within bounds where there is room for all."""
    found: list[float] = []
    for place in places:
        found.append(max(place, found[-1] + least) if found else max(place, low))
    over = found[-1] - high if found else 0.0
    if over > 0:
        found[-1] = high
        for index in range(len(found) - 2, -1, -1):
            found[index] = min(found[index], found[index + 1] - least)
    return found


def fitted(name: str, room: int) -> str:
    """Return a name in so many letters: its begin, and what is left out is seen."""
    if len(name) <= room:
        return name
    return name[: room - 1] + "…" if room >= 3 else ""


def merged(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return spans of steps with those that touch made one."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found


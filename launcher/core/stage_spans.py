"""The spans of a stage's mix: where sources are used up, and how far it changes.

Decides what becomes of the others: a source that is used up leaves the mix with its last row, and they share its part
in proportion; a mix that changes goes on from what it is then to what is left of its end. How many rows a stage has is
`core.stage_rows`.
"""

from collections.abc import Mapping
from fractions import Fraction

from launcher.core.mix_spans import counts_of, rows_until, weights_at
from launcher.core.run_plan import MixSpan
from launcher.core.stage_mix import whole

ENDLESS = 10**15
"""More rows than any stage has."""

Left = Mapping[str, int]
"""Rows that the run may still see of each source that has a limit."""


def spans_of(weights: dict[str, int], end: dict[str, int] | None, rows: int, left: Left) -> tuple[MixSpan, ...]:
    """Return the spans of so many rows, or of fewer if everything is used up before."""
    made: list[MixSpan] = []
    left = dict(left)
    while rows and weights:
        span = MixSpan(rows=rows, weights=weights, end=end, over=rows if end else 0)
        cut = _first_used_up(span, left)
        span = span.model_copy(update={"rows": cut})
        made.append(span)
        left |= {name: left[name] - count for name, count in counts_of(span, cut).items() if name in left}
        rows -= cut
        weights, end = _without(span, [name for name in weights if left.get(name) == 0])
    return tuple(made)


def _first_used_up(span: MixSpan, left: Left) -> int:
    """Return after how many rows the first source of a span is used up, or the span's rows if none is."""
    counts = counts_of(span, span.rows)
    over = [name for name in span.weights if counts[name] > left.get(name, span.rows)]
    return min((rows_until((span,), name, left[name]) or 0 for name in over), default=span.rows)


def _without(span: MixSpan, gone: list[str]) -> tuple[dict[str, int], dict[str, int] | None]:
    """Return the weights at a span's last row, and those they change to, without sources that are used up."""
    now = weights_at(span, span.rows)
    weights = {name: weight for name, weight in now.items() if name not in gone}
    end = {name: weight for name, weight in (span.end or {}).items() if name not in gone}
    if not any(weights.values()):
        return {}, None
    scaled = whole({name: Fraction(weight, sum(weights.values())) for name, weight in weights.items()})
    if not any(end.values()):
        return {name: weight for name, weight in scaled.items() if weight}, None
    return scaled, end

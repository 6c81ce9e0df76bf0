"""How many rows a stage has, and the spans of its mix: where sources are used up, and how far it changes.

Decides lengths, limits and stop rules in whole rows. A source that is used up leaves the mix with its last row, and the
others share its part in proportion; a mix that changes goes on from what it is then to what is left of its end.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from launcher.core.mix_spans import counts_of, counts_over, rows_until, weights_at
from launcher.core.mixing import quota
from launcher.core.recipe import Length, Stage
from launcher.core.run_plan import MixSpan
from launcher.core.stage_mix import Sources, StageMix, as_written, mean_tokens, whole

LOPSIDED = 10_000
"""Rows from one row of a source to its next in a mix in which it hardly occurs."""
ENDLESS = 10**15
"""More rows than any stage has."""

Left = Mapping[str, int]
"""Rows that the run may still see of each source that has a limit."""


class StageStarved(Exception):
    """A stage wants more rows than the limits of its sources leave."""

    def __init__(self, field: tuple[str, ...], message: str) -> None:
        super().__init__(message)
        self.field = field
        """Of the stage."""


@dataclass(frozen=True, slots=True)
class StageRows:
    """How long a stage is, and its spans if its mix does not stay the same."""

    rows: int
    spans: tuple[MixSpan, ...]


def rows_of_stage(stage: Stage, mix: StageMix, sources: Sources, rows_per_step: int, left: Left, *,
                  short_blocks: bool = False) -> StageRows:
    """Return a stage's rows. Raises StageStarved.

    Short blocks: in spans even if the mix stays, so that finding a row's place in its block takes no time.
    """
    _refuse_more_epochs(stage, sources, left)
    if mix.end is not None:
        rows = _rows_of_change(stage, mix.weights, mix.end, sources, rows_per_step)
        return _covered(rows, spans_of(mix.weights, mix.end, rows, left))
    if stage.length.until is None and not short_blocks:
        rows = _rows(stage, mix.weights, sources, rows_per_step)
        counts = quota(rows, mix.weights)
        if all(counts[name] <= left.get(name, rows) for name in counts):
            return StageRows(rows, ())
    spans = spans_of(mix.weights, None, ENDLESS, left)
    return _covered(_rows_within(stage, spans, sources, rows_per_step, left), spans)


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


def _covered(rows: int, spans: tuple[MixSpan, ...]) -> StageRows:
    """Return the spans cut to the rows. Raises StageStarved if they have fewer."""
    there = sum(span.rows for span in spans)
    if there < rows:
        counts = counts_over(spans, there)
        told = ", ".join(f"{count:,} of {name}" for name, count in counts.items())
        wanted = f"{rows:,} rows" if rows < ENDLESS else "more rows than there are"
        raise StageStarved(("length",), (
            f"the stage wants {wanted}, and the limits of its sources leave {there:,}: {told}; raise max_epochs "
            "or max_tokens of one, or train on what is left: length: {until: all_exhausted}"))
    made: list[MixSpan] = []
    for span in spans:
        here = min(rows - sum(each.rows for each in made), span.rows)
        made += [span.model_copy(update={"rows": here})] if here else []
    return StageRows(rows, tuple(made))


def _refuse_more_epochs(stage: Stage, sources: Sources, left: Left) -> None:
    of = stage.length.of or stage.mixed[0]
    if stage.length.epochs is None or of not in left:
        return
    if _epochs(stage.length, of, sources) > left[of]:
        raise StageStarved(("length", "epochs"), (
            f"{stage.length.epochs:g} epochs of {of} are wanted, and its limit leaves "
            f"{left[of] / sources[of].rows:.3g}; raise max_epochs or max_tokens, or train on what is left of it: "
            "length: {until: first_exhausted}"))


def _rows(stage: Stage, weights: Mapping[str, int], sources: Sources, rows_per_step: int) -> int:
    """Return the rows of a stage whose mix stays."""
    length = stage.length
    if length.steps is not None:
        return length.steps * rows_per_step
    if length.tokens is not None:
        return _rows_for_tokens(length.tokens, _mean(weights, sources), rows_per_step)
    return _rows_for_epochs(length, length.of or stage.mixed[0], weights, sources)


def _rows_for_tokens(tokens: int, per_row: Fraction, rows_per_step: int) -> int:
    return -(-math.ceil(tokens / per_row) // rows_per_step) * rows_per_step


def _mean(weights: Mapping[str, int], sources: Sources) -> Fraction:
    """Return the mean tokens of a row of a mix."""
    tokens = sum((weight * mean_tokens(sources[name]) for name, weight in weights.items()), Fraction(0))
    return tokens / sum(weights.values())


def _epochs(length: Length, of: str, sources: Sources) -> int:
    """Return the rows that a source's epochs come to."""
    return max(1, round(as_written(length.epochs or 0) * sources[of].rows))


def _rows_for_epochs(length: Length, of: str, weights: Mapping[str, int], sources: Sources) -> int:
    """Return the least number of rows in which the source has its epochs; the last step may be partial."""
    target = _epochs(length, of, sources)
    total, weight = sum(weights.values()), weights[of]
    # Below the first its exact share is a whole row short, and from the last on largest remainder cannot withhold it.
    first, last = (target - 1) * total // weight, -(-target * total // weight)
    between = range(first, last + 1)
    if len(between) > LOPSIDED:
        # Nearly the least number will do here, where looking at each would take minutes.
        return between[bisect_left(between, target, key=lambda rows: quota(rows, weights)[of])]
    return next(rows for rows in between if quota(rows, weights)[of] >= target)


def _rows_of_change(stage: Stage, weights: dict[str, int], end: dict[str, int], sources: Sources,
                    rows_per_step: int) -> int:
    """Return the rows of a stage whose mix changes, as if no source were used up: over it, a source has the mean of
    its two shares."""
    length, of = stage.length, stage.length.of or stage.mixed[0]
    if length.steps is not None:
        return length.steps * rows_per_step
    if length.tokens is not None:
        mean = (_mean(weights, sources) + _mean(end, sources)) / 2
        return _rows_for_tokens(length.tokens, mean, rows_per_step)
    target = _epochs(length, of, sources)
    share = (Fraction(weights[of], sum(weights.values())) + Fraction(end[of], sum(end.values()))) / 2
    most = math.ceil((target + len(weights)) / share) + len(weights)
    return bisect_left(range(most), target, key=lambda rows: _in_change(weights, end, rows, of))


def _in_change(weights: dict[str, int], end: dict[str, int], rows: int, source: str) -> int:
    return counts_of(MixSpan(rows=rows, weights=weights, end=end, over=rows), rows)[source] if rows else 0


def _rows_within(stage: Stage, spans: tuple[MixSpan, ...], sources: Sources, rows_per_step: int, left: Left) -> int:
    """Return the rows of a stage whose sources may be used up, by what its spans come to."""
    length = stage.length
    if length.steps is not None:
        return length.steps * rows_per_step
    if length.tokens is not None:
        rows = bisect_left(range(ENDLESS), length.tokens, key=lambda n: _tokens(counts_over(spans, n), sources))
        return -(-rows // rows_per_step) * rows_per_step
    if length.epochs is not None:
        of = length.of or stage.mixed[0]
        return rows_until(spans, of, _epochs(length, of, sources)) or ENDLESS
    ends = [rows_until(spans, name, left.get(name, sources[name].rows)) or ENDLESS for name in stage.mixed]
    return min(ends) if length.until == "first_exhausted" else max(ends)


def _tokens(counts: Mapping[str, int], sources: Sources) -> Fraction:
    return sum((count * mean_tokens(sources[name]) for name, count in counts.items()), Fraction(0))

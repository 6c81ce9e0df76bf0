"""How many rows a stage has: lengths, limits and stop rules, in whole rows.

Decides for a mix that stays by largest remainder, as ever; where it changes or a source is used up, by the spans that
`core.stage_spans` makes of it. Refuses a stage that its sources' limits starve.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from launcher.core.mix_spans import counts_of, counts_over, rows_until
from launcher.core.mixing import quota
from launcher.core.recipe import Length, Stage
from launcher.core.run_plan import MixSpan
from launcher.core.stage_mix import Sources, StageMix, as_written, mean_tokens
from launcher.core.stage_spans import ENDLESS, Left, spans_of

LOPSIDED = 10_000
"""Rows from one row of a source to its next in a mix in which it hardly occurs."""


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


def _covered(rows: int, spans: tuple[MixSpan, ...]) -> StageRows:
    """Return the spans cut to the rows. Raises StageStarved if they have fewer."""
    there = sum(span.rows for span in spans)
    if there < rows:
        counts = counts_over(spans, there)
        told = ", ".join(f"{count:,} of {name}" for name, count in counts.items())
        wanted = f"{rows:,} rows" if rows < ENDLESS else "more rows than there are"
        instead = "make the stage shorter" if any(span.end for span in spans) else (
            "train on what is left: length: {until: all_exhausted}")
        raise StageStarved(("length",), (f"the stage wants {wanted}, and the limits of its sources leave {there:,}: "
                                         f"{told}; raise max_epochs or max_tokens of one, or {instead}"))
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

"""From the weights that a recipe says to whole-number weights in rows: units, rules by size, and replay.

Decides in exact fractions; where a rule has a root, in decimals that are the same on every machine. How many rows a
stage has is `core.stage_rows`; what becomes of its mix when a source is used up, `core.stage_spans`.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction

from launcher.core.recipe import Stage
from launcher.core.recipe_mixing import Replay, Sampling, WeightUnit
from launcher.core.run_plan import SourcePlan

FINEST = 10**9
"""Parts that a whole is cut into at most when shares become whole numbers."""
DIGITS = 28
"""Of roots: more than are left of them."""

Sources = Mapping[str, SourcePlan]
Shares = dict[str, Fraction]


@dataclass(frozen=True, slots=True)
class StageMix:
    """Whole-number weights in rows, replay included, at a stage's begin and, if they change, at its end."""

    weights: dict[str, int]
    end: dict[str, int] | None


def mix_of(stage: Stage, earlier: Sequence[Stage], sources: Sources, unit: WeightUnit,
           used_up: Collection[str] = ()) -> StageMix:
    """Return a stage's mix. Replay leaves out sources that are used up."""
    parts = {name: part for name, part in replayed(stage.replay, earlier).items() if name not in used_up}
    begin = _in_rows(stage.mix, stage, sources, stage.weights or unit, parts)
    if stage.mix_end is None:
        return StageMix(whole(begin), None)
    end = _in_rows(stage.mix_end, stage, sources, stage.weights or unit, parts)
    both = {**begin, **end}
    return StageMix(whole({name: begin.get(name, Fraction(0)) for name in both}),
                    whole({name: end.get(name, Fraction(0)) for name in both}))


def replayed(replay: Replay, earlier: Sequence[Stage]) -> Shares:
    """Return each replayed source's part, before they are made to sum to 1."""
    if not replay.share:
        return {}
    parts: Shares = {}
    for distance, stage in enumerate(reversed(earlier if replay.earlier else ())):
        for name in stage.mixed:
            parts.setdefault(name, as_written(replay.decay) ** distance)
    return parts | dict.fromkeys(replay.general, Fraction(1))


def _in_rows(mix: Mapping[str, float], stage: Stage, sources: Sources, unit: WeightUnit, parts: Shares) -> Shares:
    """Return shares in rows. What counts something else is divided by its mean per row: rows are not equally full."""
    per_row = mean_tokens if unit == "tokens" else mean_documents
    weigh = _weigher(stage.sampling, sources, unit)
    own = {name: weigh(name, weight) / per_row(sources[name]) for name, weight in mix.items()}
    # Replay's share is taken of what it counts: rows, or tokens, into which the own mix is turned for that.
    full = {name: mean_tokens(sources[name]) if stage.replay.tokens is not None else Fraction(1)
            for name in {**own, **parts}}
    replay, total, all_parts = as_written(stage.replay.share), _sum_of(own, full), sum(parts.values())
    shares = {name: (1 - replay) * weight * full[name] / total for name, weight in own.items()}
    for name in sorted(parts):
        shares[name] = shares.get(name, Fraction(0)) + replay * parts[name] / all_parts
    return {name: share / full[name] for name, share in shares.items()}


def _sum_of(weights: Shares, factors: Shares) -> Fraction:
    return sum((weight * factors[name] for name, weight in weights.items()), Fraction(0))


def _weigher(sampling: Sampling | None, sources: Sources, unit: WeightUnit) -> Callable[[str, float], Fraction]:
    """Return what gives a source's weight, from the one that is written or by the rule."""
    if sampling is None:
        return lambda _, weight: as_written(weight)
    if sampling.kind == "equal":
        return lambda _, weight: Fraction(1)

    def by_size(name: str, _: float) -> Fraction:
        source = sources[name]
        size = max(1, source.tokens if unit == "tokens" else source.documents or 0)
        return _root(size if sampling.cap is None else min(size, sampling.cap), sampling.temperature or 1.0)

    return by_size


def _root(size: int, temperature: float) -> Fraction:
    """Return size^(1/temperature): in decimals, because floating point differs between machines in the last digit."""
    if temperature == 1:
        return Fraction(size)
    with localcontext(prec=DIGITS):
        return Fraction(Decimal(size) ** (1 / Decimal(repr(temperature))))


def mean_tokens(source: SourcePlan) -> Fraction:
    """Return the mean tokens of a source's rows; 1 for a source without any, which is refused by name later."""
    return Fraction(source.tokens, source.rows) if source.rows and source.tokens else Fraction(1)


def mean_documents(source: SourcePlan) -> Fraction:
    """Return the mean documents of a source's rows; 1 for a source without any."""
    return Fraction(source.documents, source.rows) if source.rows and source.documents else Fraction(1)


def as_written(number: float) -> Fraction:
    """Return the decimal that a person wrote, exactly: 0.1 is a tenth, not the nearest binary number."""
    return Fraction(repr(number))


def whole(shares: Mapping[str, Fraction]) -> dict[str, int]:
    """Return the shares as whole numbers: exactly where they are simple, else to a part in 10^9.

    Ratios of tokens to rows multiply into integers that other readers of plan.json would round anyhow.
    """
    common = min(math.lcm(*(share.denominator for share in shares.values())), FINEST)
    weights = {name: max(1, round(share * common)) if share else 0 for name, share in shares.items()}
    divisor = math.gcd(*weights.values())
    return {name: weight // divisor for name, weight in weights.items()}

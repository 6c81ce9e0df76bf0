"""Divergence: what tells that a step's rows throw the run off its track.

Decides from numbers that all ranks have, so all judge alike in the same step; what was usual lately goes with the
checkpoint, so a run that was restarted judges as the unbroken one. What is left out then is `core.rolling_back`.
"""

from collections.abc import Mapping, Sequence
from math import exp, log
from statistics import median

from launcher.core.document import Document

WINDOW = 50
"""Applied steps that are remembered."""
FEWEST = 20
"""Steps of a stage before any is judged: new data and a rising learning rate have no usual loss yet."""
FEWEST_OF_SOURCE = 5
"""Steps with a source before its loss is known."""
SMALL_PART = 0.25
"""A step with less than this part of the usual supervised tokens is not judged: few tokens vary much."""
LOSS_SPREAD, NORM_SPREAD = 0.1, 0.3
"""The least spreads, of logarithms: a curve that happens to lie still for a while makes no spike of a ripple. With the
default width a spike has at least 2.7 times the usual loss, or 20 times the usual norm."""
LEAST_RISE = 1.0
"""Nats. A loss that goes from 0.01 to 0.1 on text that is nearly learnt by heart is no divergence."""
TINY = 1e-9
NORMAL = 1.4826
"""The standard deviation of normal noise over its median absolute deviation."""
IN_A_ROW, IN_A_HUNDRED = 3, 10
"""Steps left out that end a run, the last of them for not being finite."""


class Sample(Document):
    """What one applied step was like."""

    norm: float
    """Of the gradient, before clipping."""
    losses: dict[str, float]
    """By source, per supervised token."""
    tokens: dict[str, int]
    """Supervised, by source."""


class Usual(Document):
    """What the last applied steps of a stage were like."""

    stage: str = ""
    steps: tuple[Sample, ...] = ()

    def with_step(self, stage: str, sample: Sample) -> "Usual":
        """Return what is usual after one more step. Each stage begins anew."""
        before = self.steps[1 - WINDOW:] if stage == self.stage else ()
        return Usual.model_construct(stage=stage, steps=(*before, sample))


def spike(usual: Usual, stage: str, sample: Sample, width: float) -> str | None:
    """Return in what a step lies further above the usual than `width` robust standard deviations; None if in nothing.

    Losses are compared source by source, since a step with more rows of a hard source is no spike.
    """
    if stage != usual.stage or len(usual.steps) < FEWEST:
        return None
    found = _norm_spike(usual.steps, sample, width) or _loss_spike(usual.steps, sample, width)
    small = found and _supervised(sample) < SMALL_PART * median(map(_supervised, usual.steps))
    return None if small else found


def too_many(skipped: Sequence[int], step: int) -> tuple[int, ...]:
    """Return the steps that are too many to leave out, now that one more was not finite; none if the run may go on."""
    row = 0
    while step - row in skipped:
        row += 1
    recent = tuple(each for each in skipped if step - 100 < each <= step)
    return recent[-row:] if row >= IN_A_ROW else recent if len(recent) >= IN_A_HUNDRED else ()


def _norm_spike(recent: Sequence[Sample], sample: Sample, width: float) -> str | None:
    usual = median([each.norm for each in recent])
    if sample.norm <= usual * exp(width * NORM_SPREAD):
        return None  # nearly always: the rest is for what is left
    most = exp(_limit([_log(each.norm) for each in recent], width, NORM_SPREAD))
    if sample.norm <= most:
        return None
    return f"the gradient norm is {sample.norm:.4g}, where {usual:.4g} is usual and {most:.4g} the most that is"


def _loss_spike(recent: Sequence[Sample], sample: Sample, width: float) -> str | None:
    usual = _usual_losses(recent)
    known = sum(sample.tokens[source] for source in sample.losses if source in usual)
    if 2 * known < _supervised(sample):
        return None
    found, expected = _mean(sample.losses, sample, usual), _mean(usual, sample, usual)
    if found <= expected + LEAST_RISE:
        return None
    ratios = [_log(_mean(each.losses, each, usual)) - _log(_mean(usual, each, usual)) for each in recent
              if any(source in usual for source in each.losses)]
    most = expected * exp(_limit(ratios, width, LOSS_SPREAD))
    if found <= most:
        return None
    return f"the loss is {found:.4g}, where {expected:.4g} is usual for its sources and {most:.4g} the most that is"


def _usual_losses(recent: Sequence[Sample]) -> dict[str, float]:
    by_source: dict[str, list[float]] = {}
    for sample in recent:
        for source, loss in sample.losses.items():
            by_source.setdefault(source, []).append(loss)
    return {source: median(losses) for source, losses in by_source.items() if len(losses) >= FEWEST_OF_SOURCE}


def _mean(losses: Mapping[str, float], sample: Sample, known: Mapping[str, float]) -> float:
    """Return the mean per token over those of the sample's sources that are known."""
    sources = [source for source in sample.losses if source in known]
    total = sum(losses[source] * sample.tokens[source] for source in sources)
    return total / max(sum(sample.tokens[source] for source in sources), 1)


def _limit(values: Sequence[float], width: float, least: float) -> float:
    middle = median(values)
    return middle + width * max(NORMAL * median(abs(value - middle) for value in values), least)


def _log(value: float) -> float:
    return log(max(value, TINY))


def _supervised(sample: Sample) -> int:
    return sum(sample.tokens.values())

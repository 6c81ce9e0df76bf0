"""How many of the first rows of a span each source has, where the mix changes or sources are used up.

Decides by rounding: at time t a source has the nearest whole number to its exact share of t rows, and of the times the
latest is taken at which all together have no more than the rows asked for. Counts so never fall from row to row, for
any weights and however they change, which largest remainders do not promise (see `core.mixing`). Each is within half a
row for each source of its exact share, and that does not grow. Which spans a stage has is `core.stage_spans`.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable

from launcher.core.run_plan import MixSpan, StagePlan


def counts_in(stage: StagePlan, rows: int) -> dict[str, int]:
    """Return how many of the first rows of a stage of spans each source has."""
    return counts_over(stage.spans, rows)


def counts_over(spans: tuple[MixSpan, ...], rows: int) -> dict[str, int]:
    """Return how many of the first rows of spans each source has."""
    counts: dict[str, int] = {source: 0 for span in spans for source in span.weights}
    for span in spans:
        here = min(rows, span.rows)
        for source, count in counts_of(span, here).items():
            counts[source] += count
        rows -= here
    return counts


def counts_of(span: MixSpan, rows: int) -> dict[str, int]:
    """Return how many of a span's first rows each source has."""
    nearest = _nearest(span)
    sources = sorted(span.weights)
    # Each source is at most half a row away from its share, so all together are near the time.
    times = range(max(0, rows - len(sources)), rows + len(sources) + 1)
    time = times[bisect_right(times, rows, key=lambda t: sum(nearest(source, t) for source in sources)) - 1]
    counts = {source: nearest(source, time) for source in sources}
    # Between two times a source moves by one row at most; of those that do, the first by name have it.
    moving = [source for source in sources if nearest(source, time + 1) > counts[source]]
    for source in moving[: rows - sum(counts.values())]:
        counts[source] += 1
    return counts


def rows_until(spans: tuple[MixSpan, ...], source: str, count: int) -> int | None:
    """Return the least number of rows in which a source has so many, or None if it never has."""
    rows = sum(span.rows for span in spans)
    if counts_over(spans, rows).get(source, 0) < count:
        return None
    return bisect_left(range(rows), count, key=lambda n: counts_over(spans, n)[source])


def weights_at(span: MixSpan, rows: int) -> dict[str, int]:
    """Return the weights after so many rows of a span."""
    if span.end is None:
        return span.weights
    total, end_total = sum(span.weights.values()), sum(span.end.values())
    return {source: weight * end_total * (span.over - rows) + span.end[source] * total * rows
            for source, weight in span.weights.items()}


def _nearest(span: MixSpan) -> Callable[[str, int], int]:
    """Return what gives the nearest whole number to a source's exact share of a span's first rows: in integers."""
    weights, end, over, total = span.weights, span.end, span.over, sum(span.weights.values())
    if end is None:
        return lambda source, time: (2 * weights[source] * time + total) // (2 * total)
    end_total = sum(end.values())
    unit = 2 * over * total * end_total

    def under_the_line(source: str, time: int) -> int:
        # The area below a share that goes from weight/total to end/end_total over `over` rows, and stays there.
        within, beyond = min(time, over), max(0, time - over)
        begin, rest = weights[source] * end_total, end[source] * total
        area = begin * (2 * over - within) * within + rest * (within * within + 2 * over * beyond)
        return (2 * area + unit) // (2 * unit)

    return under_the_line



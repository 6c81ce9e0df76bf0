"""What a plan comes to, as a table and lines: how `launcher plan` shows mixes. Decides wording and widths only."""

import textwrap
from collections.abc import Iterator
from typing import cast

from rich.table import Table

from launcher.core.forecast import Forecast, StageForecast
from launcher.core.run_plan import RunPlan, SegmentPlan
from launcher.core.trainable import Globs, StageAdapter, Top

WIDTH = 80
LABEL = 9
"""Columns before the text of a line."""


def plan_table(comes_to: Forecast) -> Table:
    """Return a line for each stage and each source in it, and where there are several stages for the whole run."""
    table = Table(box=None, pad_edge=False)
    table.add_column("stage", overflow="fold")
    table.add_column("source", overflow="fold")
    for name in ("steps", "rows", "tokens", "share", "epochs", "rate"):
        table.add_column(name, justify="right", no_wrap=True)
    for stage in comes_to.stages:
        table.add_row(stage.name, "", f"{stage.steps:,}", f"{stage.rows:,}", short(stage.tokens), "", "",
                      f"{stage.learning_rate:g}")
        for name, source in stage.sources.items():
            table.add_row("", name, "", f"{source.rows:,}", short(source.tokens), f"{source.share:.1%}",
                          f"{source.epochs:.2f}", "")
    if len(comes_to.stages) > 1:
        _add_whole(table, comes_to)
    return table


def _add_whole(table: Table, comes_to: Forecast) -> None:
    table.add_row("in all", "", f"{comes_to.steps:,}", f"{comes_to.rows:,}", short(comes_to.tokens), "", "", "")
    for name, source in comes_to.sources.items():
        table.add_row("", name, "", f"{source.rows:,}", short(source.tokens),
                      f"{source.tokens / max(1, comes_to.tokens):.1%}", f"{source.epochs:.2f}", "")


def mix_lines(comes_to: Forecast) -> Iterator[str]:
    """Yield what the table cannot show: mixes that change, and sources that are used up before their stage ends."""
    for stage in comes_to.stages:
        gone = stage.used_up
        moving = [f"{name} {source.begin:.1%} to {source.end:.1%}" for name, source in stage.sources.items()
                  if name not in gone and source.begin != source.end]
        if moving:
            yield labelled("mix", f"{stage.name} goes from first to last row: {', '.join(moving)}")
        if gone:
            yield labelled("limits", f"{_told(stage)}; the others share its part" + "s" * (len(gone) > 1))


def segment_lines(made: RunPlan) -> Iterator[str]:
    """Yield a line for each engine of a run that has several, and where the rates of its layers differ."""
    for number, segment in enumerate(made.segments if len(made.segments) > 1 else (), 1):
        steps = f"steps {segment.first_step:,} to {segment.last_step:,}"
        names = ", ".join(stage.name for stage in made.stages_of(segment))
        rows = f", rows of {segment.sequence_length:,}" if made.lengths else ""
        zero = f", ZeRO {zero_of(made, segment)}" if made.ds_templates else ""
        yield labelled("engines" if number == 1 else "", f"{steps} ({names}): {_trained(segment)}{rows}{zero}")
    if decays := {stage.name: stage.optimizer.layer_decay for stage in made.stages if stage.optimizer.layer_decay}:
        told = ", ".join(f"by {decay:g} in {name}" for name, decay in decays.items())
        yield labelled("rates", f"fall from layer to layer, from the top down: {told}")
    if reset := [stage.name for stage in made.stages if stage.index and stage.optimizer.state == "reset"]:
        yield labelled("moments", f"begin anew in {', '.join(reset)}")


def zero_of(made: RunPlan, segment: SegmentPlan) -> object:
    """Return ZeRO's stage in a segment."""
    zero = made.template_of(segment).get("zero_optimization")
    return cast(dict[str, object], zero).get("stage") if isinstance(zero, dict) else None


def row_lines(made: RunPlan) -> Iterator[str]:
    """Yield a line for each stage whose steps have other rows than the run's."""
    for stage in made.stages:
        if stage.rows_per_step or stage.sequence_length:
            rows = f"{made.batch_of(stage):,} rows of {made.length_of(stage):,} tokens"
            yield labelled("batch", f"in {stage.name} {rows}")


def _trained(segment: SegmentPlan) -> str:
    match segment.trainable:
        case "all":
            return "all weights"
        case "adapter":
            return "adapters"
        case Globs(globs=globs):
            return ", ".join(globs)
        case StageAdapter(of_stage=number):
            return "its own adapter" + ("; those before it stay" if number else "")
        case Top(top=top):
            return f"the top {top} layer{'s' * (top > 1)}, the last norm and the head"


def _told(stage: StageForecast) -> str:
    rows = ", ".join(f"{name} after {row:,}" for name, row in stage.used_up.items())
    return f"in {stage.name}, of {stage.rows:,} rows, are used up: {rows}"


def labelled(label: str, text: str) -> str:
    """Return a line of the plan with its label."""
    # Folded here: a pipe has no width, and a name is not to be cut in two.
    return textwrap.fill(f"{label:<{LABEL}}{text}", WIDTH, subsequent_indent=" " * LABEL, break_long_words=False,
                         break_on_hyphens=False)


def short(count: int) -> str:
    """Return a count with three digits: 1,234, 12.3M, 8.03B."""
    for size, unit in ((10**9, "B"), (10**6, "M"), (10**4, "k")):
        if count >= size:
            divided = count / (1000 if unit == "k" else size)
            return f"{divided:.{2 if divided < 10 else 1 if divided < 100 else 0}f}{unit}"
    return f"{count:,}"

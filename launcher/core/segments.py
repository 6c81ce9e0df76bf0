"""From stages to segments: spans of steps with one engine.

Decides where a new engine begins: where other parameters are trained, or a stage's own adapter, the rows have another
length, DeepSpeed another configuration, or rates begin or cease to differ by depth. A batch of its own needs no new
engine.
"""

from collections.abc import Iterator, Sequence

from launcher.core.run_plan import SegmentPlan, StagePlan, Unfreezing
from launcher.core.trainable import Globs, StageAdapter, Top, Trainable


def segments_of(stages: Sequence[StagePlan], *, sequence_length: int, deepspeed: str, adapter: bool,
                layers: int | None, per_stage: bool = False) -> tuple[SegmentPlan, ...]:
    """Return the segments of a run; what a stage does not say is as given for the run. `layers` of the model are asked
    for where a stage unfreezes them; `per_stage` says that each stage has an adapter of its own."""
    made: list[SegmentPlan] = []
    for stage in stages:
        for first, steps, trainable in _spans(stage, layers, adapter=adapter, per_stage=per_stage):
            segment = SegmentPlan(
                index=len(made), first_step=first, steps=steps, trainable=trainable,
                sequence_length=stage.sequence_length or sequence_length, deepspeed=stage.deepspeed or deepspeed,
                by_depth=stage.optimizer.layer_decay is not None)
            if made and made[-1].engine == segment.engine:
                made[-1] = made[-1].model_copy(update={"steps": made[-1].steps + steps})
            else:
                made.append(segment)
    return tuple(made)


def unfreezing_steps(unfreezing: Unfreezing, layers: int) -> int:
    """Return after how many steps everything is trained: once all layers are, the embeddings are next."""
    return -(-layers // unfreezing.layers) * unfreezing.every


def _spans(stage: StagePlan, layers: int | None, *, adapter: bool,
           per_stage: bool) -> Iterator[tuple[int, int, Trainable]]:
    """Yield (first step, steps, what is trained) of each part of a stage, to where it ends."""
    steps = stage.last_step - stage.first_step + 1
    if per_stage:
        yield stage.first_step, steps, StageAdapter(of_stage=stage.index)
        return
    if stage.unfreeze is None:
        yield stage.first_step, steps, "adapter" if adapter else (
            Globs(globs=stage.trainable) if stage.trainable else "all")
        return
    assert layers, "planning refuses to unfreeze a model whose layers are not known"
    every, begin = stage.unfreeze.every, 0
    whole = min(unfreezing_steps(stage.unfreeze, layers), steps)
    while begin < whole:
        top = min(layers, (begin // every + 1) * stage.unfreeze.layers)
        yield stage.first_step + begin, min(every, whole - begin), Top(top=top)
        begin += every
    if begin < steps:
        yield stage.first_step + begin, steps - begin, "all"

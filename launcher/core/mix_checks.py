"""What the fields of a stage's mix say about each other: weights and rules, ends and stop rules, replay.

Decides on the recipe alone; what follows from the size of the data is `core.planning`.
"""

from collections.abc import Iterator

from launcher.core.recipe import Recipe, Stage
from launcher.core.suggestions import did_you_mean
from launcher.core.yaml_tree import FieldPath

Found = Iterator[tuple[FieldPath, str]]


def mix_problems(recipe: Recipe, stage: Stage, path: FieldPath) -> Found:
    """Yield everything about a stage's mix, length and replay that cannot be."""
    yield from _names(recipe, stage, path)
    yield from _sampling(stage, path)
    yield from _length(stage, path)
    yield from _replay(recipe, stage, path)


def _names(recipe: Recipe, stage: Stage, path: FieldPath) -> Found:
    for field, mix in (("mix", stage.mix), ("mix_end", stage.mix_end or {})):
        for name in mix:
            if name not in recipe.sources:
                yield (*path, field, name), f"no source has this name; {did_you_mean(name, recipe.sources)}"
    if stage.mix_end == stage.mix:
        yield (*path, "mix_end"), "is the same as mix, so nothing changes; remove it"


def _sampling(stage: Stage, path: FieldPath) -> Found:
    if stage.sampling is None:
        return
    if weighed := [name for name, weight in stage.mix.items() if weight != 1]:
        yield (*path, "mix", weighed[0]), (f"sampling: {stage.sampling.kind} makes the weights; name the sources "
                                           f"alone, mix: [{', '.join(stage.mix)}], or remove sampling")
    if stage.mix_end is not None:
        yield (*path, "mix_end"), "goes with weights, and sampling makes weights that stay; write both mixes as weights"


def _length(stage: Stage, path: FieldPath) -> Found:
    length = stage.length
    if length.of is not None and length.of not in stage.mixed:
        yield (*path, "length", "of"), f"{length.of} is not in the stage's mix; {did_you_mean(length.of, stage.mixed)}"
    if length.epochs is not None and length.of is None and len(stage.mixed) > 1:
        yield (*path, "length"), f"say of which source the epochs are: of: {stage.mixed[0]}"
    if length.until is not None and stage.mix_end is not None:
        yield (*path, "length", "until"), ("a mix that changes needs a length to change over; use steps, tokens or "
                                           "epochs, or remove mix_end")


def _replay(recipe: Recipe, stage: Stage, path: FieldPath) -> Found:
    replay = stage.replay
    for name in replay.general:
        if name not in recipe.sources:
            yield (*path, "replay", "general"), f"no source is named {name}; {did_you_mean(name, recipe.sources)}"
    if replay.share >= 1:
        yield (*path, "replay"), "leaves no row for the stage's own mix; use less than 100%"
    if not replay.share and (replay.general or replay.decay != 1):
        yield (*path, "replay"), "a share of 0 replays nothing; raise it, or remove replay"
    if path != ("stages", 0) or not replay.share:
        return
    if not replay.general:
        yield (*path, "replay"), "the first stage has no earlier stage to replay; remove it"
    elif replay.decay != 1:
        yield (*path, "replay", "decay"), "the first stage has no earlier stage whose part could fall; remove it"

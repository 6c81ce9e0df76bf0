"""Which parameters a segment trains, by their names: all, adapters, a stage's own, globs, or layers from the top.

Decides on names alone, so that a plan can check a recipe where the names are known without the model, and every rank
decides the same. Which segments there are is `core.segments`; what becomes of the others' state, `core.lineage`.
"""

import difflib
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Literal, assert_never

from launcher.core.document import Document

LAYER = re.compile(r"\.(\d+)\.")
ADAPTER = ".lora_"
"""In the names of all parameters that peft adds."""
NEAR = 3
"""Names that a message proposes."""


class Globs(Document):
    """Parameters by their names, as `fnmatch` has it: `*` is anything, dots too, `[2-3]` one of these characters.

    A pattern also names a module, with everything in it: `lm_head` is `lm_head.weight`.
    """

    globs: tuple[str, ...]


class Top(Document):
    """What follows the layers (the last norm, the head), and so many layers counted from there."""

    top: int


class StageAdapter(Document):
    """The adapter that one stage trains, where each has its own."""

    of_stage: int
    """From 0."""

    @property
    def called(self) -> str:
        """Return its name in peft, and so in those of its parameters. Not the stage's, which may hold dots."""
        return f"stage{self.of_stage}"


Trainable = Literal["all", "adapter"] | Globs | Top | StageAdapter


def chosen(names: Sequence[str], trainable: Trainable) -> frozenset[str]:
    """Return which of a model's parameters are trained; `names` are all, in the model's order."""
    match trainable:
        case "all":
            return frozenset(names)
        case "adapter":
            return frozenset(name for name in names if ADAPTER in name)
        case Globs():
            return frozenset(name for name in names if any(matches(name, glob) for glob in trainable.globs))
        case Top():
            return frozenset(name for name, distance in distances(names).items() if distance <= trainable.top)
        case StageAdapter():
            return frozenset(name for name in names if ADAPTER in name and adapter_of(name) == trainable.called)
        case _:
            assert_never(trainable)


def adapter_of(name: str) -> str:
    """Return what peft calls the adapter that a parameter of it is in: `...q_proj.lora_A.default.weight`."""
    return name.rsplit(".", 2)[-2]


def matches(name: str, glob: str) -> bool:
    """Return whether a pattern names a parameter, or a module that holds it."""
    return fnmatchcase(name, glob) or fnmatchcase(name, f"{glob}.*")


def layer_of(name: str) -> int | None:
    """Return the number of the layer that holds a parameter, from 0; None outside of them. The first number in a name
    is the layer's; others are those of experts."""
    found = LAYER.search(name)
    return None if found is None else int(found[1])


def layer_count(names: Sequence[str]) -> int:
    """Return how many layers there are."""
    return 1 + max((layer for name in names if (layer := layer_of(name)) is not None), default=-1)


def distances(names: Sequence[str]) -> dict[str, int]:
    """Return how far from the top each parameter is: of L layers the top one has 1 and the bottom one L.

    What follows the layers, the last norm and the head, has 0, and the embeddings L + 1; so a head that is tied to
    them does, being the same parameter.
    """
    layers, found = layer_count(names), dict[str, int]()
    above = False
    for name in names:
        layer = layer_of(name)
        above = above or layer is not None
        if layer is None:
            # Some architectures declare their last norm before the layers.
            found[name] = 0 if above or not layers or "norm" in name or "ln_f" in name else layers + 1
        else:
            found[name] = layers - layer
    return found


def unmatched(names: Sequence[str], globs: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (pattern, what there is instead) for each pattern that names nothing."""
    for glob in globs:
        if not any(matches(name, glob) for name in names):
            yield glob, f"names no parameter of this model; {_near(glob, names)}"


def _near(glob: str, names: Sequence[str]) -> str:
    if matches("lm_head.weight", glob) and any("embed_tokens" in name for name in names):
        return "its head is tied to the embeddings: name model.embed_tokens"
    modules = {name.rsplit(".", cut)[0] for name in names for cut in range(1, name.count(".") + 1)}
    near = difflib.get_close_matches(glob, sorted(modules), NEAR, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"its parameters are named like {', '.join(sorted(names)[:NEAR])}"

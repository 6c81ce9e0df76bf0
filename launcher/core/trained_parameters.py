"""How many parameters a plan trains, and how many it has trained before: by the model's shape, without the model.

Decides on names as transformers has them for Llama and its relatives, fused layers included. A pattern that names
anything else counts as the whole model: too much memory may be told, never too little. Biases count with a layer, and
not with the projection that has them.
"""

from collections.abc import Set

from launcher.core.adapter_targets import HEAD
from launcher.core.architectures import ModelFacts
from launcher.core.run_plan import RunPlan
from launcher.core.trainable import Globs, Trainable, chosen, matches

Sizes = dict[str, int]
"""Elements of each parameter, in the model's order."""


def trained_at_most(plan: RunPlan, facts: ModelFacts) -> int:
    """Return the parameters of that segment which trains most."""
    if any(segment.trainable == "all" for segment in plan.segments):
        return facts.parameters
    return _count(_most(plan, facts), facts)


def trained_in_all(plan: RunPlan, facts: ModelFacts) -> int:
    """Return the parameters that any segment trains: what a checkpoint at the end holds."""
    if not plan.segments or any(segment.trainable == "all" for segment in plan.segments):
        return facts.parameters
    names = frozenset[str]().union(*(_names(segment.trainable, facts) for segment in plan.segments))
    return _count(names, facts)


def parked_beside(plan: RunPlan, facts: ModelFacts) -> int:
    """Return the parameters that stages before a plan's segments trained, and that segment does not."""
    first = min((segment.first_step for segment in plan.segments), default=1)
    if first == 1 or trained_at_most(plan, facts) == facts.parameters:
        return 0
    earlier = set[str]()
    for stage in plan.stages:
        if stage.first_step < first:
            # One that unfreezes has trained everything in the end.
            earlier |= _names(Globs(globs=stage.trainable) if stage.trainable else "all", facts)
    return _count(earlier - _most(plan, facts), facts)


def sizes_of(facts: ModelFacts) -> Sizes:
    """Return the elements of each parameter; what a layer has besides its projections, as one."""
    embeddings, inside = facts.vocab_size * facts.hidden_size, dict[str, Sizes]()
    for name, (rows, columns) in facts.linears.items():
        if name != HEAD:
            inside.setdefault(_layer(name), {})[f"{name}.weight"] = rows * columns
    sizes = {"model.embed_tokens.weight": embeddings}
    for layer, linears in inside.items():
        sizes |= linears
        sizes[f"{layer}.others"] = facts.layer_parameters - sum(linears.values())
    return sizes | {"model.norm.weight": facts.hidden_size} | ({} if facts.tied else {f"{HEAD}.weight": embeddings})


def _count(names: Set[str], facts: ModelFacts) -> int:
    sizes = sizes_of(facts)
    return sum(sizes[name] for name in names)


def _layer(name: str) -> str:
    return ".".join(name.split(".")[:3])


def _most(plan: RunPlan, facts: ModelFacts) -> frozenset[str]:
    sizes = sizes_of(facts)
    found = [_names(segment.trainable, facts) for segment in plan.segments]
    return max(found, key=lambda names: sum(sizes[name] for name in names), default=frozenset(sizes))


def _names(trainable: Trainable, facts: ModelFacts) -> frozenset[str]:
    names = tuple(sizes_of(facts))
    if isinstance(trainable, Globs) and not all(any(matches(name, glob) for name in names)
                                                for glob in trainable.globs):
        return frozenset(names)
    return chosen(names, trainable)

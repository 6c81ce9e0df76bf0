"""What a recipe cannot say about adapters: alone, with the rest of the recipe, and with the DeepSpeed configuration.

What does not fit the model's layers is `core.adapter_targets`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from launcher.core.recipe import Recipe
from launcher.core.recipe_adapter import Adapter
from launcher.core.yaml_tree import FieldPath

Found = Iterator[tuple[FieldPath, str]]
NO_BITSANDBYTES = ("adapter.base: 4bit needs bitsandbytes, which is not installed here; install launcher[4bit], or "
                   "leave adapter.base out")
FILES = (".json", ".jinja", ".txt", ".model")
"""Ends of names that files beside the folders of an exported model's adapters have."""
_NO_MOMENTS = "each stage trains an adapter of its own, which begins without moments; remove it"


def adapter_problems(recipe: Recipe) -> Found:
    """Yield everything about adapters that cannot be, whatever the model's layers are."""
    adapter = recipe.adapter
    if adapter is None:
        return
    if recipe.model.init is not None:
        yield ("adapter",), "an adapter on a new model would train on random weights; remove it, or give model.path"
    if not adapter.targets:
        yield ("adapter", "targets"), "names no module; use all-linear or a list such as [q_proj, v_proj]"
    if adapter.dropout >= 1:
        yield ("adapter", "dropout"), "leaves nothing of the adapters' input, so nothing is learnt; use less than 100%"
    yield from _twice(adapter)
    yield from _per_stage(recipe, adapter)


def template_problems(adapter: Adapter | None, ds_template: Mapping[str, Any],
                      path: FieldPath = ("adapter", "base")) -> Found:
    """Yield what cannot be with a DeepSpeed configuration, told at a field: of a stage's own, at the stage's."""
    zero = cast(dict[str, Any], ds_template.get("zero_optimization", {}))
    if adapter is not None and adapter.base == "4bit" and int(zero.get("stage", 0)) >= 3:
        yield path, ("ZeRO-3 cuts weights anywhere, and 4-bit ones come in blocks with a scale each; "
                     "use deepspeed: zero2, where each worker holds the whole base in 4 bits")


def _twice(adapter: Adapter) -> Found:
    if isinstance(adapter.targets, str):
        return
    for number, target in enumerate(adapter.targets):
        if target in adapter.targets[:number]:
            yield ("adapter", "targets", number), f"{target} is named already; remove one of the two"
        elif not target:
            yield ("adapter", "targets", number), "an empty name; use all-linear, or names such as q_proj"
        elif target == "all-linear":
            yield ("adapter", "targets", number), "all-linear stands alone: targets: all-linear"


def _per_stage(recipe: Recipe, adapter: Adapter) -> Found:
    if adapter.per_stage is None:
        return
    path: FieldPath = ("adapter", "per_stage")
    if adapter.per_stage == "stacked" and adapter.kind == "dora":
        # peft (lora/variants.py) scales what the earlier ones made by norms of the base alone; with dropout it scales
        # the base alone while it trains, and all of it when it does not.
        yield path, ("DoRA learns the lengths of weights, and beside an earlier one peft takes those of the base: "
                     "not the lengths of what computes; use merged, or kind: lora")
    if adapter.per_stage == "merged" and adapter.base == "4bit":
        yield path, ("weights with an adapter in them would have to be rounded to 4 bits again, which takes away much "
                     "of what it learnt; use stacked, or leave adapter.base out")
    if recipe.optimizer.state == "reset":
        yield ("optimizer", "state"), _NO_MOMENTS
    for number, stage in enumerate(recipe.stages):
        if number and stage.optimizer is not None and stage.optimizer.state == "reset":
            yield ("stages", number, "optimizer", "state"), _NO_MOMENTS
        if stage.name.endswith(FILES):
            yield ("stages", number, "name"), ("its adapter is written into a folder of this name, beside files of the "
                                               f"tokenizer that may be called so; use {stage.name.replace('.', '-')}")

"""Which options for speed cannot be: with a model, with DeepSpeed's stage, or on the machines that are there.

Decides on what is known before a worker starts; a worker looks again, at the model itself (`runtime.chunked_loss`).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, cast

from launcher.core.recipe import ModelChoice, Recipe
from launcher.core.recipe_adapter import ALL_LINEAR, Adapter
from launcher.core.yaml_tree import FieldPath

Found = Iterator[tuple[FieldPath, str]]
SPEED: FieldPath = ("model", "speed")
CHUNKED, COMPILE, LIGER = ((*SPEED, name) for name in ("chunked_cross_entropy", "compile", "liger"))
HEAD = "lm_head"

DEEPCOMPILE = ("DeepCompile works on GPUs alone, and that of DeepSpeed 0.19.8 sums bf16 gradients in bf16 whatever "
               "communication_data_type says (compile/), so what is trained would change; that it fails under "
               "ZeRO-1 and ZeRO-3 is reported and open (DeepSpeed #7522, #7228, #7487). Use compile: torch, under ZeRO "
               "1 or 2")
ULYSSES = ("sequence parallelism is not built: each worker is a data-parallel rank with rows of its own, and with "
           "Ulysses several would share a row; chunked_cross_entropy and gradient_checkpointing make room for longer "
           "rows")
SCALED = {"final_logit_softcapping": None, "logits_scaling": 1, "logit_scale": 1}
"""Fields of models that compute with logits before the loss does, and the value with which nothing is done."""
CAPPED = {"gemma2"}
"""Families that cap logits unless told otherwise."""
NO_GPU = "Liger's kernels are Triton's, which compute on GPUs, and there is none here; remove it"
NO_LIGER = "Liger needs liger-kernel, which is not installed here; install launcher[liger], or remove it"
NO_TORCH = "needs torch 2.13, which has linear_cross_entropy by chunks, and here is torch {}; upgrade it, or remove it"
NO_COMPILER = ("torch.compile needs a C++ compiler and Python's headers, and {} is not here; install them (on Debian: "
               "apt-get install g++ python3-dev), or remove it")


def speed_problems(recipe: Recipe) -> Found:
    """Yield what a recipe alone tells."""
    speed, model = recipe.model.speed, recipe.model
    if speed.compile == "deepcompile":
        yield COMPILE, DEEPCOMPILE
    if speed.sequence_parallel > 1:
        yield (*SPEED, "sequence_parallel"), ULYSSES
    if speed.chunked_cross_entropy:
        yield from _chunked(model.init or {}, recipe.adapter)


def config_problems(model: ModelChoice, config: Mapping[str, Any]) -> Found:
    """Yield what a model's config.json tells, where it is here."""
    if model.speed.chunked_cross_entropy:
        yield from _chunked(config.get("text_config") or config, None)


def template_problems(model: ModelChoice, ds_template: Mapping[str, Any], path: FieldPath = COMPILE) -> Found:
    """Yield what cannot be with a DeepSpeed configuration, told at a field: of a stage's own, at the stage's."""
    zero = cast(dict[str, Any], ds_template.get("zero_optimization", {}))
    if model.speed.compile == "torch" and int(zero.get("stage", 0)) >= 3:
        yield path, ("under ZeRO-3 torch.compile gives about nothing, since hooks that gather weights break up each "
                     "layer (DeepSpeed's notes on DeepCompile); use deepspeed: zero2, or remove compile")


def _chunked(config: Mapping[str, Any], adapter: Adapter | None) -> Found:
    family = str(config.get("architecture") or config.get("model_type") or "")
    capped = {"final_logit_softcapping": 30.0} if family in CAPPED else {}
    for name, nothing in SCALED.items():
        value = {**capped, **config}.get(name, nothing)
        if value != nothing:
            yield CHUNKED, (f"the model's {name} ({value:g}) stands between its head and the loss, which chunks leave "
                            "out; remove it")
    if adapter is not None and adapter.targets != ALL_LINEAR and HEAD in adapter.targets:
        yield CHUNKED, on_head()


def has_chunks(version: str) -> bool:
    """Return whether a version of torch has the loss by chunks, for each token of its own."""
    numbers = [int(digits) for part in version.split(".")[:2] if (digits := part.partition("+")[0]).isdigit()]
    return numbers >= [2, 13]


def on_head() -> str:
    """Return why chunks do not go with an adapter on the head."""
    return "the loss by chunks knows the head's weights and no adapter beside them; remove one of the two"


def device_problem(model: ModelChoice, device: Literal["cpu", "cuda"]) -> tuple[FieldPath, str] | None:
    """Return what cannot be computed on a kind of device."""
    return (LIGER, NO_GPU) if model.speed.liger and device == "cpu" else None

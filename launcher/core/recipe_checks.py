"""What the fields of a recipe say about each other: names that must exist, numbers that must agree.

Decides on the recipe alone. What one field may say is its type in `core.recipe`; what follows from the size of the data
is `core.planning`; whether files exist is `storage.recipes`.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, cast

from launcher.core.adapter_checks import adapter_problems
from launcher.core.document import canonical
from launcher.core.errors import Problem
from launcher.core.gate_checks import gate_problems
from launcher.core.intervals import parse_steps
from launcher.core.mix_checks import mix_problems
from launcher.core.new_models import attentions, init_problems
from launcher.core.policy_checks import SHORTEST_ROW, policy_problems, recipe_policy_problems
from launcher.core.recipe import NAME_PATTERN, Recipe
from launcher.core.recipe_running import CheckpointPolicy
from launcher.core.recipe_sources import Source
from launcher.core.saving import policy_of
from launcher.core.scoring_checks import scoring_problems
from launcher.core.speed_checks import speed_problems
from launcher.core.suggestions import did_you_mean
from launcher.core.yaml_tree import FieldPath, dotted

Found = Iterator[tuple[FieldPath, str]]
Where = Callable[[FieldPath], str]

LOSSES = {
    "messages": ("assistant", "last_assistant", "all"), "prompt_completion": ("completion", "all"),
    "alpaca": ("completion", "all"), "text": ("all",),
}
SECRET_NAME = re.compile(r"api_?key|secret|password|passwd|access_?token|auth_?token|hf_token", re.IGNORECASE)
SECRET_VALUE = re.compile(r"(hf_|sk-|ghp_|AKIA)[A-Za-z0-9_-]{12,}")


def check(recipe: Recipe, where: Where) -> list[Problem]:
    """Return everything that cannot be; `where` tells the place of a path."""
    checks = (_sources, _stages, _batch, _model, adapter_problems, _intervals, scoring_problems, _cluster,
              recipe_policy_problems, speed_problems)
    return [Problem(where(path), dotted(path), message) for each in checks for path, message in each(recipe)]


def check_secrets(tree: Any, where: Where, path: FieldPath = ()) -> list[Problem]:
    """Return the fields that look like secrets: a recipe is stored with the run, and shown."""
    message = "looks like a secret, and a recipe is stored with its run; give it in the environment instead"
    if isinstance(tree, dict):
        found = [Problem(where((*path, name)), dotted((*path, name)), message)
                 for name in cast(dict[str, Any], tree) if path[:1] != ("sources",) and SECRET_NAME.search(name)]
        for name, value in cast(dict[str, Any], tree).items():
            found += check_secrets(value, where, (*path, name))
        return found
    if isinstance(tree, list):
        items = enumerate(cast(list[Any], tree))
        return [problem for i, value in items for problem in check_secrets(value, where, (*path, i))]
    if isinstance(tree, str) and SECRET_VALUE.fullmatch(tree):
        return [Problem(where(path), dotted(path), message)]
    return []


def _sources(recipe: Recipe) -> Found:
    if not recipe.sources:
        yield ("sources",), "names no source"
    mixed = {name for stage in recipe.stages for name in (*stage.mixed, *stage.replay.general)}
    seen: dict[str, str] = {}
    for name, source in recipe.sources.items():
        path = ("sources", name)
        if not re.fullmatch(NAME_PATTERN, name):
            yield path, "a source's name has letters, digits, dot, dash and underscore, at most 100"
        if name not in mixed:
            yield path, "no stage mixes this source; use it in a mix or remove it"
        if (same := canonical(source)) in seen:
            yield path, f"is the same as {seen[same]}; give that one a larger weight instead"
        seen[same] = name
        yield from _one_source(source, path)


def _one_source(source: Source, path: FieldPath) -> Found:
    if source.holdout.share >= 1:
        yield (*path, "holdout"), "keeps every document for evaluation, so none is left to train on"
    if source.format and source.loss and source.loss not in LOSSES[source.format]:
        yield (*path, "loss"), f"{source.format} has no {source.loss} tokens; use {' or '.join(LOSSES[source.format])}"
    if source.separator is not None and source.format not in (None, "prompt_completion"):
        yield (*path, "separator"), f"goes with format: prompt_completion, not {source.format}"
    if source.tokens == 0:
        yield (*path, "tokens"), "a source has at least 1 token"
    if source.documents == 0:
        yield (*path, "documents"), "a source has at least 1 document"
    if source.max_tokens == 0:
        yield (*path, "max_tokens"), "allows nothing of the source; raise it, or remove the source"


def _stages(recipe: Recipe) -> Found:
    if not recipe.stages:
        yield ("stages",), "has no stage"
    first_of: dict[str, int] = {}
    for number, stage in enumerate(recipe.stages):
        path = ("stages", number)
        if stage.name in first_of:
            yield (*path, "name"), f"stage {first_of[stage.name]} has the name {stage.name} already"
        first_of.setdefault(stage.name, number)
        if stage.learning_rate is None and recipe.learning_rate is None:
            yield path, "has no learning_rate, and the recipe gives no default"
        yield from mix_problems(recipe, stage, path)
        yield from gate_problems(recipe, stage, path)
        yield from policy_problems(recipe, stage, path)


def _batch(recipe: Recipe) -> Found:
    if recipe.sequence_length < SHORTEST_ROW:
        yield ("sequence_length",), f"{recipe.sequence_length} is too short; a row has at least {SHORTEST_ROW} tokens"
    elif recipe.batch.tokens is not None and recipe.batch.tokens < recipe.sequence_length:
        yield ("batch", "tokens"), f"{recipe.batch.tokens} is less than one row of {recipe.sequence_length} tokens"
    if recipe.micro_batch != "auto" and recipe.micro_batch < 1:
        yield ("micro_batch",), f"{recipe.micro_batch} is no number of rows; use 1 or more, or auto"


def _model(recipe: Recipe) -> Found:
    model = recipe.model
    for field, message in init_problems(model.init) if model.init is not None else ():
        yield ("model", "init", field), message
    if model.init is not None and model.attention not in attentions(model.init):
        yield ("model", "attention"), (f"{model.init['architecture']} caps its attention scores, which "
                                       f"{model.attention} does not; use {' or '.join(attentions(model.init))}")
    if model.attention == "flash_attention_2" and model.precision == "fp32":
        yield ("model", "attention"), "flash_attention_2 does not compute in fp32; use sdpa, or precision: bf16"
    if model.path is not None and model.tokenizer is not None and model.tokenizer.train is not None:
        yield ("model", "tokenizer", "train"), "the weights of model.path know another tokenizer; use its own"


def _steps(text: str, path: FieldPath) -> Found:
    try:
        parse_steps(text)
    except ValueError as error:
        yield path, str(error)


def _best(recipe: Recipe) -> Found:
    best = recipe.checkpoint.best
    if best is None:
        return
    held = [name for name, source in recipe.sources.items() if source.holdout.wanted]
    if best not in recipe.sources:
        yield ("checkpoint", "best"), f"{best!r} is no source; {did_you_mean(best, held)}"
    elif best not in held:
        yield ("checkpoint", "best"), f"{best} keeps no holdout to evaluate; give it one: holdout: 2%"


def _intervals(recipe: Recipe) -> Found:
    try:
        policy_of(CheckpointPolicy(every=recipe.checkpoint.every))
    except ValueError as error:
        yield ("checkpoint", "every"), str(error)
    if recipe.checkpoint.permanent is not None:
        yield from _steps(recipe.checkpoint.permanent, ("checkpoint", "permanent"))
    yield from _best(recipe)
    if recipe.evaluate.every is None:
        return
    yield from _steps(recipe.evaluate.every, ("evaluate", "every"))
    if not any(source.holdout.wanted for source in recipe.sources.values()):
        yield ("evaluate", "every"), "no source keeps a holdout to evaluate; give one: holdout: 2%"


def _cluster(recipe: Recipe) -> Found:
    wish = recipe.cluster
    if wish.min_nodes is not None and wish.min_nodes > (wish.nodes or 1):
        yield ("cluster", "min_nodes"), f"{wish.min_nodes} is more than nodes, which is {wish.nodes or 1}"
    if wish.workers is not None and wish.gpus_per_node is not None:
        slots = (wish.nodes or 1) * wish.gpus_per_node
        if wish.workers != slots:
            yield ("cluster", "workers"), (f"{wish.workers} is not nodes x gpus_per_node, which is {slots}; "
                                           "leave one of them out")

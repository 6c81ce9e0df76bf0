"""`launcher plan`: what a recipe comes to, before anything is allocated.

Prints only. The plan is `core.planning`, what it comes to `core.forecast`; data that was prepared is looked up, and
without any the plan is estimated from the sizes in the recipe.
"""

import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from launcher.cli.gate_lines import gate_lines
from launcher.cli.plan_memory import fit_of, memory_lines
from launcher.cli.plan_speed import speed_lines
from launcher.cli.plan_table import labelled, mix_lines, plan_table, row_lines, segment_lines, short
from launcher.cli.plan_time import Asked, outlook_of, time_lines
from launcher.cli.tracking import missing
from launcher.core.architectures import ModelFacts, facts_of_config
from launcher.core.attempt import AttemptPlan
from launcher.core.attempt_planning import choose_micro_batch, plan_attempt
from launcher.core.cluster_spec import parse_cluster
from launcher.core.errors import LauncherError, Problem, Unplannable
from launcher.core.forecast import Forecast, Waste, forecast, waste
from launcher.core.memory_fit import Fit
from launcher.core.outlook import Outlook
from launcher.core.planning import plan
from launcher.core.recipe import Recipe
from launcher.core.recipe_running import ClusterWish
from launcher.core.run_plan import RunPlan
from launcher.core.scoring import evaluation_forecast, evaluation_line, scoring_of
from launcher.core.source_index import Prepared
from launcher.core.stage_rules import rules_of
from launcher.storage.model_facts import facts_at
from launcher.storage.recipes import LoadedRecipe, load_recipe

ANY = "that is what the recipe wants; --set cluster={} plans for all that --cluster names"
SHAPELESS = "not known: neither a config.json here nor launcher's table tells the model's shape"


def show_plan(recipe: str, overrides: Sequence[str], asked: Asked, as_json: bool) -> None:
    """Print the plan of a recipe, as a table or as JSON."""
    loaded = load_recipe(recipe, overrides)
    made = plan_of(loaded, prepared_before(loaded, asked.cache))
    facts = facts_of(made)
    attempt = _attempt(made, loaded.recipe, asked.cluster, asked.workers)
    lost = waste(made, attempt.data_parallel, attempt.micro_batch) if attempt else _waste(made, loaded.recipe,
                                                                                          asked.workers)
    takes = outlook_of(made, loaded.recipe, facts, asked, attempt) if facts else SHAPELESS
    found = fit_of(made, loaded.recipe, facts, attempt, asked.workers)
    if as_json:
        print(json.dumps(_as_json(made, forecast(made), facts, lost, found, takes, loaded.recipe), indent=1))
    else:
        console = _console()
        _print(made, forecast(made), facts, lost, found, loaded.recipe, console)
        for line in time_lines(takes, loaded.recipe):
            console.print(line)
        for line in gate_lines(loaded.recipe):
            console.print(line, soft_wrap=True)
        if made.grade == "estimated":
            console.print(f"exact    launcher prepare {recipe}")
        console.print(f"next     launcher run {recipe}")
        if lacking := missing(loaded.recipe, loaded.where):
            print(f"note     {lacking}")


def print_plan(made: RunPlan, recipe: Recipe, workers: int | None) -> None:
    """Print what a plan comes to, for a job elsewhere: in time where the recipe says how many GPUs it has."""
    facts, console = facts_of(made), _console()
    _print(made, forecast(made), facts, _waste(made, recipe, workers), fit_of(made, recipe, facts, None, workers),
           recipe, console)
    if facts and recipe.cluster.gpus_per_node:
        for line in time_lines(outlook_of(made, recipe, facts, Asked(), None), recipe):
            console.print(line)


def plan_of(loaded: LoadedRecipe, prepared: Prepared | None) -> RunPlan:
    """Return the plan of a recipe, estimated where its data is not prepared. Raises Unplannable."""
    recipe = loaded.guess_sizes() if prepared is None else loaded.recipe
    made = plan(recipe, prepared, loaded.ds_template, where=loaded.where, known=loaded.known)
    # Refuses repeats that cannot be.
    rules_of(recipe, prepared, loaded.ds_template, where=loaded.where, known=loaded.known)
    return made


def headline(made: RunPlan) -> str:
    """Return a plan in one line."""
    return (f"{made.name}  {made.grade} plan: {made.steps:,} steps, {made.rows:,} rows, "
            f"{short(forecast(made).tokens)} tokens")


def prepared_before(loaded: LoadedRecipe, cache: str | None) -> Prepared | None:
    """Return what was prepared, or None where sizes in the recipe must do."""
    unsized = {f"sources.{name}.path" for name, source in loaded.recipe.sources.items() if source.tokens is None}
    if any(problem.path in unsized for problem in loaded.missing):
        loaded.require_data()
    if loaded.missing:
        return None
    from launcher.data.cache import cache_there
    from launcher.data.prepare import look_up, still_there

    if (store := cache_there(cache)) is None:
        return None
    if loaded.prepared is not None and still_there(loaded.prepared, store):
        return loaded.prepared
    try:
        return look_up(loaded.recipe, store)
    except LauncherError as error:
        sys.stderr.write(f"launcher: estimated, because {error}\n")
        return None


def _attempt(made: RunPlan, recipe: Recipe, cluster: str | None, workers: int | None) -> AttemptPlan | None:
    if cluster is None:
        return None
    wish = recipe.cluster if workers is None else recipe.cluster.model_copy(update={"workers": workers})
    named = parse_cluster(cluster)
    # Of more nodes a run takes as many as its recipe wants.
    used = named.model_copy(update={"nodes": named.nodes[: wish.nodes]})
    try:
        return plan_attempt(made, wish, used, attempt=1, micro_batch=recipe.micro_batch, device="cuda", resume=None)
    except Unplannable as error:
        raise Unplannable([*error.problems, Problem("", "cluster", ANY)]) from None


def _waste(made: RunPlan, recipe: Recipe, workers: int | None) -> Waste | None:
    """Return the waste on the workers asked for, if the recipe or the command says how many."""
    wish: ClusterWish = recipe.cluster
    wanted = workers or wish.workers or (wish.gpus_per_node or 0) * (wish.nodes or 1)
    if not wanted:
        return None
    return waste(made, wanted, choose_micro_batch(made.rows_per_step, recipe.micro_batch, wanted))


def facts_of(made: RunPlan) -> ModelFacts | None:
    """Return the shape of a plan's model; None if nothing tells it."""
    model = made.model
    if model.init is not None:
        train = model.tokenizer.train if model.tokenizer else None
        trained = made.tokenizer.vocab_size if made.tokenizer else train.vocab_size if train else None
        return facts_of_config(model.init, trained)
    return facts_at(model.path or "")


def _as_json(made: RunPlan, comes_to: Forecast, facts: ModelFacts | None, lost: Waste | None,
             found: Fit | None, takes: Outlook | str, recipe: Recipe) -> dict[str, Any]:
    return {
        **made.model_dump(mode="json"), "chain": made.chain(), "forecast": comes_to.model_dump(mode="json"),
        "parameters": facts.parameters if facts else None, "cluster": lost.model_dump(mode="json") if lost else None,
        "evaluation": evaluation_forecast(made, scoring_of(recipe)).model_dump(mode="json"),
        "memory": found.model_dump(mode="json") if found else None,
        "outlook": takes.model_dump(mode="json") if isinstance(takes, Outlook) else None,
    }


def _console() -> Console:
    # Without a terminal rich would guess 80 columns and cut names; a pipe has no width.
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def _print(made: RunPlan, comes_to: Forecast, facts: ModelFacts | None, lost: Waste | None, found: Fit | None,
           recipe: Recipe, console: Console) -> None:
    console.print(headline(made).replace(made.name, f"[bold]{made.name}[/bold]", 1))
    console.print(_model_lines(made, facts))
    for line in speed_lines(made):
        console.print(line)
    console.print(f"batch    {made.rows_per_step} rows of {made.sequence_length} tokens, "
                  f"{short(made.rows_per_step * made.sequence_length)} tokens a step at most")
    if lost:
        console.print(_cluster_line(lost))
    for line in memory_lines(found, made, facts):
        console.print(line)
    console.print(plan_table(comes_to))
    for line in (*mix_lines(comes_to), *segment_lines(made), *row_lines(made)):
        console.print(line)
    if measured := evaluation_line(evaluation_forecast(made, scoring_of(recipe))):
        console.print(labelled("measure", measured))
    if made.grade == "estimated":
        console.print("Sizes are the recipe's, or guessed from files it gives no `tokens` for.")


def _model_lines(made: RunPlan, facts: ModelFacts | None) -> str:
    name = made.model.path or f"a new {(made.model.init or {})['architecture']}"
    line = f"model    {name}, {made.model.precision}" + (f", {short(facts.parameters)} parameters" if facts else "")
    if made.adapter is None:
        return line
    count = facts.adapter_parameters(made.adapter) if facts else None
    return f"{line}\nadapter  {made.adapter.title}" + (f", {short(count)} parameters are trained" if count else "")


def _cluster_line(lost: Waste) -> str:
    line = f"cluster  {lost.world_size} worker{'s' * (lost.world_size > 1)}, micro-batches of {lost.micro_batch}"
    if not lost.idle:
        return f"{line}, all of them full"
    return f"{line}; {lost.idle:.0%} of their time is idle, with batch.rows {lost.nearest_batch} none"

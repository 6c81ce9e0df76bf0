"""What a recipe may say that this version checks and records, but does not act on: told, never silently ignored."""

from launcher.core.recipe import Recipe

SECTIONS = {
    "slurm": "run it inside an allocation",
    "tracking": "the journal has everything",
}
CLUSTER = {"min_nodes": "a run does not shrink", "spares": "a run keeps no spare nodes"}


def not_yet(recipe: Recipe) -> list[str]:
    """Return one sentence for each thing the recipe says that this version does not act on."""
    # Not by what was written: a recipe that was stored and read again says everything.
    said = [(name, SECTIONS[name]) for name in SECTIONS if getattr(recipe, name) is not None]
    said += [(f"cluster.{name}", CLUSTER[name]) for name in CLUSTER if getattr(recipe.cluster, name)]
    return [f"{name} is not acted on yet: {consequence}" for name, consequence in said]

"""What a recipe may say that this version checks and records, but does not act on: told, never silently ignored."""

from launcher.core.recipe import Recipe

SECTIONS = {
    "checkpoint": "nothing is saved before the end",
    "slurm": "run it inside an allocation",
    "tracking": "the journal has everything",
}
CLUSTER = {"min_nodes": "a run does not shrink", "spares": "a run keeps no spare nodes"}


def not_yet(recipe: Recipe) -> list[str]:
    """Return one sentence for each thing the recipe says that this version does not act on."""
    said = [(name, SECTIONS[name]) for name in SECTIONS if name in recipe.model_fields_set]
    said += [(f"cluster.{name}", CLUSTER[name]) for name in CLUSTER if name in recipe.cluster.model_fields_set]
    return [f"{name} is not acted on yet: {consequence}" for name, consequence in said]

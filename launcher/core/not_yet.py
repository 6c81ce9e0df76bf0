"""What a recipe may say that this version checks and records, but does not act on: told, never silently ignored."""

from launcher.core.recipe import Recipe

SECTIONS = {
    "tracking": "the journal has everything",
}


def not_yet(recipe: Recipe) -> list[str]:
    """Return one sentence for each thing the recipe says that this version does not act on."""
    # Not by what was written: a recipe that was stored and read again says everything.
    return [f"{name} is not acted on yet: {consequence}" for name, consequence in SECTIONS.items()
            if getattr(recipe, name) is not None]

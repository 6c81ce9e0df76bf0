"""What is not acted on is said."""

from launcher.core.not_yet import not_yet
from launcher.core.recipe import Recipe
from launcher.storage.recipes import load_recipe


def said(*arguments: object) -> list[str]:
    return not_yet(load_recipe(*arguments).recipe)


def test_a_recipe_that_asks_for_more_is_told() -> None:
    assert [line.partition(" ")[0] for line in said("quickstart", ["tracking.wandb.project=long"])] == ["tracking"]


def test_a_recipe_that_asks_for_nothing_more_is_not() -> None:
    assert said("quickstart") == []


def test_a_recipe_that_was_stored_and_read_again_asks_for_no_more() -> None:
    assert not_yet(Recipe.from_json(load_recipe("quickstart").recipe.to_json())) == []

"""What is not acted on is said."""

from launcher.core.not_yet import not_yet
from launcher.storage.recipes import load_recipe


def test_a_recipe_that_asks_for_more_is_told() -> None:
    said = not_yet(load_recipe("cardiology").recipe)
    assert any(line.startswith("checkpoint is not acted on") for line in said)


def test_a_recipe_that_asks_for_nothing_more_is_not() -> None:
    assert not_yet(load_recipe("quickstart").recipe) == []

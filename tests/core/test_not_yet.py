"""What is not acted on is said."""

import pytest

from launcher.core.not_yet import not_here, not_yet
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


@pytest.mark.parametrize(("in_store", "on_cluster", "more", "why"), [
    (False, True, [], "no object storage"), (True, False, [], "one machine"),
    (True, True, ["cluster.nodes=1"], "one machine"), (True, True, [], None),
])
def test_copies_that_nobody_could_keep_are_told(in_store: bool, on_cluster: bool, more: list[str],
                                                why: str | None) -> None:
    recipe = load_recipe("quickstart", ["cluster={nodes: 2}", "checkpoint.peer_copies=true", *more]).recipe
    told = not_here(recipe, in_store=in_store, on_cluster=on_cluster)
    assert [why in line for line in told] == [True] if why else told == []


def test_who_asks_for_no_copies_is_told_nothing_of_them() -> None:
    assert not_here(load_recipe("quickstart").recipe, in_store=False, on_cluster=False) == []

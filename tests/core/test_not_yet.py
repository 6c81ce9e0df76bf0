"""What is not acted on is said."""

from launcher.core.not_yet import not_yet
from launcher.storage.recipes import load_recipe


def said(*arguments: object) -> list[str]:
    loaded = load_recipe(*arguments)
    return not_yet(loaded.recipe, loaded.ds_template)


def test_a_recipe_that_asks_for_more_is_told() -> None:
    assert [line.partition(" ")[0] for line in said("quickstart", ["slurm.partition=long"])] == ["slurm"]
    assert "nothing is saved" in said("quickstart", ["deepspeed=zero2"])[0]


def test_a_recipe_that_asks_for_nothing_more_is_not() -> None:
    assert said("quickstart") == []

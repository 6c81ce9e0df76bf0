"""What is told to people who type sbatch's own options."""

import pytest
from typer.testing import CliRunner

from launcher.cli.main import app
from launcher.cli.sbatch_names import EXAMPLES, FIELDS, OTHERS, meant
from launcher.core.recipe import Recipe
from launcher.core.recipe_running import ClusterWish, SlurmOptions


@pytest.mark.parametrize("command", ["submit", "resume"])
@pytest.mark.parametrize("typed,words", [("--time=2h", "--set slurm.time=2h"), ("-p", "slurm.partition=VALUE"),
                                         ("--gpus-per-node=8", "cluster.gpus_per_node=8"), ("-N", "Type --nodes")])
def test_an_option_of_sbatch_is_told_as_the_field_that_it_is_here(command, typed, words):
    done = CliRunner().invoke(app, [command, "x", "--on", "slurm", typed, "2"], env={"COLUMNS": "200"})
    assert done.exit_code == 2 and words in done.output + done.stderr and "Possible options" not in done.stderr


def test_another_wrong_option_keeps_its_own_suggestion():
    done = CliRunner().invoke(app, ["submit", "x", "--on", "slurm", "--sit", "2"], env={"COLUMNS": "200"})
    assert done.exit_code == 2 and "--site" in done.stderr and meant("--sit") == ""


def test_each_field_is_one_of_a_recipe():
    known = {f"slurm.{name}" for name in SlurmOptions.model_fields} | {f"cluster.{name}" for name in
                                                                       ClusterWish.model_fields}
    assert {"slurm", "cluster"} <= set(Recipe.model_fields) and set(EXAMPLES) <= set(FIELDS.values())
    assert all(field in known or field.startswith("slurm.extra.") for field in FIELDS.values()) and OTHERS

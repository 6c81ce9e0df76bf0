"""Options that a run gives its job, and the links of a chain."""

import pytest

from launcher.core.recipe_running import ClusterWish
from launcher.platforms.slurm_chain import link, own_options
from launcher.platforms.slurm_told import Told

HALF_A_DAY = 12 * 3600.0


def test_the_warning_comes_as_early_as_measured_saves_ask_for_and_never_takes_most_of_the_time():
    measured = Told(save_s=300.0, step_s=20.5)
    assert own_options(measured, ClusterWish(), 1, HALF_A_DAY)["signal"] == "B:USR1@656"
    assert own_options(measured, ClusterWish(), 1, 600.0)["signal"] == "B:USR1@180"
    assert "signal" not in own_options(Told(step_s=20.0), ClusterWish(), 1, HALF_A_DAY), "the script's own holds"
    assert own_options(Told(), ClusterWish(), 1, 180.0)["signal"] == "B:USR1@54", "it would take all of three minutes"


@pytest.mark.parametrize("wish,nodes,kept", [
    (ClusterWish(), 4, False), (ClusterWish(nodes=4), 4, False), (ClusterWish(nodes=4, min_nodes=2), 4, True),
    (ClusterWish(nodes=4, spares=1), 5, True), (ClusterWish(min_nodes=1), 1, False)])
def test_slurm_leaves_a_job_its_other_nodes_only_where_the_run_can_go_on_with_fewer(wish, nodes, kept):
    assert own_options(Told(), wish, nodes, None) == ({"no_kill": True} if kept else {})


def test_a_link_is_the_same_command_behind_the_job_before_it():
    first = ["sbatch", "--parsable", "--dependency=afterok:3", "train.sbatch", "x.yaml"]
    assert link(first, 77) == ["sbatch", "--dependency=afterany:77", "--parsable", "train.sbatch", "x.yaml"]

"""The sbatch command, the batch script, and the command that it becomes inside the job."""

import shutil
import subprocess
from pathlib import Path

import pytest

from launcher.core.recipe_running import ClusterWish, SlurmOptions
from launcher.platforms.sbatch import job_number, nodes_of, sbatch_command, time_limit
from launcher.platforms.slurm_command import asked, run_command
from launcher.platforms.slurm_ray import Report, folder
from launcher.platforms.slurm_steps import bring_up_problems, clearing_command, controller_command, nodes_command
from launcher.storage.shipped import shipped

SCRIPT = shipped("slurm", "train.sbatch") or Path()


def test_flags_are_the_recipes_and_what_it_does_not_say_stays_the_scripts():
    slurm = SlurmOptions.model_validate({"partition": "long", "time": "90min", "extra": {
        "mail_type": "END", "exclusive": True, "requeue": False, "signal": "B:USR1@600"}})
    command = sbatch_command("train.sbatch", "cardiology", "/runs/c/slurm-%j.out", slurm, 4, 8, ["x.yaml"])
    assert command == ["sbatch", "--parsable", "--export=ALL", "--job-name=cardiology", "--output=/runs/c/slurm-%j.out",
                       "--nodes=4", "--gpus-per-node=8", "--partition=long", "--time=01:30:00", "--mail-type=END",
                       "--exclusive", "--signal=B:USR1@600", "train.sbatch", "x.yaml"]


@pytest.mark.parametrize("seconds,shown", [(30, "00:01:00"), (3600, "01:00:00"), (3601, "01:01:00"),
                                           (12 * 3600, "12:00:00"), (100 * 3600, "100:00:00")])
def test_a_time_limit_is_never_less_than_was_said(seconds, shown):
    assert time_limit(seconds) == shown


def test_nodes_are_those_asked_for_else_the_recipes_with_its_spares():
    assert nodes_of(ClusterWish(nodes=4, spares=1), None) == 5
    assert nodes_of(ClusterWish(nodes=4, spares=1), 2) == 2
    assert nodes_of(ClusterWish(), None) == 1


@pytest.mark.parametrize("printed", ["123\n", "123;cluster\n", "sbatch: a site's words\n123\n"])
def test_the_jobs_number_is_found(printed):
    assert job_number(printed) == 123


def test_the_batch_script_is_short_fixed_and_clean():
    text = SCRIPT.read_text()
    assert len(text.splitlines()) < 25 and "{" not in text.replace("${LAUNCHER_PYTHON:-python}", "")
    assert "#SBATCH --requeue" in text and "#SBATCH --signal=B:USR1@" in text
    checks = [["bash", "-n"], *([["shellcheck"]] if shutil.which("shellcheck") else [])]
    for check in checks:
        done = subprocess.run([*check, str(SCRIPT)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def words(nodes, *arguments):
    return run_command(asked(["quickstart", *arguments]), "10.0.0.1:20000", nodes)


def test_the_controller_gets_the_persons_options_and_the_jobs_cluster():
    command = words(3, "--set", "seed=7", "--run-dir", "r", "--cache", "/c")
    assert command[3:] == ["run", "quickstart", "--run-dir", "r", "--address", "10.0.0.1:20000", "--cache", "/c",
                           "--set", "seed=7", "--set", "cluster.nodes=3"]
    assert words(1)[4:7] == ["quickstart", "--run-dir", "runs/quickstart"]


def test_a_number_of_workers_stands_for_the_recipes_cluster_and_is_spread_over_the_job():
    assert words(2, "--workers", "4")[-1] == "cluster={workers: 4, nodes: 2}"


def test_nodes_that_the_recipe_names_stay_its_own():
    assert not any(word.startswith("cluster") and word != "cluster.nodes=4" for word in words(5, "--set",
                                                                                             "cluster.nodes=4"))


def test_what_is_no_option_is_refused_before_anything_begins(capsys):
    with pytest.raises(SystemExit) as refused:
        asked(["quickstart", "--worker", "4"])
    assert refused.value.code == 2 and "--worker" in capsys.readouterr().err


def test_steps_share_the_job_and_none_is_ended_because_a_task_has_ended():
    for command in (nodes_command(2), controller_command("node1", ["true"])):
        assert {"--overlap", "--kill-on-bad-exit=0", "--wait=0", "--no-kill", "--export=ALL"} <= set(command)
    assert {"--nodes=2", "--ntasks=2"} <= set(nodes_command(2))
    assert "--nodelist=node1" in controller_command("node1", ["true"])


def test_what_tasks_ended_by_force_have_left_is_removed_of_this_job_alone_and_from_the_nodes_that_are_left():
    command = clearing_command(12, ["node1", "node3"])
    assert {"--nodes=2", "--ntasks=2", "--nodelist=node1,node3"} <= set(command)
    assert command[-1] == "rm -rf /tmp/lr12-[0-9]*" and str(folder(12, 3)).startswith("/tmp/lr12-")


def test_a_bring_up_waits_for_all_nodes_and_names_those_that_are_missing():
    names, first = ["node1", "node2"], Report(node=0, name="node1")
    assert not bring_up_problems(names, [first], ended=None, late=False)
    assert "node2: they did not answer in time" in bring_up_problems(names, [first], ended=None, late=True)
    assert "srun ended with 1" in bring_up_problems(names, [first], ended=1, late=False)
    broken = Report(node=1, name="node2", problem="no port is free")
    assert "node2: no port is free" in bring_up_problems(names, [first, broken], ended=None, late=False)

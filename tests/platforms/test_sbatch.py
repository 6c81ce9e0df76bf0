"""The sbatch command, the batch script, and the command that it becomes inside the job."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from launcher.core.errors import UserError
from launcher.core.recipe_running import ClusterWish, SlurmOptions
from launcher.platforms.sbatch import JobFlags, job_number, nodes_of, sbatch_command, time_limit
from launcher.platforms.slurm_client import Unsure, fields
from launcher.platforms.slurm_command import asked, recipe_of, run_command
from launcher.platforms.slurm_container import Container
from launcher.platforms.slurm_ray import Report, folder
from launcher.platforms.slurm_steps import (
    bring_up_problems,
    clearing_command,
    controller_command,
    nodes_command,
    start_controller,
)
from launcher.storage.shipped import shipped

SCRIPT = shipped("slurm", "train.sbatch") or Path()


def test_flags_are_the_recipes_and_what_it_does_not_say_stays_the_scripts():
    slurm = SlurmOptions.model_validate({"partition": "long", "time": "90min", "extra": {
        "mail_type": "END", "exclusive": True, "requeue": False, "signal": "B:USR1@600"}})
    job = JobFlags("cardiology", "/runs/c/slurm-%j.out", "/runs/c", nodes=4, gpus_per_node=8)
    assert sbatch_command("train.sbatch", job, slurm, ["x.yaml"]) == [
        "sbatch", "--parsable", "--export=ALL", "--job-name=cardiology", "--output=/runs/c/slurm-%j.out",
        "--chdir=/runs/c", "--nodes=4", "--gpus-per-node=8", "--partition=long", "--time=01:30:00", "--exclusive",
        "--mail-type=END", "--signal=B:USR1@600", "--no-requeue", "train.sbatch", "x.yaml"]


def test_what_clusters_ask_for_has_fields_and_nodes_that_failed_join_those_the_person_leaves_out():
    slurm = SlurmOptions.model_validate({
        "account": "a", "qos": "high", "constraint": "h100", "reservation": "r", "time": "12h", "time_min": "90min",
        "exclusive": True, "cpus_per_task": 8, "exclude": "node[7-8]"})
    job = JobFlags("c", "/c.out", "/c", nodes=1, gpus_per_node=None, exclude=("node3",), tasks=3)
    command = sbatch_command("train.sbatch", job, slurm, [])
    assert {"--account=a", "--qos=high", "--constraint=h100", "--reservation=r", "--time=12:00:00",
            "--time-min=01:30:00", "--exclusive", "--cpus-per-task=8", "--exclude=node[7-8],node3",
            "--array=0-2"} <= set(command)
    all_nodes = slurm.model_copy(update={"extra": {"exclude": False}})
    assert not any(word.startswith("--exclude=") for word in sbatch_command("train.sbatch", job, all_nodes, []))


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
    assert len(text.splitlines()) < 35 and not any(word in text for word in ("for ", "while ", "grep", "{{"))
    assert "#SBATCH --requeue" in text and "#SBATCH --signal=B:USR1@" in text
    checks = [["bash", "-n"], *([["shellcheck"]] if shutil.which("shellcheck") else [])]
    for check in checks:
        done = subprocess.run([*check, str(SCRIPT)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def scripted(tmp_path, site, **environment):
    """Run the batch script here, by a Python that only tells what it was given."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$PYTHONPATH|$TOLD|$*"\n')
    python.chmod(0o755)
    return scripted_by(tmp_path, site, **environment)


def scripted_by(tmp_path, site, **environment):
    """Run the batch script here, by a Python that is said."""
    (tmp_path / "here.env").write_text(site)
    environment = {"PATH": os.environ["PATH"], "LAUNCHER_PYTHON": "python"} | environment
    return subprocess.run(["bash", str(SCRIPT), "x.yaml", "--set", "seed=7 8"], cwd=tmp_path, capture_output=True,
                          text=True, env=environment, check=False)


def test_the_script_takes_modules_and_python_from_a_site_and_puts_submitted_code_first(tmp_path):
    site = f"LAUNCHER_PYTHON={tmp_path}/python\nLAUNCHER_MODULES='cuda/1 gcc/2'\n"
    module = {"BASH_FUNC_module%%": '() { [ "$1" = load ] && export TOLD="$2 $3"; }'}
    done = scripted(tmp_path, site, LAUNCHER_SITE="here.env", LAUNCHER_CODE="/code", PYTHONPATH="/mine", **module)
    assert done.stdout == "/code:/mine|cuda/1 gcc/2|-m launcher.platforms.slurm_job x.yaml --set seed=7 8\n"
    by_hand = scripted(tmp_path, "", LAUNCHER_PYTHON=str(tmp_path / "python"))
    assert by_hand.stdout == "||-m launcher.platforms.slurm_job x.yaml --set seed=7 8\n"


def test_a_job_without_its_site_or_modules_ends_with_a_sentence(tmp_path):
    for site, named, words_ in (("", "gone.env", "LAUNCHER_SITE=gone.env cannot be read"),
                                ("LAUNCHER_MODULES=cuda", "here.env", "launcher: module load failed")):
        done = scripted(tmp_path, site, LAUNCHER_SITE=named)
        assert done.returncode == 2 and words_ in done.stderr and not done.stdout


def test_a_job_by_hand_without_launchers_environment_says_what_to_do(tmp_path):
    (tmp_path / "python").write_text("#!/bin/sh\necho \"No module named 'launcher'\" >&2\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    for python in ("python", "gone"):
        done = scripted_by(tmp_path, "", LAUNCHER_PYTHON=str(tmp_path / python))
        assert done.returncode == 2 and not done.stdout and done.stderr.count("\n") == 1
        assert f"{python} has no launcher on this node; activate its environment before sbatch, or " in done.stderr


def test_a_warning_that_comes_before_anybody_hears_it_does_not_end_the_job(tmp_path):
    (tmp_path / "python").write_text('#!/bin/sh\nkill -USR1 $$\necho goes on\n')
    (tmp_path / "python").chmod(0o755)
    site = "kill -USR1 $$\n"  # While the script itself is still at work.
    done = scripted_by(tmp_path, site, LAUNCHER_SITE="here.env", LAUNCHER_PYTHON=str(tmp_path / "python"))
    assert (done.returncode, done.stdout) == (0, "goes on\n")


def words(nodes, *arguments):
    return run_command(asked(["quickstart", *arguments]), "10.0.0.1:20000", nodes, "/opt/python")


def test_the_controller_gets_the_persons_options_and_the_jobs_cluster():
    command = words(3, "--set", "seed=7", "--run-dir", "r", "--cache", "/c")
    assert command[:3] == ["/opt/python", "-m", "launcher.cli.main"]
    assert command[3:] == ["run", "quickstart", "--run-dir", "r", "--address", "10.0.0.1:20000", "--cache", "/c",
                           "--set", "seed=7", "--set", "cluster.nodes=3"]
    assert words(1)[4:7] == ["quickstart", "--run-dir", "runs/quickstart"]


def test_a_number_of_workers_stands_for_the_recipes_cluster_and_is_spread_over_the_job():
    assert words(2, "--workers", "4")[-1] == "cluster={workers: 4, nodes: 2}"


def test_nodes_that_the_recipe_names_stay_its_own():
    assert not any(word.startswith("cluster") and word != "cluster.nodes=4" for word in words(5, "--set",
                                                                                             "cluster.nodes=4"))


def test_who_asks_for_fewer_nodes_than_the_recipe_says_gets_them_and_spares_stay_spare():
    assert words(2, "--set", "cluster={nodes: 4, min_nodes: 3}")[-3:] == ["cluster.nodes=2", "--set",
                                                                          "cluster.min_nodes=2"]
    assert words(3, "--set", "cluster={nodes: 4, min_nodes: 3}")[-1] == "cluster={nodes: 4, min_nodes: 3}"
    assert words(3, "--set", "cluster={spares: 1}")[-1] == "cluster.nodes=2"


@pytest.mark.parametrize("option", ["export", "output", "array", "test_only"])
def test_options_that_submit_says_itself_are_refused_in_a_recipe(option):
    with pytest.raises(ValueError, match="launcher submit says that itself"):
        SlurmOptions.model_validate({"extra": {option: "ALL,WANDB_API_KEY=planted"}})


@pytest.mark.parametrize("printed", ["", "welcome to the cluster\nSubmitted batch job\n"])
def test_an_answer_without_a_number_is_told_and_may_have_been_a_submission(printed):
    with pytest.raises(Unsure, match="no job's number"):
        job_number(printed)


def test_what_slurm_says_of_a_job_counts_and_not_what_its_script_is_given():
    shown = "JobId=7 JobState=RUNNING Command=/s/train.sbatch x.yaml --set JobState=WRONG"
    assert fields(shown)["JobState"] == "RUNNING"


def test_each_task_of_an_array_has_its_recipe_and_several_recipes_are_for_an_array_alone():
    assert asked(["quickstart", "cardiology"], task=1).recipe == "cardiology"
    assert recipe_of(["a"], None) == recipe_of(["a"], 5) == "a"
    for task in (None, 2):
        with pytest.raises(UserError, match="sbatch --array=0-1"):
            recipe_of(["a", "b"], task)


def test_what_is_no_option_is_refused_before_anything_begins(capsys):
    with pytest.raises(SystemExit) as refused:
        asked(["quickstart", "--worker", "4"])
    assert refused.value.code == 2 and "--worker" in capsys.readouterr().err


def test_steps_share_the_job_and_none_is_ended_because_a_task_has_ended():
    here = Container()
    for command in (nodes_command(2, here), controller_command("node1", ["true"], here)):
        assert {"--overlap", "--kill-on-bad-exit=0", "--wait=0", "--no-kill", "--export=ALL"} <= set(command)
    assert {"--nodes=2", "--ntasks=2"} <= set(nodes_command(2, here))
    assert "--nodelist=node1" in controller_command("node1", ["true"], here)


def test_the_controllers_step_does_not_ask_one_node_for_the_gpus_of_all():
    job = {"PATH": os.environ["PATH"], "SLURM_GPUS": "16"}
    assert start_controller(["sh", "-c", "exit ${SLURM_GPUS:-0}"], job).wait() == 0


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

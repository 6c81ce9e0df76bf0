"""A command inside a job of Ray: which cluster it joins, where its run lies, whether that is the one that was meant."""

import json
import time
from pathlib import Path

import pytest

from launcher.cli.in_ray_job import joined_address, nodes_may_come, outside_package, require_data, require_meant
from launcher.cli.run import RunOptions, run
from launcher.cli.starting import run_dir_of
from launcher.core.errors import PlatformError, RecipeInvalid, UserError
from launcher.orchestration.ray_address import parse_address
from launcher.platforms.slurm_environment import NODES_MAY_COME
from launcher.storage.jobs import JobRecord, reserve
from launcher.storage.recipes import load_recipe
from launcher.storage.run_dir import RunDir
from tests.cli.a_submission import write_recipe


def job(run_dir: str = "", working_dir: str = "gcs://_ray_pkg_1.zip", **more: str) -> dict[str, str]:
    """Return what Ray's supervisor sets."""
    metadata = {"job_submission_id": "chat.a001", "job_name": "chat.a001", **({"run_dir": run_dir} if run_dir else {})}
    configuration = {"runtime_env": {"working_dir": working_dir} if working_dir else {}, "metadata": metadata}
    return {"RAY_ADDRESS": "10.0.0.1:6379", "RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps(configuration), **more}


@pytest.mark.parametrize("said", [None, "auto"])
def test_a_run_joins_the_cluster_of_its_job_and_says_so_in_one_line(said):
    told: list[str] = []
    environment = job(RAY_JOB_STOP_WAIT_TIME_S="60")
    assert joined_address(said, told.append, environment) == "10.0.0.1:6379"
    assert told == ["this is job chat.a001 of Ray: the run joins its cluster at 10.0.0.1:6379"]


@pytest.mark.parametrize(("attempt", "environment", "waits"), [
    (1, {}, False), (2, {}, True), (1, job(), True), (1, {NODES_MAY_COME: "1"}, True)])
def test_missing_nodes_are_waited_for_where_they_were_there_or_may_not_have_come_yet(attempt, environment, waits):
    assert nodes_may_come(attempt, environment) is waits


def test_where_stopping_the_job_gives_no_time_to_save_it_is_told():
    told: list[str] = []
    joined_address(None, told.append, job())
    assert "gives this job 3 s" in told[1] and "RAY_JOB_STOP_WAIT_TIME_S" in told[1]


def test_an_address_that_was_said_stands():
    assert joined_address("10.9.9.9:1", lambda _: None, job()) == "10.9.9.9:1"


@pytest.mark.parametrize("environment", [{}, {"RAY_ADDRESS": "10.0.0.1:6379"},
                                         {**job(), "RAY_ADDRESS": "http://head:8265"}, {**job(), "RAY_ADDRESS": ""},
                                         {**job(), "RAY_JOB_CONFIG_JSON_ENV_VAR": "{"},
                                         {**job(), "RAY_JOB_CONFIG_JSON_ENV_VAR": '{"metadata": {}}'}])
def test_outside_a_job_of_ray_nothing_is_joined_and_auto_stays_refused(environment):
    assert joined_address(None, lambda _: None, environment) is None
    with pytest.raises(UserError, match="HOST:PORT"):
        parse_address(joined_address("auto", lambda _: None, environment) or "")


def test_a_relative_run_directory_is_not_in_the_package_that_goes_with_the_cluster(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    told: list[str] = []
    assert outside_package("runs/chat", told.append, job()) == str(tmp_path / "runs/chat")
    assert str(tmp_path / "runs/chat") in told[0] and len(told) == 1
    for shown in ("/shared/chat", "s3://bucket/chat"):
        assert outside_package(shown, told.append, job()) == shown
    for environment in (job(working_dir=""), job(working_dir="local:///app"), {}):
        assert outside_package("runs/chat", told.append, environment) == "runs/chat"
    assert len(told) == 1


def test_a_job_whose_nodes_see_another_directory_under_the_runs_name_begins_nothing(tmp_path):
    directory = RunDir(tmp_path / "chat")
    with pytest.raises(UserError, match=r"recorded job chat\.a001"):
        require_meant(directory, job(directory.url))
    assert not directory.path.exists()
    reserve(directory, JobRecord(job="chat.a001", time=time.time(), platform="ray", address="http://head:8265"))
    require_meant(directory, job(directory.url))
    require_meant(RunDir(tmp_path / "another"), job(directory.url))
    require_meant(RunDir(tmp_path / "another"), {})


def test_data_that_ray_may_have_left_out_is_told_with_that(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    recipe = write_recipe()
    Path("mine/texts.jsonl").unlink()
    with pytest.raises(RecipeInvalid, match=r"no such file: .*texts\.jsonl; `ray job submit` sends nothing that a \."):
        require_data(load_recipe(str(recipe)), job())
    with pytest.raises(RecipeInvalid, match=r"texts\.jsonl$"):
        require_data(load_recipe(str(recipe)), {})
    elsewhere = load_recipe(str(recipe), ("sources.texts.path=/data/x.jsonl",))
    with pytest.raises(RecipeInvalid, match=r"x\.jsonl$"):
        require_data(elsewhere, job())


def test_a_run_in_a_job_goes_to_its_cluster_and_not_to_a_new_one(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name, value in job(RAY_ADDRESS="127.0.0.1:1").items():
        monkeypatch.setenv(name, value)
    assert run_dir_of("quickstart", RunOptions()) == str(tmp_path / "home/runs/quickstart")
    with pytest.raises(PlatformError, match=r"127\.0\.0\.1:1"):
        run("quickstart", RunOptions(cache=str(tmp_path / "cache")))
    assert "the run joins its cluster at 127.0.0.1:1" in capsys.readouterr().out
    assert not Path("runs").exists() and not (tmp_path / "home/runs").exists()

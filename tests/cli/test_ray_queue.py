"""A run whose job is on a Ray cluster, from a laptop: looked at, listed, stopped."""

import json
from pathlib import Path

import pytest

from launcher.cli.queue import sight
from launcher.cli.status import ls, status
from launcher.cli.stop import stop
from launcher.report.fold import RunFold
from launcher.report.next_command import next_command
from launcher.storage.jobs import job_record
from launcher.storage.lock import take_lease
from launcher.storage.run_dir import RunDir
from tests.cli.a_ray_cluster import URL, Cluster, ends, sit_down, with_job


def stays(cluster: Cluster, job: str) -> None:
    """Do nothing when looked at."""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    cluster = sit_down(tmp_path, monkeypatch)
    cluster.play = stays
    return cluster


@pytest.fixture
def run(tmp_path, cluster):
    return RunDir(tmp_path / "runs/chat")


def shown(capsys) -> dict:
    status("chat", as_json=True)
    return json.loads(capsys.readouterr().out)


def stop_it() -> None:
    stop("chat", within=None, now=False, wait=True, as_json=False)


@pytest.mark.parametrize("state,of_run,said", [
    ("PENDING", "queued", f"job chat.a001 waits on the cluster at {URL}: it has not started yet"),
    ("RUNNING", "starting", f"job chat.a001 runs on the cluster at {URL}"),
    ("STOPPED", "interrupted", "job chat.a001 has ended (STOPPED)")])
def test_a_run_shows_the_state_of_its_job(cluster, run, capsys, state, of_run, said):
    with_job(cluster, run, state)
    found = shown(capsys)
    assert found["state"] == of_run and found["job"]["said"] == said
    assert (found["job"]["platform"], found["job"]["id"], found["job"]["state"]) == ("ray", "chat.a001", state)
    status("chat", as_json=False)
    assert said.removeprefix("job ") in " ".join(capsys.readouterr().out.split())


def test_of_several_jobs_the_living_one_tells(cluster, run, capsys):
    with_job(cluster, run, "RUNNING")
    for number in (2, 3, 4, 5):
        with_job(cluster, run, "FAILED", number)
    assert shown(capsys)["job"]["id"] == "chat.a001"


def test_a_job_that_a_new_cluster_does_not_know_is_gone(cluster, run, capsys):
    with_job(cluster, run, "RUNNING")
    cluster.jobs.clear()
    found = shown(capsys)
    assert (found["state"], found["job"]["state"]) == ("interrupted", "gone")
    assert "does not know it any more" in found["job"]["said"]


def test_a_head_that_is_away_costs_a_line_and_files_tell_the_rest(cluster, run, capsys):
    with_job(cluster, run, "RUNNING")
    ends(run, "yielded", 75)
    cluster.away = 1
    found = shown(capsys)
    assert (found["state"], found["job"]["state"]) == ("yielded", "unknown") and "no answer" in found["job"]["said"]
    cluster.away = 1
    ls(None, as_json=False)
    told = capsys.readouterr()
    assert told.err.count("\n") == 1 and "runs/chat" in told.out


def test_a_list_shows_what_runs_where(cluster, run, tmp_path, capsys):
    with_job(cluster, run, "PENDING")
    with_job(cluster, RunDir(tmp_path / "runs/other"), "RUNNING")
    ls(None, as_json=False)
    printed = capsys.readouterr().out
    assert "chat.a001 PENDING" in printed and "other.a001 RUNNING" in printed


@pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
def test_stopping_a_run_that_nobody_holds_yet_stops_its_job(cluster, run, capsys, state):
    with_job(cluster, run, state)
    stop_it()
    record = job_record(run, "chat.a001", "ray")
    assert cluster.stopped == ["chat.a001"] and record is not None and record.stopped
    assert "job chat.a001 is cancelled" in capsys.readouterr().out


def test_a_run_that_is_asked_to_stop_ends_its_job_itself(cluster, run):
    with_job(cluster, run, "RUNNING")
    lease = take_lease(run)
    stop("chat", within=None, now=False, wait=False, as_json=False)
    lease.release()
    record = job_record(run, "chat.a001", "ray")
    assert not cluster.stopped and record is not None and record.stopped


def test_where_the_head_is_away_a_stop_says_how_to_stop_the_job_later(cluster, run, capsys):
    with_job(cluster, run, "RUNNING")
    cluster.away = 9
    stop_it()
    printed = " ".join(capsys.readouterr().out.split())
    assert f"`ray job stop chat.a001 --address {URL}` cancels it" in printed


def test_a_run_without_a_job_asks_nobody(cluster, run, capsys):
    run.path.mkdir(parents=True)
    Path(run.path / run.PLAN).write_text("{}")
    cluster.away = 1
    assert shown(capsys)["job"] is None and cluster.away == 1 and sight(run).record is None


def test_what_is_typed_next_is_the_same_submission(cluster, run):
    with_job(cluster, run, "FAILED")
    assert next_command(run, "runs/chat", RunFold([])) == "the same `launcher submit` command starts it"

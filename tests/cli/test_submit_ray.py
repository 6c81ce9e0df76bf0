"""`launcher submit --on ray`: what is sent, what is refused, how a job is followed and submitted again."""

from dataclasses import replace
from pathlib import Path

import pytest

from launcher.cli import follow_ray
from launcher.cli.ray_submission import RayOptions
from launcher.cli.submit_command import submit_command
from launcher.cli.submit_ray import submit
from launcher.core.errors import PlatformError, UserError
from launcher.platforms.ray_jobs_client import Unsure
from launcher.platforms.ray_jobs_request import STOP_WAIT
from launcher.storage.jobs import job_record, jobs_of, record_stopped
from launcher.storage.lock import take_lease
from launcher.storage.run_dir import RunDir
from tests.cli.a_ray_cluster import URL, Cluster, ends, sit_down, with_job
from tests.cli.a_submission import write_recipe


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    return sit_down(tmp_path, monkeypatch)


@pytest.fixture
def run(tmp_path, cluster):
    return RunDir(tmp_path / "shared/small")


@pytest.fixture
def options(run):
    return RayOptions(address=URL, run_dir=run.url)


@pytest.fixture
def recipe(cluster):
    return str(write_recipe())


def test_a_dry_run_tells_everything_but_a_value_asks_nobody_and_leaves_nothing(cluster, run, options, recipe, capsys,
                                                                               monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_planted_planted")
    monkeypatch.setenv("NCCL_DEBUG", "value-of-nccl")
    cluster.away = 99
    assert submit(recipe, replace(options, workers=4, pass_env=("NCCL_DEBUG",)), dry_run=True) == 0
    printed = capsys.readouterr().out
    assert "exec python -m launcher.cli.main run submitted/" in printed and f"--run-dir {run.url}" in printed
    assert f"--cache {run.url}/cache --workers 4" in printed and "\nsmall.a001\n" in printed
    assert f"NCCL_DEBUG PYTHONUNBUFFERED {STOP_WAIT}" in printed and "value-of-nccl" not in printed
    for name in ("mine/small.yaml", "mine/own.json", "mine/own.jinja", "launcher's own code, 1 files"):
        assert name in printed
    assert "estimated plan: 3 steps" in printed and "nothing was submitted" in printed and "hf_planted" not in printed
    assert cluster.away == 99 and not Path("shared").exists()


def test_a_job_gets_a_package_an_id_and_time_to_save_and_is_followed_to_its_end(cluster, run, options, recipe, capsys):
    cluster.printed["small.a001"] = "step 1\nstep 2\n"
    assert submit(recipe, options, dry_run=False) == 0
    request, package = cluster.requests[0], cluster.packages[0]
    assert request.submission_id == "small.a001" and int(request.environment[STOP_WAIT]) >= 60
    assert set(request.metadata) == {"launcher_run", "run_dir", "recipe", "version"}
    assert (request.metadata["launcher_run"], request.metadata["run_dir"]) == ("small", run.url)
    copy = request.entrypoint.split()[5]
    assert package[copy] == Path(recipe).read_bytes() and "launcher/__init__.py" in package
    assert not any(name.endswith("texts.jsonl") for name in package)
    printed = capsys.readouterr().out
    assert f"job small.a001 is submitted to {URL}" in printed and printed.count("step 1\nstep 2\n") == 1
    record, = jobs_of(run)
    assert (record.job, record.platform, record.address) == ("small.a001", "ray", URL)


def test_data_goes_along_only_where_that_is_asked_for(cluster, options, recipe):
    assert submit(recipe, replace(options, with_data=True), dry_run=False) == 0
    assert any(name.endswith("/texts.jsonl") for name in cluster.packages[0])


def test_a_run_that_saves_slowly_gets_more_time_when_its_job_is_stopped(cluster, run, options, recipe):
    ends(run, "yielded", 75, saved=3)
    text = run.path / run.JOURNAL
    text.write_text(text.read_text().replace('"seconds": 0.1', '"seconds": 200.0'))
    assert submit(recipe, options, dry_run=False) == 0
    assert cluster.requests[0].environment[STOP_WAIT] == "435"


def test_planted_secrets_are_in_nothing_that_is_sent_printed_or_kept(cluster, run, options, recipe, capsys,
                                                                     monkeypatch):
    planted = {"HF_TOKEN": "hf_AAAAAAAAAAAAAAAA", "WANDB_API_KEY": "0123456789abcdef", "MY_PASSWORD": "correct horse",
               "AWS_SECRET_ACCESS_KEY": "s3cr3t+/key", "AWS_ACCESS_KEY_ID": "AKIAPLANTEDPLANTED"}
    for name, value in planted.items():
        monkeypatch.setenv(name, value)
    assert submit(recipe, options, dry_run=False) == 0
    sent = repr(cluster.requests) + repr(cluster.packages) + repr(capsys.readouterr())
    kept = "".join(path.read_text() for path in run.path.rglob("*") if path.is_file())
    for name, value in planted.items():
        assert value not in sent + kept, name


@pytest.mark.parametrize("name", ["WANDB_API_KEY", "HF_TOKEN", "AWS_SESSION_TOKEN", "GITHUB_PASSWORD"])
def test_a_secret_is_not_passed_by_name_either_and_it_is_said_where_it_belongs(cluster, options, recipe, monkeypatch,
                                                                             name):
    monkeypatch.setenv(name, "planted-planted")
    with pytest.raises(UserError, match=f"{name}: looks like a secret.*environment of the cluster's nodes") as refused:
        submit(recipe, replace(options, pass_env=(name,)), dry_run=False)
    assert "planted" not in str(refused.value) and not cluster.requests


def test_a_recipe_that_holds_the_value_of_a_secret_is_not_sent(cluster, run, options, recipe, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    Path(recipe).write_text(Path(recipe).read_text() + "# 0123456789abcdef\n")
    with pytest.raises(UserError, match=r"small\.yaml holds the value of WANDB_API_KEY") as refused:
        submit(recipe, options, dry_run=False)
    assert "0123456789" not in str(refused.value) and not cluster.requests and not run.path.exists()


def test_a_run_has_one_living_job_whoever_submitted_it(cluster, run, options, recipe):
    job = with_job(cluster, run, "RUNNING")
    cluster.play = lambda cluster, job: None
    with pytest.raises(UserError, match=rf"job {job} runs on the cluster at {URL}, and a run has one job"):
        submit(recipe, options, dry_run=False)
    (run.path / f"jobs/ray-{job}.json").unlink()  # Somebody else's copy of the run directory, or a lost record.
    with pytest.raises(UserError, match=rf"job {job} of it is RUNNING .* a run has one job"):
        submit(recipe, options, dry_run=False)
    assert not cluster.requests


def test_a_run_that_somebody_works_on_is_not_submitted(cluster, run, options, recipe):
    lease = take_lease(run)
    with pytest.raises(UserError, match="being worked on"):
        submit(recipe, options, dry_run=False)
    lease.release()
    assert not cluster.requests


def test_ids_count_up_and_another_run_of_the_same_name_takes_none_away(cluster, tmp_path, run, options, recipe):
    with_job(cluster, run, "FAILED")
    with_job(cluster, RunDir(tmp_path / "other/small"), "SUCCEEDED", number=7)
    assert submit(recipe, options, dry_run=False) == 0
    assert cluster.requests[0].submission_id == "small.a008"


def test_a_submission_that_ray_refuses_leaves_nothing(cluster, run, options, recipe):
    cluster.refusal = PlatformError("no room")
    with pytest.raises(PlatformError, match="no room"):
        submit(recipe, options, dry_run=False)
    assert not run.path.exists()


def test_what_ray_may_have_taken_after_all_is_followed_and_else_kept(cluster, run, options, recipe, capsys):
    cluster.refusal = Unsure("no answer.")
    with pytest.raises(Unsure, match=r"small\.a001 may have been submitted"):
        submit(recipe, replace(options, wait=False), dry_run=False)
    assert job_record(run, "small.a001", "ray") is not None
    assert submit(recipe, options, dry_run=False) == 76
    assert "does not know the job any more" in capsys.readouterr().out


@pytest.mark.parametrize("fields,journal,code", [
    ({"state": "SUCCEEDED", "driver_code": 0}, ("finished", 0), 0),
    ({"state": "FAILED", "driver_code": 75}, ("yielded", 75), 75),
    ({"state": "FAILED", "driver_code": 2}, None, 2),
    ({"state": "STOPPED"}, ("yielded", 75, "signal"), 75),
    ({"state": "STOPPED"}, None, 75),
    ({"state": "STOPPED"}, ("finished", 0), 0),
    ({"state": "FAILED", "driver_code": -9}, None, 76),
    ({"state": "FAILED", "error": "JOB_SUPERVISOR_ACTOR_DIED"}, ("failed", 1), 1)])
def test_the_exit_code_is_the_runs_own(cluster, run, options, recipe, fields, journal, code):
    def play(cluster: Cluster, job: str) -> None:
        if journal:
            ends(run, *journal)
        cluster.set(job, **fields)

    ends(run, "failed", 1)  # An earlier end is not this job's.
    cluster.play = play
    assert submit(recipe, options, dry_run=False) == code


def test_a_dashboard_that_is_away_for_a_while_is_no_news_of_the_job(cluster, options, recipe, capsys):
    looks = []

    def play(cluster: Cluster, job: str) -> None:
        looks.append(job)
        cluster.printed[job] = "step\n" * len(looks)
        cluster.away = 5 if len(looks) == 2 else 0
        if len(looks) == 4:
            cluster.set(job, state="SUCCEEDED", driver_code=0)

    cluster.play = play
    assert submit(recipe, options, dry_run=False) == 0
    told = capsys.readouterr()
    assert told.out.count("step\n") == 4 and told.err.count("no answer") == 1 and "answers again" in told.err


def test_a_job_that_does_not_begin_says_once_for_what_it_waits(cluster, options, recipe, capsys, monkeypatch):
    monkeypatch.setattr(follow_ray, "WAITS_S", -1.0)
    looks = []

    def play(cluster: Cluster, job: str) -> None:
        looks.append(job)
        cluster.set(job, message="It may be waiting for resources")
        if len(looks) == 3:
            cluster.set(job, state="SUCCEEDED", driver_code=0)

    cluster.play = play
    assert submit(recipe, options, dry_run=False) == 0
    assert capsys.readouterr().err.count("job small.a001 waits: It may be waiting for resources") == 1


def yielding(run: RunDir, times: int, *reasons: str):
    """Return a job that yields so often and then finishes; each time it saves."""
    done = []

    def play(cluster: Cluster, job: str) -> None:
        done.append(job)
        code = 75 if len(done) <= times else 0
        ends(run, "yielded" if code else "finished", code, *reasons, saved=len(done))
        cluster.set(job, state="FAILED" if code else "SUCCEEDED", driver_code=code)

    return play


def test_a_run_that_yields_is_submitted_again_until_it_finishes(cluster, run, options, recipe, capsys):
    cluster.play, cluster.away = yielding(run, 2), 4
    assert submit(recipe, replace(options, retry_forever=True), dry_run=False) == 0
    assert [request.submission_id for request in cluster.requests] == ["small.a001", "small.a002", "small.a003"]
    assert "is submitted again in" in capsys.readouterr().err


def test_a_submission_for_ever_outlasts_a_cluster_that_does_not_take_it(cluster, run, options, recipe, capsys):
    cluster.refusals = 2
    assert submit(recipe, replace(options, retry_forever=True), dry_run=False) == 0
    assert capsys.readouterr().err.count("no agent yet. Trying again in") == 2
    assert [record.job for record in jobs_of(run)] == ["small.a001"]


def test_a_lost_cluster_is_a_reason_to_submit_again(cluster, run, options, recipe):
    def lost(cluster: Cluster, job: str) -> None:
        cluster.jobs.clear()
        cluster.play = yielding(run, 0)

    cluster.play = lost
    assert submit(recipe, replace(options, retry_forever=True), dry_run=False) == 0
    assert [request.submission_id for request in cluster.requests] == ["small.a001", "small.a002"]


def failing(run: RunDir, kind: str, *saved: int | None):
    """Return a job that gives up (exit code 76) as often as is said what it has saved, and then finishes."""
    done = []

    def play(cluster: Cluster, job: str) -> None:
        if len(done) < len(saved):
            ends(run, "failed", 76, saved=saved[len(done)], failure=kind)
        else:
            ends(run, "finished", 0)
        code = 76 if len(done) < len(saved) else 0
        done.append(job)
        cluster.set(job, state="FAILED" if code else "SUCCEEDED", driver_code=code)

    return play


@pytest.mark.parametrize("kind", ["node_loss", "startup", "preemption"])
def test_a_run_that_lacks_nodes_is_submitted_again_however_long_they_do_not_come(cluster, run, options, recipe, kind):
    cluster.play = failing(run, kind, *[None] * 5)
    assert submit(recipe, replace(options, retry_forever=True), dry_run=False) == 0
    assert len(cluster.requests) == 6


def test_a_job_that_never_began_a_run_is_submitted_again(cluster, run, options, recipe):
    looks = []

    def play(cluster: Cluster, job: str) -> None:
        looks.append(job)
        cluster.set(job, state="FAILED" if len(looks) < 5 else "SUCCEEDED", driver_code=76 if len(looks) < 5 else 0)

    cluster.play = play
    assert submit(recipe, replace(options, retry_forever=True), dry_run=False) == 0
    assert len(cluster.requests) == 5


@pytest.mark.parametrize("kind", ["worker_crash", "stall", "storage", "controller_loss"])
def test_a_run_whose_own_processes_fail_is_submitted_again_while_it_saves(cluster, run, options, recipe, capsys, kind):
    cluster.play = failing(run, kind, None, None, 4, None, 8, None, None, None, None)
    assert submit(recipe, replace(options, retry_forever=True), dry_run=False) == 76
    assert len(cluster.requests) == 8
    assert "3 jobs in a row could not go on and saved nothing new" in capsys.readouterr().err


def test_without_being_asked_nothing_is_submitted_again(cluster, run, options, recipe):
    cluster.play = failing(run, "node_loss", None)
    assert submit(recipe, options, dry_run=False) == 76 and len(cluster.requests) == 1


def stopped_for_good(cluster: Cluster, job: str) -> None:
    """End as a job whose record says that somebody stopped it."""
    run = RunDir(cluster.requests[-1].metadata["run_dir"])
    record = job_record(run, job, "ray")
    assert record is not None
    record_stopped(run, record)
    cluster.set(job, state="FAILED", driver_code=75)


@pytest.mark.parametrize("ending", ["launcher stop", "record", "ray job stop", "failed"])
def test_a_run_that_was_stopped_or_failed_for_good_is_not_submitted_again(cluster, run, options, recipe, ending):
    endings = {"launcher stop": yielding(run, 9, "stop_command"), "record": stopped_for_good,
               "ray job stop": lambda cluster, job: cluster.set(job, state="STOPPED"),
               "failed": lambda cluster, job: cluster.set(job, state="FAILED", driver_code=1)}
    cluster.play = endings[ending]
    code = submit(recipe, replace(options, retry_forever=True), dry_run=False)
    assert code == (1 if ending == "failed" else 75) and len(cluster.requests) == 1


def test_without_waiting_the_command_ends_at_once(cluster, options, recipe, capsys):
    assert submit(recipe, replace(options, wait=False), dry_run=False) == 0
    assert cluster.jobs["small.a001"].state == "PENDING" and "launcher stop" in capsys.readouterr().out
    with pytest.raises(UserError, match="exclude each other"):
        submit(recipe, replace(options, wait=False, retry_forever=True), dry_run=False)


def test_ctrl_c_leaves_the_job_running_and_says_how_to_stop_it(cluster, run, options, recipe, capsys):
    def interrupt(cluster: Cluster, job: str) -> None:
        cluster.set(job, state="RUNNING")
        raise KeyboardInterrupt

    cluster.play = interrupt
    assert submit(recipe, options, dry_run=False) == 130
    told = capsys.readouterr().err
    assert "job small.a001 goes on" in told and f"launcher stop {run.url}" in told and not cluster.stopped


def test_a_cluster_that_is_not_there_is_one_message(cluster, run, options, recipe):
    cluster.away = 9
    with pytest.raises(PlatformError, match="no answer"):
        submit(recipe, options, dry_run=False)
    assert not run.path.exists()


@pytest.mark.parametrize("resource", ["head", "head=", "head=-1", "=1", "head=inf", "head=nan"])
def test_a_resource_is_a_name_and_an_amount(cluster, options, recipe, resource):
    with pytest.raises(UserError, match="NAME=AMOUNT"):
        submit(recipe, replace(options, resources=(resource,)), dry_run=False)


@pytest.mark.parametrize("on,said,foreign", [
    ("ray", {"chain": 3, "site": "x"}, "--site, --chain: not with --on ray"),
    ("ray", {"recipes": ["quickstart", "assistant"]}, "--array: not with --on ray"),
    ("slurm", {"address": URL, "wait": False}, "--address, --no-wait: not with --on slurm")])
def test_an_option_of_another_platform_is_refused_and_not_ignored(cluster, on, said, foreign):
    with pytest.raises(UserError, match=foreign):
        submit_command(**{"recipes": ["quickstart"], "on": on, **said})

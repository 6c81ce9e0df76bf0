"""A run whose job is in a queue, from the login machine: looked at, listed, followed, submitted twice."""

import json
import threading
import time
from pathlib import Path

import pytest

from launcher.cli.find_run import find_run
from launcher.cli.logs import logs
from launcher.cli.queue import Sight
from launcher.cli.runs_table import print_runs
from launcher.cli.status import ls, status
from launcher.cli.submit import SubmitOptions, submit
from launcher.core.errors import RunFailed, UserError
from launcher.platforms import slurm_client
from launcher.platforms.slurm_queue import QueuedJob
from launcher.report.fold import RunFold
from launcher.storage.jobs import job_record, record_began
from launcher.storage.lock import take_lease
from tests.cli.queue_desk import SQUEUE, sit_down, stop_it
from tests.orchestration.test_worker_process import awaited
from tests.report.journals import FINISHED, ended, started, step


@pytest.fixture
def desk(tmp_path, monkeypatch):
    return sit_down(tmp_path, monkeypatch)


def shown(capsys) -> dict:
    status("chat", as_json=True)
    return json.loads(capsys.readouterr().out)


def test_a_run_that_waits_says_for_what_and_until_when(desk, capsys):
    desk.queue("PENDING", "Priority", start=str(int(time.time()) + 3610))
    found = shown(capsys)
    assert (found["name"], found["state"], found["job"]["id"]) == ("chat", "queued", "42")
    assert (found["job"]["state"], found["job"]["reason"]) == ("PENDING", "Priority")
    assert found["job"]["expected_start"] > time.time() + 3500
    status("chat", as_json=False)
    printed = capsys.readouterr().out
    assert "chat  attempt 0" in printed and "queued" in printed
    assert "job       42 waits in the queue: jobs of higher priority go first (Priority); expected to start" in printed
    assert "in 1 h 00 min" in printed and "launcher logs runs/chat -f    launcher stop runs/chat" in printed


def test_one_that_was_queued_again_says_so(desk, capsys):
    record_began(desk.run, "42", time.time(), allocations=1)
    desk.queue("PENDING", "BeginTime")
    assert "is queued again and waits: it may not begin earlier" in shown(capsys)["job"]["said"]


def test_a_job_with_nodes_says_which_and_how_long_yet_and_its_run_starts(desk, capsys):
    desk.queue("RUNNING", nodes="node[1-4]", left="1-02:00:00")
    found = shown(capsys)
    assert found["state"] == "starting" and found["job"]["left_seconds"] == 93600
    assert found["job"]["said"] == "job 42 has node[1-4], 1 d 2 h left"


def test_a_job_that_slurm_has_forgotten_has_ended_and_resume_is_not_what_to_type_here(desk, capsys):
    status("chat", as_json=False)
    printed = capsys.readouterr().out
    assert "42 has ended (Slurm has forgotten it)" in printed and "interrupted" in printed
    assert "the same `launcher submit` or sbatch command starts it" in printed and "resume" not in printed


@pytest.mark.parametrize("squeue,trouble", [
    ("#!/bin/sh\nexec sleep 30\n", "no answer within 0 s"),
    ("#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1\n", "Unable to contact")])
def test_a_slurm_that_does_not_answer_costs_a_line_and_a_moment(desk, capsys, monkeypatch, squeue, trouble):
    desk.command("squeue", squeue)
    monkeypatch.setattr(slurm_client, "LOOK_S", 0.3)
    found = shown(capsys)
    assert found["job"]["state"] == "unknown" and trouble in found["job"]["said"]
    ls(None, as_json=False)
    told = capsys.readouterr()
    assert told.err.count("\n") == 1 and trouble in told.err and "runs/chat" in told.out
    stop_it()
    assert "If it still waits, `scancel 42` cancels it" in " ".join(capsys.readouterr().out.split())


def test_more_jobs_than_a_command_takes_are_asked_about_in_turn(desk):
    desk.command("squeue", "#!/bin/sh\necho \"$4\" | wc -c >> asked\n" + SQUEUE.partition("\n")[2])
    desk.queue("PENDING", "Priority")
    found = slurm_client.look_up([str(10_000_000 + number) for number in range(20_000)] + ["42"])
    assert list(found) == ["42"]
    words = [int(line) for line in Path("asked").read_text().split()]
    assert len(words) > 1 and max(words) < 128 * 1024


def test_on_a_machine_without_slurm_files_say_it(desk, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "squeue: no such command here" in shown(capsys)["job"]["said"]


def test_a_run_without_a_job_asks_slurm_nothing(desk, capsys):
    desk.command("squeue", "#!/bin/sh\ntouch asked\n")
    Path("runs/other").mkdir()
    Path("runs/other/plan.json").write_text("{}")
    status("other", as_json=True)
    assert json.loads(capsys.readouterr().out)["job"] is None and not Path("asked").exists()


def test_a_list_shows_runs_that_have_not_begun_and_why(desk, capsys):
    desk.queue("PENDING", "Resources")
    ls(None, as_json=False)
    printed = capsys.readouterr().out
    assert "runs/chat" in printed and "queued" in printed and "42 Resources" in printed
    ls(None, as_json=True)
    row, = json.loads(capsys.readouterr().out)
    assert (row["state"], row["job"]["reason"]) == ("queued", "Resources")


def test_a_second_submission_of_a_run_with_a_living_job_is_refused(desk):
    desk.queue("PENDING", "Priority")
    desk.command("sbatch", "#!/bin/sh\ntouch submitted\n")
    with pytest.raises(UserError, match=r"job 42 waits in the queue.*a run has one job"):
        submit(["quickstart"], SubmitOptions(run_dir="runs/chat"), dry_run=False)
    assert not Path("submitted").exists()


def test_a_submission_is_recorded_and_one_after_an_ended_job_goes_through(desk):
    desk.queue("CANCELLED")
    desk.command("sbatch", "#!/bin/sh\necho 43\n")
    assert submit(["quickstart"], SubmitOptions(run_dir="runs/chat"), dry_run=False) == 0
    assert job_record(desk.run, "43") is not None


def test_following_a_run_whose_job_waits_tells_what_for_until_there_is_something_to_read(desk, capsys):
    desk.queue("PENDING", "Priority")
    seen = [""]

    def told() -> str:
        captured = capsys.readouterr()
        seen[0] += captured.out + captured.err
        return seen[0]

    follower = threading.Thread(target=logs, args=("chat",), kwargs={"rank": 0, "attempt": None, "follow": True})
    follower.start()
    awaited(lambda: "(Priority)" in told())
    desk.queue("PENDING", "Resources")
    awaited(lambda: "(Resources)" in told())
    desk.queue("RUNNING", nodes="node1")
    lease = take_lease(desk.run)
    desk.run.attempt_path(1, "rank-000.log").write_text("step 1\n")
    awaited(lambda: "step 1" in told())
    lease.release()
    desk.queue("PENDING", "BeginTime")
    awaited(lambda: "(BeginTime)" in told())
    assert follower.is_alive() and told().count("(Priority)") == 1
    desk.queue("CANCELLED")
    follower.join(20)
    assert not follower.is_alive()


def test_a_run_that_finished_is_not_queued_because_a_link_behind_it_still_waits(desk, capsys):
    end = {"event": "run_ended", "outcome": "finished", "exit_code": 0, "attempt": 1, "time": time.time() + 60}
    (desk.folder / "runs/chat/journal.jsonl").write_text(f"{json.dumps(end)}\n")
    desk.queue("PENDING", "Priority")
    found = shown(capsys)
    assert found["state"] == "finished" and "leaves as soon as it starts" in found["job"]["said"]
    desk.run.attempt_path(1, "rank-000.log").write_text("step 1\n")
    logs("chat", rank=0, attempt=None, follow=True)
    assert "step 1" in capsys.readouterr().out


def test_logs_of_a_run_that_has_not_begun_are_not_there_yet_for_a_reason(desk):
    desk.queue("PENDING", "Priority")
    with pytest.raises(UserError, match="runs/chat: the run has not begun; job 42 waits in the queue"):
        logs("chat", rank=0, attempt=None, follow=False)


OUTPUT = """12:00:01 launcher on node1: Ray is up on all nodes
launcher: node2: /scratch is not writable
srun: error: node2: task 1: Exited with exit code 76
"""


@pytest.mark.parametrize("where", ["runs/chat/slurm-42.out", "elsewhere/slurm-42.out"])
@pytest.mark.parametrize("began", [False, True])
def test_a_job_that_ended_before_its_run_began_says_why_and_where_more_stands(desk, capsys, where, began):
    desk.queue("FAILED")
    # A run that went on before, and whose next job did not get that far, is no better told by its journal.
    if began:
        desk.journal(*started(1, 1.0), step(1, 2.0), *ended("yielded", 75, 3.0))
        desk.run.attempt_path(1, "rank-000.log").write_text("step 1\n")
    output = desk.folder / where
    output.parent.mkdir(exist_ok=True)
    output.write_text(OUTPUT)
    desk.command("scontrol", f"#!/bin/sh\necho 'JobId=42 JobName=x JobState=FAILED StdOut={output}'\n")
    status("chat", as_json=False)
    printed = capsys.readouterr().out
    assert "job       42 has ended (FAILED)\nsaid      node2: /scratch is not writable\n" in printed
    assert f"next      less {where}    the same" in printed
    if began:
        logs("chat", rank=None, attempt=None, follow=True)
        told = capsys.readouterr().err
    else:
        with pytest.raises(RunFailed, match="runs/chat: the run has not begun; job 42 has ended") as raised:
            logs("chat", rank=None, attempt=None, follow=True)
        told = str(raised.value)
    assert "job 42 has ended (FAILED); it said last: node2: /scratch is not writable\nnext   less " in told


def test_what_a_job_said_before_its_run_worked_is_no_news(desk, capsys):
    desk.queue("FAILED")
    (desk.folder / "runs/chat/slurm-42.out").write_text(OUTPUT)
    now = time.time() + 60
    desk.journal(*started(1, now), *ended("yielded", 75, now))
    assert shown(capsys)["job"]["said"] == "job 42 has ended (exit code 75: it yielded)"
    desk.journal(*started(1, now), {"event": "stop_requested", "reason": "stop_command", "deadline": None, "time": now,
                                    "attempt": 1}, *ended("yielded", 75, now))
    status("chat", as_json=False)
    printed = capsys.readouterr().out
    assert "has ended (exit code 75: stopped by `launcher stop`)" in printed
    assert "said" not in printed and "next      the same `launcher submit` or sbatch command goes on" in printed


def test_a_start_that_slurm_expects_in_a_year_is_not_told(desk, capsys):
    desk.queue("PENDING", "Priority", start=str(int(time.time()) + 364 * 86400))
    job = shown(capsys)["job"]
    assert job["expected_start"] is None and "expected to start" not in job["said"]


def test_the_newest_checkpoint_counts_while_a_preempted_job_waits(desk, capsys):
    desk.queue("PENDING", "Priority")
    desk.journal(*started(1, 1.0), step(1, 2.0))
    desk.run.store.put("checkpoints/step-00000001/manifest.json", b"{}")
    assert shown(capsys)["committed_step"] == 1
    status("chat", as_json=False)
    assert "saved     step 1\n" in "\n".join(map(str.rstrip, capsys.readouterr().out.split("\n")))


@pytest.mark.parametrize("width", [80, 60, None])
def test_a_list_keeps_names_whole_within_80_columns(capsys, width):
    folder = "runs/a-name-of-a-run-that-is-rather-long-1"
    seen = Sight(job=QueuedJob("4711", "PENDING", reason="AssocGrpGRESMinutes"))
    standing = RunFold(FINISHED[:-2]).status(alive=True)
    print_runs({folder: (standing, seen), "runs/b": (standing, Sight())}, width)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith(f"{folder}  running") and any("AssocGrpGRESMinutes" in line for line in lines)
    if width == 80:
        assert max(len(line.rstrip()) for line in lines) <= width
    if width is None:
        assert lines[1].split() == [folder, "running", "two", "4/4", "1.0000", "0", "s", "4711", "AssocGrpGRESMinutes"]


def test_a_run_that_is_not_there_may_have_a_job_by_hand_that_waits(desk, monkeypatch):
    monkeypatch.setenv("PATH", str(desk.folder / "bin"))
    with pytest.raises(UserError) as raised:
        find_run("other")
    assert "by hand" not in str(raised.value)
    desk.command("sbatch", "#!/bin/sh\n")
    with pytest.raises(UserError, match=r"no run here; .*; a job submitted by hand is known once it has begun"):
        find_run("other")

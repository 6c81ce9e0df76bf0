"""What `launcher logs` prints of attempts that are over, that grow, and that begin while one looks."""

import json
import threading

import pytest

from launcher.cli.find_run import run_folders
from launcher.cli.logs import Tails, logs
from launcher.core.errors import UserError
from launcher.storage.lock import take_lease
from launcher.storage.run_dir import RunDir
from tests.orchestration.test_worker_process import awaited
from tests.report.journals import FINISHED, RECOVERED, ended, evaluation, failure, started, step


@pytest.fixture
def run(tmp_path):
    run = RunDir(tmp_path / "tiny")
    run.store.put(run.PLAN, b"{}")
    return run


def printed(run: RunDir, attempt: int, name: str, text: str) -> None:
    with run.attempt_path(attempt, name).open("a") as log:
        log.write(text)


def test_the_newest_attempt_is_shown_and_any_other_can_be_asked_for(run, capsys):
    for attempt in (1, 2):
        printed(run, attempt, "rank-001.log", f"attempt {attempt} here\n")
    logs(run.url, rank=1, attempt=None, follow=False)
    assert capsys.readouterr().out == "attempt 2 here\n"
    logs(run.url, rank=1, attempt=1, follow=False)
    assert capsys.readouterr().out == "attempt 1 here\n"


def test_without_a_rank_the_controller_is_heard_too(run, capsys):
    printed(run, 1, "controller.log", "ray is up\n")
    printed(run, 1, "rank-000.log", "hello\n")
    logs(run.url, rank=None, attempt=None, follow=False)
    assert capsys.readouterr().out == ("==> attempt 1, controller.log <==\nray is up\n\n"
                                       "==> attempt 1, rank-000.log <==\nhello\n")


def happened(run: RunDir, events: list[dict]) -> None:
    with (run.path / run.JOURNAL).open("a") as journal:
        journal.writelines(f"{json.dumps(event)}\n" for event in events)


def test_without_a_rank_an_attempt_s_progress_is_told_as_the_run_itself_tells_it(run, capsys):
    printed(run, 1, "rank-000.log", "a library warns\n")
    happened(run, FINISHED)
    logs(run.url, rank=None, attempt=None, follow=False)
    told = capsys.readouterr().out
    assert "a library warns\n\n==> attempt 1, progress <==\ntiny: 4 steps; starting\nattempt 1: 2 workers\n" in told
    for line in ("step 1/4  one  loss 4.0000", "holdout after step 2: sums 3.0000", "step 4/4  two  loss 1.0000",
                 "tiny finished: 4 steps, 2 stages"):
        assert line in told
    logs(run.url, rank=0, attempt=None, follow=False)
    assert capsys.readouterr().out == "a library warns\n"


def test_progress_is_of_the_attempts_that_are_shown_and_a_failure_is_told(run, capsys):
    for attempt in (1, 2):
        printed(run, attempt, "rank-000.log", f"rank of {attempt}\n")
    happened(run, [*RECOVERED, failure(0, "ValueError: boom", 13.0, attempt=2), *ended("failed", 1, 14.0, attempt=2)])
    logs(run.url, rank=None, attempt=None, follow=False)
    told = capsys.readouterr().out
    assert "attempt 1" not in told and "attempt 2: 2 workers, going on after step 2" in told
    assert "tiny failed after 4 steps" in told and "ValueError: boom" in told
    logs(run.url, rank=None, attempt=1, follow=False)
    told = capsys.readouterr().out
    assert "step 1/4" in told and "attempt 1 failed after step 4" in told and "boom" not in told


def test_following_tells_steps_as_they_are_done(run, capsys):
    lease = take_lease(run)
    seen: list[str] = []

    def read() -> str:
        seen.append(capsys.readouterr().out)
        return "".join(seen)

    follower = threading.Thread(target=logs, args=(run.url,), kwargs={"rank": None, "attempt": None, "follow": True})
    follower.start()
    printed(run, 1, "rank-000.log", "")
    happened(run, [*started(1, 1.0), step(1, 2.0)])
    awaited(lambda: "step 1/4" in read())
    happened(run, [evaluation(1, 2.5, 3.0), *ended("finished", 0, 4.0)])
    awaited(lambda: "holdout after step 1: sums 2.5000" in read())
    lease.release()
    follower.join(20)
    assert "tiny finished" in read()


def test_of_a_run_of_a_million_steps_few_lines_are_told_its_last_among_them(run, capsys):
    printed(run, 1, "rank-000.log", "")
    events = [*started(1, 0.0, steps=20_000)]
    for number in range(1, 20_000, 10):
        events += [step(number, 10.0 * number), evaluation(number, 3.0, 10.0 * number)]
    happened(run, events)
    logs(run.url, rank=None, attempt=None, follow=False)
    lines = capsys.readouterr().out.splitlines()
    assert 150 < len(lines) < 320 and "step 19991" in lines[-1]


def test_following_goes_on_into_the_next_attempt_until_nobody_works_on_the_run(run, capsys):
    lease = take_lease(run)
    seen: list[str] = []

    def read() -> str:
        seen.append(capsys.readouterr().out)
        return "".join(seen)

    follower = threading.Thread(target=logs, args=(run.url,), kwargs={"rank": 0, "attempt": None, "follow": True})
    follower.start()
    printed(run, 1, "rank-000.log", "step 1\n")
    awaited(lambda: "step 1\n" in read())
    printed(run, 2, "rank-000.log", "step 2\n")
    awaited(lambda: "step 2\n" in read())
    printed(run, 2, "rank-000.log", "the end\n")
    lease.release()
    follower.join(20)
    assert read() == "step 1\n\n==> attempt 2, rank-000.log <==\nstep 2\nthe end\n"


def test_an_attempt_that_was_asked_for_is_the_only_one_followed(run, capsys):
    printed(run, 1, "rank-000.log", "one\n")
    printed(run, 2, "rank-000.log", "two\n")
    logs(run.url, rank=0, attempt=1, follow=True)
    assert capsys.readouterr().out == "one\n"


def test_machines_get_an_object_for_each_whole_line(run, capsys):
    printed(run, 3, "rank-000.log", "one\ntwo\nthr")
    logs(run.url, rank=0, attempt=None, follow=False, as_json=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [{"attempt": 3, "log": "rank-000.log", "line": text} for text in ("one", "two", "thr")]


def test_a_character_that_is_written_in_two_halves_is_whole(run):
    found: list[str] = []
    tails = Tails(run, ["rank-000.log"], lambda _attempt, _name, text: found.append(text))
    path = run.attempt_path(1, "rank-000.log")
    for part in (b"gr\xc3", b"\xbcn"):
        with path.open("ab") as log:
            log.write(part)
        tails.copy(1, 1)
    assert "".join(found) == "gr\xfcn"


@pytest.mark.parametrize(("attempt", "rank", "message"), [
    (None, 7, "attempt 1 has no rank-007.log; there are 2: rank-000.log to rank-001.log"),
    (4, 0, "no attempt 4; the last one is 1"),
])
def test_a_log_that_is_not_there_is_told_with_what_is(run, attempt, rank, message):
    for number in (0, 1):
        printed(run, 1, f"rank-{number:03d}.log", "")
    with pytest.raises(UserError, match=message):
        logs(run.url, rank=rank, attempt=attempt, follow=False)


def test_runs_are_found_at_any_depth_and_what_lies_inside_one_is_not_looked_at(tmp_path):
    for name in ("a", "team/b", "a/inside", ".hidden/c", "team/empty"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        if name != "team/empty":
            (tmp_path / name / RunDir.PLAN).write_text("{}")
    assert [folder.relative_to(tmp_path).as_posix() for folder in run_folders(tmp_path)] == ["a", "team/b"]
    assert run_folders(tmp_path / "a") == [tmp_path / "a"]
    assert run_folders(tmp_path / "nowhere") == []

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

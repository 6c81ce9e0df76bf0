"""A run is held while its data is prepared, hears a stop then, and leaves nothing if it never began."""

import signal
import time

import pytest

from launcher.cli import holding as module
from launcher.cli.find_run import find_run, run_folders
from launcher.cli.holding import heeding, holding
from launcher.cli.watch import leaving_on_signals
from launcher.core.errors import UserError, Yielded
from launcher.core.events import StopRequested
from launcher.storage.lock import holder_of, token_of
from launcher.storage.process_id import process_id
from launcher.storage.run_dir import RunDir
from launcher.storage.stop_file import StopFile, ask_stop

STOP = StopFile(request=StopRequested(reason="stop_command", deadline=None))


@pytest.fixture
def run(tmp_path):
    return RunDir(tmp_path / "runs/tiny")


def held(run: RunDir):
    return holding(run, process_id(), lambda _line: None)


def test_a_run_that_is_only_prepared_is_found_and_says_who_holds_it(run, monkeypatch):
    monkeypatch.chdir(run.path.parent.parent)
    with held(run):
        assert find_run("tiny")[1] == "runs/tiny" and holder_of(run) is not None
    with pytest.raises(UserError, match="no run here"):
        find_run("tiny")


def test_a_run_that_never_began_leaves_no_folder(run):
    with held(run) as lease:
        ask_stop(run, lease.token, STOP)
    assert not run.path.parent.exists()


def test_a_run_that_began_is_given_back_and_its_tokens_grow(run):
    run.store.put(run.PLAN, b"{}")
    with held(run) as lease:
        pass
    assert holder_of(run) is None and token_of(run) == lease.token == 1


def test_what_others_have_put_there_stays(run):
    with held(run):
        run.store.put("notes.txt", b"mine")
    assert [path.name for path in run.path.iterdir()] == ["notes.txt"]
    assert run_folders(run.path.parent) == []


def test_a_stop_that_is_asked_for_in_the_run_directory_ends_the_preparing(run, monkeypatch):
    monkeypatch.setattr(module, "WATCH_S", 0.02)
    before = signal.getsignal(signal.SIGTERM)
    told = "stopped before it began"
    with held(run) as lease, pytest.raises(Yielded, match=told), leaving_on_signals(told), heeding(run, lease.token):
        ask_stop(run, lease.token, STOP)
        time.sleep(30)
    assert signal.getsignal(signal.SIGTERM) is before and not run.path.exists()

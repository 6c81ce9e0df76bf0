"""A tracker dies, hangs or is slow to leave, and the command goes on and ends in time."""

import signal
import sys
import time
from pathlib import Path

import pytest

from launcher.cli.tracking import Keeper, missing, tracked
from launcher.core.errors import RecipeInvalid
from launcher.core.recipe import Recipe
from launcher.orchestration.supervisor import Supervisor
from launcher.orchestration.worker_process import worker_environment
from launcher.storage.process_id import ProcessId, process_id
from launcher.storage.recipes import load_recipe
from launcher.storage.run_dir import RunDir
from launcher.storage.tracking import TrackingFolder

GOOD = "print('begun', flush=True)\nsys.stdin.read()\nprint('left', flush=True)"
DEAF = "print('begun', flush=True)\ntime.sleep(60)"
DYING = "print('begun', flush=True)\nsys.exit(3)"
FIRST_DIES = "print('begun', flush=True)\nif len(open(sys.argv[1]).readlines()) == 1: sys.exit(3)\nsys.stdin.read()"


def keeper(folder: TrackingFolder, script: str) -> Keeper:
    return Keeper([sys.executable, "-c", "import sys, time\n" + script, str(folder.log)], folder, {}, again_s=0.02)


def await_lines(folder: TrackingFolder, count: int) -> None:
    deadline = time.monotonic() + 30.0
    while not folder.log.exists() or len(folder.log.read_text().splitlines()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def folder(tmp_path: Path) -> TrackingFolder:
    return TrackingFolder(RunDir(tmp_path))


def child(kept: Keeper) -> ProcessId:
    assert kept._child is not None
    return process_id(kept._child.pid)


def test_a_tracker_tells_the_rest_once_the_command_ends(folder: TrackingFolder) -> None:
    kept = keeper(folder, GOOD)
    await_lines(folder, 1)
    assert kept.close() == "" and folder.log.read_text() == "begun\nleft\n"


def test_one_that_dies_is_begun_again(folder: TrackingFolder) -> None:
    kept = keeper(folder, FIRST_DIES)
    await_lines(folder, 2)
    assert kept.close() == ""


def test_one_that_keeps_dying_is_left_alone_and_told(folder: TrackingFolder) -> None:
    kept = keeper(folder, DYING)
    await_lines(folder, 5)
    kept._thread.join(10.0)
    assert "died 5 times in a row" in kept.close() and folder.log.read_text().count("begun") == 5


@pytest.mark.parametrize("frozen", [False, True])
def test_one_that_does_not_leave_is_ended(folder: TrackingFolder, frozen: bool) -> None:
    kept = keeper(folder, DEAF)
    await_lines(folder, 1)
    process = child(kept)
    if frozen:
        process.signal(signal.SIGSTOP)
    begin = time.monotonic()
    assert "did not end within 0 s and was ended" in kept.close(0.1)
    assert time.monotonic() - begin < 5.0 and not process.alive()


def test_a_run_without_a_tracker_has_none(tmp_path: Path) -> None:
    told = list[str]()
    with tracked(RunDir(tmp_path / "run"), load_recipe("quickstart").recipe, told.append):
        pass
    assert not told and not (tmp_path / "run/tracking").exists()


def test_a_folder_that_cannot_be_written_is_told_and_the_run_goes_on(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    told, went_on = list[str](), list[bool]()
    with tracked(RunDir(tmp_path / "run"), tracking_recipe(), told.append):
        went_on.append(True)
    assert went_on and told[0].startswith("the run is not tracked: ")


def test_what_no_server_was_reached_for_is_told_with_the_command_that_sends_it_until_it_is_sent(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    life = tmp_path / "run/tracking/wandb/offline-run-20260101_120000-x/run-x.wandb"
    life.parent.mkdir(parents=True)
    life.touch()
    monkeypatch.setattr(Keeper, "_keep", lambda _: None)

    def told() -> list[str]:
        lines = list[str]()
        with tracked(RunDir(tmp_path / "run"), tracking_recipe(), lines.append):
            pass
        return lines

    line, = told()
    assert f"wandb sync {tmp_path}/run/tracking/wandb/offline-run-*" in line
    life.with_name("run-x.wandb.synced").touch()
    assert told() == []


def tracking_recipe() -> Recipe:
    return load_recipe("quickstart", ["tracking={wandb: {project: hearts}}"]).recipe


def test_a_package_that_is_not_there_is_told_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing(tracking_recipe(), lambda _: "recipe.yaml:9:3") is None
    monkeypatch.setattr("launcher.cli.tracking.find_spec", lambda _: None)
    assert missing(tracking_recipe(), lambda field: f"recipe.yaml:9:3 {field}") == (
        "recipe.yaml:9:3 ('tracking', 'wandb'): tracking.wandb: the package wandb is not installed here; "
        "pip install 'launcher[wandb]', or leave it out with --set tracking=null")
    assert missing(load_recipe("quickstart").recipe, str) is None
    board = load_recipe("quickstart", ["tracking={tensorboard: true}"]).recipe
    assert missing(board, str) == (
        "('tracking', 'tensorboard'): tracking.tensorboard: the package tensorboard is not installed here; "
        "pip install 'launcher[tensorboard]', or leave it out with --set tracking=null")


def test_the_key_is_the_tracker_s_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "planted-5f1d")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "workers-need-it")
    with Supervisor("plain") as supervisor:
        environment, deadline = b"", time.monotonic() + 30.0
        while not environment and time.monotonic() < deadline:  # until it is a program
            environment = Path(f"/proc/{supervisor.process.pid}/environ").read_bytes()
            time.sleep(0.01)
    assert b"workers-need-it" in environment and b"planted-5f1d" not in environment
    assert "WANDB_API_KEY" not in worker_environment(0, 1, "cpu")


def test_gauges_go_where_their_collector_reads(tmp_path: Path) -> None:
    with pytest.raises(RecipeInvalid, match="absolute path that ends in"):
        load_recipe("quickstart", ["tracking={prometheus: {file: run.prom}}"])
    recipe = load_recipe("quickstart", [f"tracking={{prometheus: {{file: {tmp_path}/run.prom}}}}"]).recipe
    assert missing(recipe, str) is None, "only Weights & Biases needs its package"

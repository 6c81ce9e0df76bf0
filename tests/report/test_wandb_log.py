"""A tracker goes on from what its logs say, also where the last one is torn; the library itself writes them."""

import subprocess
import sys
from pathlib import Path

import pytest

from launcher.core.recipe_tracking import WandbOptions
from launcher.core.settled import Sent
from launcher.report.wandb_log import HEADER, mend, read_log
from launcher.report.wandb_run import earlier, mode_of
from launcher.storage.run_dir import RunDir
from launcher.storage.tracking import TrackingFolder

LIFE = """
import sys, time
from launcher.core.recipe_tracking import WandbOptions
from launcher.report.tracked import Table
from launcher.report.wandb_run import WandbRun
from launcher.storage.run_dir import RunDir
from launcher.storage.tracking import TrackingFolder
first, last, code = map(int, sys.argv[2:])
run = WandbRun(TrackingFolder(RunDir(sys.argv[1])), "tiny", WandbOptions(mode="offline"), {"plan": {"steps": 9}})
assert run.sent.step == first - 1, run.sent
for step in range(max(1, first), last + 1):
    measured = {"measured_step": step, "holdout/sums": 1.0} if step % 2 == 0 else {}
    run.row({"step": step, "loss": 1 / step, **measured}, {"samples": Table(("a",), ((1,),))} if step == 2 else {},
            float(step))
run.summary({"time/wall": 9.0})
run.finish(code, goes_on=code == 75)
"""


def live(folder: Path, *numbers: int) -> None:
    done = subprocess.run([sys.executable, "-c", LIFE, str(folder), *map(str, numbers)], capture_output=True, text=True,
                          timeout=100, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_two_lives_are_one_run_and_a_torn_log_is_mended(tmp_path: Path) -> None:
    folder = TrackingFolder(RunDir(tmp_path))
    live(tmp_path, 0, 4, 75)
    first, = folder.logs()
    found = read_log(first)
    assert ([row["_step"] for row in found.history], [row["step"] for row in found.history]) == (
        [0, 1, 2, 3], [1, 2, 3, 4])
    assert (found.config["plan"], found.summary["time/wall"], found.exit_code) == ({"steps": 9}, 9.0, 75)
    assert earlier(folder).sent == Sent(4, 4) and earlier(folder).rows == 4 and earlier(folder).offline

    # The log as a crash leaves it: a record's end is missing, and so are its row and the exit.
    torn = read_log(first).history
    data = first.read_bytes()
    cut, size = found, len(data)
    while len(cut.history) == len(torn):
        size -= 40
        first.write_bytes(data[:size])
        cut = read_log(first)
    assert len(cut.history) < len(torn) and cut.exit_code is None
    mend(first, cut)
    assert first.stat().st_size == cut.whole and read_log(first) == cut
    # And a life that came to nothing.
    nothing = first.parent.with_name("offline-run-20200101_000000-x") / "run-x.wandb"
    nothing.parent.mkdir()
    nothing.write_bytes(data[:HEADER])

    live(tmp_path, len(cut.history) + 1, 6, 0)
    logs = folder.logs()
    assert len(logs) == 2 and not nothing.exists()
    ids = {read_log(path).run_id for path in logs}
    rows = [row for path in logs for row in read_log(path).history]
    assert ids == {folder.identity()} and [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["_step"] for row in rows] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(("mode", "environment", "expected"), [
    (None, {}, "offline"), (None, {"WANDB_API_KEY": "x"}, "online"), ("offline", {"WANDB_API_KEY": "x"}, "offline"),
    ("online", {}, "online"), (None, {"WANDB_API_KEY": "x", "WANDB_MODE": "offline"}, "offline"),
])
def test_online_needs_a_key(tmp_path: Path, mode, environment, expected) -> None:
    netrc = {"NETRC": str(tmp_path / "netrc")}
    assert mode_of(WandbOptions(mode=mode), environment | netrc) == expected
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password x\n")
    assert mode_of(WandbOptions(mode=mode), environment | netrc) == ("online" if expected == "online" or (
        mode is None and "WANDB_MODE" not in environment) else "offline")

"""A tracker follows a journal that grows, and tells its end."""

from pathlib import Path
from typing import Any

import pytest

from launcher.core.settled import Sent
from launcher.report.tracker import Tracker
from launcher.storage.journal import Journal
from launcher.storage.run_dir import RunDir
from launcher.storage.run_start import begin_run
from tests.orchestration.scenes import plan_of
from tests.report.journals import again, committed, ended, evaluation, stage, started, step
from tests.storage.test_run_start import RECIPE, SUBMISSION

BEGUN = [*started(1, 1.0), evaluation(0, 5.0, 1.0), stage("one", 1, 3, 1.5), step(1, 2.0), step(2, 3.0), step(3, 4.0),
         evaluation(3, 2.0, 4.5)]


class Told:
    """Stands in for a run of W&B."""

    def __init__(self, sent: Sent | None = None) -> None:
        self.sent, self.rows, self.values, self.end = sent or Sent(), list[Any](), dict[str, Any](), ()

    def row(self, values: Any, tables: Any, _moment: float) -> None:
        self.rows.append((values["step"], sorted(tables)))

    def summary(self, values: Any) -> None:
        self.values |= values

    def finish(self, exit_code: int, *, goes_on: bool) -> None:
        self.end = exit_code, goes_on


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run")
    begin_run(run, plan_of(("one", 3)), b"", SUBMISSION)
    return run


def write(run: RunDir, *events: dict[str, Any]) -> None:
    for event in events:
        journal = Journal(run, event["attempt"])
        journal.append(event)
        journal.close()


def tracker(run: RunDir, told: Any, gauge_file: Path | None = None) -> Tracker:
    return Tracker(run, RECIPE, [told] if told else [], gauge_file)


def test_rows_come_once_they_are_settled_and_the_stage_s_end_has_its_table(run: RunDir) -> None:
    told = Told()
    at_work = tracker(run, told)
    write(run, *BEGUN)
    at_work.look()
    assert told.rows == [] and told.values["live/step"] == 3 and told.values["live/state"] == "running"
    # The recipe lets a divergence go back twice: two steps behind the checkpoint wait.
    write(run, committed(3, 5.0))
    at_work.look()
    assert told.rows == [(0, []), (1, [])]
    write(run, *ended("finished", 0, 6.0))
    at_work.look()
    at_work.finish()
    assert told.rows == [(0, []), (1, []), (2, []), (3, ["forgetting"])] and told.end == (0, False)
    assert told.values["time/wall"] == pytest.approx(5.0) and told.values["live/state"] == "finished"


def test_a_run_that_yields_is_marked_as_one_that_goes_on_and_so_is_one_whose_command_died(
        run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launcher.report.tracker.LAST_S", 0.0)
    write(run, *BEGUN)
    died, stopped = Told(), Told()
    at_work = tracker(run, died)
    at_work.look()
    at_work.finish()
    assert died.end == (76, True)
    write(run, committed(3, 5.0), *ended("yielded", 75, 6.0))
    at_work = tracker(run, stopped)
    at_work.look()
    at_work.finish()
    assert stopped.end == (75, True)


def test_the_next_life_tells_what_is_left(run: RunDir) -> None:
    write(run, *BEGUN, committed(3, 5.0), again(2, 6.0, 3), *ended("finished", 0, 7.0, 2))
    told = Told(Sent(step=1, evaluation=0))
    tracker(run, told).look()
    assert told.rows == [(2, []), (3, ["forgetting"])]


def test_gauges_are_written_and_a_folder_that_is_not_there_hurts_nobody(run: RunDir, tmp_path: Path) -> None:
    write(run, *BEGUN, *ended("finished", 0, 6.0))
    file = tmp_path / "textfile/run.prom"
    at_work = tracker(run, None, file)
    at_work.look()
    at_work.finish()
    assert 'launcher_exit_code{run="tiny"} 0' in file.read_text()
    (tmp_path / "file").write_text("")
    lost = tracker(run, None, tmp_path / "file/run.prom")
    lost.look()
    lost.finish()

"""The campaign of stops judges as it says; and a handful of its trials, from a fixed seed."""

from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.drains import phases_of
from benchmarks.harness import environment
from benchmarks.stop_moments import PHASES, Watched
from benchmarks.stop_trials import AGENT, LEAVING_S, REQUESTS, Asked, draw, judged
from benchmarks.stops import WHOLE, drawn, options_of, played, summary
from launcher.orchestration.drill import Drill
from launcher.storage.mailbox import Mailbox


def test_only_what_exists_in_a_phase_is_drawn_and_only_requests_name_a_deadline():
    chance = Random(1)
    asked = [draw(phase, chance, 2.0) for phase in PHASES for _ in range(200)]
    assert not any(each.way == AGENT for each in asked), "after that a run goes on by itself"
    assert not any("rank" in each.way for each in asked if each.phase in ("preparing", "starting"))
    assert {each.way for each in asked if each.deadline is not None} == set(REQUESTS)
    short = [each for each in asked if each.grace is not None or each.deadline is not None]
    assert 0.25 < len(short) / len(asked) < 0.42


def test_a_run_is_stopped_in_distinct_phases_and_last_where_it_may_finish():
    for seed in range(50):
        *middle, last = drawn(Random(seed), ray=bool(seed % 2), count=5)
        assert len({each.phase for each in middle}) == 4 and "exporting" not in {each.phase for each in middle}
        assert last.phase == "exporting" or last.way == AGENT


def test_nodes_are_drained_while_loading_only_at_the_beginning():
    assert all("loading" not in phases_of(Random(seed), 5)[1:] for seed in range(50))


def right(asked: Asked, *, code: int, seconds: float = 1.0, done: int = 7, saved: int = 7) -> list[str]:
    return list(judged(asked, code, seconds, done, saved, said=""))


@pytest.mark.parametrize(("asked", "came", "wrong"), [
    (Asked("training", "stop file"), {"code": 75}, ""),
    (Asked("training", "stop file"), {"code": 75, "saved": 6}, "step 7 was done, and 6 saved"),
    (Asked("training", "stop file"), {"code": 76}, "ended with 76"),
    (Asked("exporting", "stop file"), {"code": 0}, ""),
    (Asked("loading", "stop file"), {"code": 0}, "ended with 0"),
    (Asked("training", "stop file", deadline=LEAVING_S), {"code": 75, "saved": 4, "seconds": 5.0}, ""),
    (Asked("training", "stop file", deadline=LEAVING_S), {"code": 75, "seconds": 20.0}, "after the deadline"),
    (Asked("training", "stop file", deadline=30.0), {"code": 75, "saved": 4}, "step 7 was done, and 4 saved"),
])
def test_what_came_of_a_stop_is_judged_by_the_time_there_was(asked: Asked, came: dict[str, Any], wrong: str):
    found = right(asked, **came)
    assert (found == []) if not wrong else (len(found) == 1 and wrong in found[0])


def test_phases_and_steps_are_seen_as_workers_write_them(tmp_path: Path):
    box = Mailbox(tmp_path / "worker-0").create()
    command: Any = SimpleNamespace(living=SimpleNamespace(scratch=lambda: tmp_path))
    seen = Watched(command, 0, 1)
    for time, event in enumerate(({"event": "phase", "phase": "loading", "step": 0}, {"event": "step", "step": 3},
                                  {"event": "phase", "phase": "evaluating", "step": 3})):
        box.report({**event, "time": float(time)})
    assert seen.step == 3 and seen.phase() == "evaluating"


def test_the_summary_tells_those_that_left_from_those_that_were_killed():
    trial = {"seed": 1, "phase": "saving", "way": "stop file", "grace": None, "deadline": None, "exit_code": 75,
             "seconds": 1.0, "problems": (), "end": []}
    told = summary([trial, {**trial, "grace": 0.1, "exit_code": None}, {**trial, "problems": ["lost"], "seed": 2}])
    assert (told["trials"], told["runs"], told["wrong"], told["killed when their time was over"]) == (3, 2, 1, 1)


@pytest.mark.campaign
@pytest.mark.timeout(300)
def test_a_run_that_is_stopped_again_and_again_ends_as_if_it_had_not_been(tmp_path: Path, monkeypatch):
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    drill = Drill(tmp_path, "quickstart", ["--cache", str(tmp_path / "cache"), "--without-ray", *options_of()])
    drill.unbroken(WHOLE)
    trials = played(drill, options_of(), 4, 3)
    assert trials and not any(trial["problems"] or trial["end"] for trial in trials), trials

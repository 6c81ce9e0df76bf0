"""A toy run whose stages evaluations decide about: one ends early while it unfreezes, one goes on from its best
evaluation, one is repeated with more replay. For tests that hurt such a run, wherever it works."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from launcher.storage.process_id import ProcessId
from tests.toy_run import launcher, write_recipe

STAGES = """stages:
  - name: counting
    length: {steps: 16}
    mix: {counting: 1}
    unfreeze: {every: 2 steps, layers: 1}
    early_stopping: {source: counting, patience: 3, min_delta: 99%}     # no loss falls so much: ends after step 8
  - name: stories
    length: {steps: 6}
    mix: {stories: 1}
    learning_rate: 1.0                                                  # rises to this: worse with each step
    schedule: {warmup: 100%}
    keep_best: counting
  - name: few
    length: {steps: 6}
    mix: {few: 1}
    unfreeze: {every: 2 steps, layers: 1}
    learning_rate: 1.0
    schedule: {warmup: 100%}
    forget: {limits: {counting: 0%, stories: 0%}, action: repeat, replay: +30%, then: warn}
divergence: off
learning_rate"""
DECIDED = [("end", "counting"), ("end", "stories"), ("repeat", "few"), ("warn", "few")]
ONE_ON_EACH = "cluster={nodes: 2, gpus_per_node: 1, threads: 1}"
HERE = "cluster={workers: 2, threads: 1}"


def write(folder: Path) -> None:
    """Write the recipe as toy.yaml, and its data."""
    write_recipe(folder, "fp32")
    text = (folder / "toy.yaml").read_text()
    begin, end = text.index("stages:"), text.index("learning_rate")
    (folder / "toy.yaml").write_text(text[:begin] + STAGES + text[end + len("learning_rate"):])


def run_unhurt(folder: Path) -> Path:
    """Run the recipe on this machine and let nothing happen to it; return its directory."""
    write(folder)
    launcher(folder, "run", "toy.yaml", "--run-dir", "whole", "--without-ray", "--set", HERE)
    assert verdicts(folder / "whole") == DECIDED
    return folder / "whole"


def events(run: Path, name: str) -> list[dict[str, Any]]:
    """Return a run's events of one kind, while it may be written."""
    try:
        lines = (run / "journal.jsonl").read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    return [event for event in map(json.loads, lines) if event["event"] == name]


def verdicts(run: Path) -> list[tuple[str, str]]:
    """Return what was decided, in order; what was come to twice, once."""
    return list(dict.fromkeys((event["action"], event["stage"]) for event in events(run, "verdict")))


def repeated(run: Path) -> list[dict[str, Any]]:
    """Return the steps of the stage that is repeated, in its second turn."""
    told = events(run, "verdict")
    began = next((event["time"] for event in told if event["action"] == "repeat"), float("inf"))
    return [event for event in events(run, "step") if event["stage"] == "few" and event["time"] > began]


def kill_once(process: Callable[[], ProcessId | None]) -> None:
    """End a process by force if it is there."""
    found = process()
    assert found is not None and found.kill(), "it was not there to be killed"


def worker_of(run: Path, rank: int) -> ProcessId:
    """Return a worker of the last attempt."""
    place = events(run, "attempt_started")[-1]["workers"][rank]
    return ProcessId(pid=place["pid"], started=place["started"])


def environment(folder: Path) -> dict[str, str]:
    """Return where a command keeps its data, with the threads that its bits depend on."""
    return {**os.environ, "LAUNCHER_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}

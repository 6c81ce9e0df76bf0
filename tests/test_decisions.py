"""Early stopping, keep-best and a gate that repeats a stage, through the real command: what dies between a verdict and
its amendment, or anywhere else, comes to the same end, bit for bit."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests import toy_run
from tests.toy_run import differences, journal, launcher, write_recipe

STAGES = """stages:
  - name: counting
    length: {steps: 10}
    mix: {counting: 1}
    early_stopping: {source: counting, patience: 1, min_delta: 99%}     # no loss falls so much: ends after step 4
  - name: stories
    length: {steps: 6}
    mix: {stories: 1}
    learning_rate: 1.0                                                  # rises to this: worse with each step
    schedule: {warmup: 100%}
    keep_best: counting
  - name: few
    length: {steps: 4}
    mix: {few: 1}
    learning_rate: 1.0
    schedule: {warmup: 100%}
    forget: {limits: {counting: 0%, stories: 0%}, action: repeat, replay: +30%, then: warn}
divergence: off
learning_rate"""


def write(folder: Path) -> None:
    """Write a recipe in which each stage is decided about."""
    write_recipe(folder, "fp32")
    text = (folder / "toy.yaml").read_text()
    begin, end = text.index("stages:"), text.index("learning_rate")
    (folder / "toy.yaml").write_text(text[:begin] + STAGES + text[end + len("learning_rate"):])


def verdicts(run: Path) -> list[tuple[str, str]]:
    return [(event["action"], event["stage"]) for event in journal(run) if event["event"] == "verdict"]


def kinds(run: Path) -> list[str]:
    return [json.loads(file.read_text())["kind"] for file in sorted((run / "amendments").iterdir())]


def cut_off_at_verdict(whole: Path, number: int, target: Path) -> None:
    """Copy a run as it was when a verdict (from 0) had been journalled and nothing was recorded of it."""
    shutil.copytree(whole, target, ignore=shutil.ignore_patterns("model", "report.html"))
    lines = (target / "journal.jsonl").read_text().splitlines(keepends=True)
    found = [index for index, line in enumerate(lines) if json.loads(line)["event"] == "verdict"][number]
    told = [json.loads(line) for line in lines[: found + 1]]
    (target / "journal.jsonl").write_text("".join(lines[: found + 1]))
    for attempt in (target / "attempts").iterdir():
        if int(attempt.name) > told[-1]["attempt"]:
            shutil.rmtree(attempt)
    for fence in (target / "checkpoints" / ".staging").glob("fence-*"):
        if int(fence.name.removeprefix("fence-")) > told[-1]["attempt"]:
            fence.unlink()
    decided = sum(1 for event in told[:-1] if event["event"] == "verdict" and event["action"] in ("end", "repeat"))
    for amendment in sorted((target / "amendments").iterdir())[decided:]:
        amendment.unlink()
    saved = toy_saved(told)
    for checkpoint in (target / "checkpoints").glob("step-*"):
        manifest = json.loads((checkpoint / "manifest.json").read_text())
        if int(checkpoint.name[5:]) not in saved or manifest["attempt"] > told[-1]["attempt"]:
            shutil.rmtree(checkpoint)


def toy_saved(events: list[dict[str, Any]]) -> set[int]:
    return {event["step"] for event in events if event["event"] == "checkpoint_committed"}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_run_whose_stages_are_decided_about_under_way(tmp_path: Path) -> None:
    write(tmp_path)
    said = launcher(tmp_path, "run", "toy.yaml", "--run-dir", "whole", "--without-ray")
    found = verdicts(tmp_path / "whole")
    assert found[0] == ("end", "counting") and found[-2:] == [("repeat", "few"), ("warn", "few")]
    assert kinds(tmp_path / "whole") == ["end_stage"] * (len(found) - 2) + ["repeat_stage"]
    assert "stage counting ends after step 4" in said and "stage few is repeated" in said and "forgotten" in said
    assert "REJECTED" not in said, "what the run goes back from is not told as damaged"
    launcher(tmp_path, "checkpoints", "whole", "--verify")
    status = json.loads(launcher(tmp_path, "status", "whole", "--json"))
    assert status["state"] == "finished" and status["step"] == status["steps"]
    assert [border["name"] for border in status["forgetting"]["borders"]] == ["base", "counting", "stories", "few"]
    # The recipe knows nothing of what was decided; the same command finds the run finished.
    assert "is finished already" in launcher(tmp_path, "run", "toy.yaml", "--run-dir", "whole", "--without-ray")


@pytest.mark.campaign
@pytest.mark.timeout(1800)
def test_a_controller_that_dies_before_it_has_recorded_a_verdict_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path)
    launcher(tmp_path, "run", "toy.yaml", "--run-dir", "whole", "--without-ray")
    found = verdicts(tmp_path / "whole")
    assert [action for action, _ in found] == ["end", "end", "repeat", "warn"]
    for number, (action, _) in enumerate(found):
        if action in ("end", "repeat"):
            cut_off_at_verdict(tmp_path / "whole", number, tmp_path / f"cut{number}")
            launcher(tmp_path, "resume", f"cut{number}", "--without-ray")
            assert differences(tmp_path / "whole", tmp_path / f"cut{number}") == [], f"verdict {number}"


@pytest.mark.campaign
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("mode", ["--without-ray", "--workers=2"])
def test_a_controller_that_is_killed_as_verdicts_come_changes_nothing(tmp_path: Path, mode: str) -> None:
    write(tmp_path)
    launcher(tmp_path, "run", "toy.yaml", "--run-dir", "whole", "--without-ray")
    environment = {**os.environ, "LAUNCHER_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "launcher.cli.main", "run", "toy.yaml", "--run-dir", "hurt", mode]
    running = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL,
                               start_new_session=True)
    killed, deadline = 0, time.monotonic() + toy_run.LIMIT_S * 3
    while running.poll() is None and time.monotonic() < deadline:
        told = verdicts(tmp_path / "hurt") if (tmp_path / "hurt/journal.jsonl").exists() else []
        if len(told) > killed:
            killed = len(told)
            for controller in controllers_of(running.pid):
                os.kill(controller, signal.SIGKILL)
        time.sleep(0.005)
    assert running.wait(10) == 0 and killed >= 3
    assert differences(tmp_path / "whole", tmp_path / "hurt") == []


def controllers_of(parent: int) -> list[int]:
    """Return the controllers that a command has started."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(child) for child in children
            if b"launcher.orchestration.main" in Path(f"/proc/{child}/cmdline").read_bytes()]

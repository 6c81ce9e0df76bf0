"""A run that is hurt and continued is the run that was not: real commands, real workers, the shipped recipe."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

SHORT = ("stages.0.length.steps=6", "stages.1.length.steps=6", "stages.2.length.steps=108", "checkpoint.every=2 steps")
LIMIT_S = 240


def command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "launcher.cli.main", *arguments]


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "LAUNCHER_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}


def launcher(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(folder, *arguments), cwd=folder, env=environment(folder), capture_output=True,
                          text=True, timeout=LIMIT_S, check=False)


def journal(folder: Path, name: str) -> list[dict[str, Any]]:
    path = folder / name / "journal.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")] if path.exists() else []


def steps(folder: Path, name: str) -> dict[int, tuple[object, ...]]:
    """Return what counts of a run: of a step that was redone, the last."""
    return {event["step"]: (event["loss"], event["learning_rate"], event["rows_digest"])
            for event in journal(folder, name) if event["event"] == "step"}


def begin(name: str) -> tuple[str, ...]:
    options = [part for each in SHORT for part in ("--set", each)]
    return ("run", "quickstart", "--run-dir", name, "--without-ray", *options)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_whose_worker_is_killed_goes_on_and_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = launcher(tmp_path, *begin("whole"))
    assert whole.returncode == 0, whole.stderr
    with subprocess.Popen(command(tmp_path, *begin("hurt")), cwd=tmp_path, env=environment(tmp_path),
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        deadline = time.monotonic() + LIMIT_S
        while not any(event["event"] == "checkpoint_committed" and event["step"] >= 8
                      for event in journal(tmp_path, "hurt")):
            assert time.monotonic() < deadline and running.poll() is None
            time.sleep(0.02)
        started = next(event for event in journal(tmp_path, "hurt") if event["event"] == "attempt_started")
        os.kill(started["workers"][1]["pid"], signal.SIGKILL)
        assert running.wait(LIMIT_S) == 1
    resumed = launcher(tmp_path, "resume", "hurt", "--without-ray")
    assert resumed.returncode == 0, resumed.stderr
    attempts = [event for event in journal(tmp_path, "hurt") if event["event"] == "attempt_started"]
    assert attempts[1]["resume"] >= 8 and attempts[1]["resume"] % 2 == 0
    assert steps(tmp_path, "hurt") == steps(tmp_path, "whole")
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "hurt/model" / name).read_bytes() == (tmp_path / "whole/model" / name).read_bytes()
    proof = launcher(tmp_path, "checkpoints", "hurt", "--verify")
    assert proof.returncode == 0 and "120 steps of 120" in proof.stdout, proof.stdout + proof.stderr
    listed = json.loads(launcher(tmp_path, "checkpoints", "hurt", "--json").stdout)
    assert [(row["step"], row["kind"]) for row in listed if row["kind"] != "periodic"] == [
        (6, "stage"), (12, "stage"), (120, "final")]
    assert len(listed) == 5, "two passing ones are kept besides those at stage ends"
    shutil.rmtree(tmp_path / "hurt/checkpoints")
    lost = launcher(tmp_path, "checkpoints", "hurt", "--verify")
    assert lost.returncode == 1 and "the checkpoint of step 120, which the journal names last, is gone" in lost.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_finished_run_is_given_another_stage_and_its_past_stays(tmp_path: Path) -> None:
    recipe = tmp_path / "short.yaml"
    text = (Path(__file__).parent.parent / "recipes/quickstart/quickstart.yaml").read_text()
    text = re.sub(r"steps: (30|60)}", "steps: 3}", text)
    recipe.write_text(text)
    done = launcher(tmp_path, "run", "short.yaml", "--run-dir", "run", "--without-ray")
    assert done.returncode == 0, done.stderr
    begin = steps(tmp_path, "run")
    more = "  - {name: more, length: {steps: 4}, mix: {sums: 1}, replay: 20%, learning_rate: 1e-3}\n"
    recipe.write_text(text.replace("\nlearning_rate: 3e-3", f"{more}\nlearning_rate: 3e-3"))
    done = launcher(tmp_path, "run", "short.yaml", "--run-dir", "run", "--without-ray")
    assert done.returncode == 0, done.stderr
    assert "the plan is amended from step 10 on" in done.stdout
    after = steps(tmp_path, "run")
    assert list(after) == list(range(1, 14)) and {step: after[step] for step in begin} == begin
    assert launcher(tmp_path, "checkpoints", "run", "--verify").returncode == 0
    recipe.write_text(text.replace("steps: 3}", "steps: 5}", 1))
    refused = launcher(tmp_path, "run", "short.yaml", "--run-dir", "run", "--without-ray")
    assert refused.returncode == 2 and "stages.0.steps: was 3, is now 5" in refused.stderr

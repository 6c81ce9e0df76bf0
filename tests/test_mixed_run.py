"""A run whose mixes follow rules, change, run dry and replay: stopped midway, gone on with on more workers, and what it
trained on is what `launcher plan` forecast."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from launcher.core.ledger import surviving
from tests.toy_run import journal, launcher

RECIPE = """
name: mixed
model:
  init: {architecture: llama, hidden_size: 32, intermediate_size: 64, num_hidden_layers: 1, num_attention_heads: 2,
         num_key_value_heads: 2, max_position_embeddings: 64}
  tokenizer: {train: {vocab_size: 400}}
  precision: fp32
sequence_length: 64
sources:
  counting: {path: "package:quickstart/counting.jsonl", max_epochs: 0.35}
  stories: {path: "package:quickstart/stories.jsonl", holdout: 5%}
  sums: {path: "package:quickstart/sums.jsonl", few_shot: 24, order: length}
stages:
  - {name: first, length: {steps: 8}, mix: {counting: 1}}
  - name: broad
    length: {steps: 25}
    mix: [stories, sums]
    sampling: {temperature: 2, cap: 20k}
  - name: narrowing
    length: {tokens: 7k}
    mix: {counting: 3, stories: 1}
    mix_end: {sums: 1, stories: 1}
    replay: {tokens: 20%, decay: 0.5}
learning_rate: 1e-3
batch: {rows: 4}
checkpoint: {every: 20 steps}
cluster: {workers: 2}
"""
PATIENCE_S = 120


def steps_in(file: Path) -> int:
    """Return the last step in a journal that is being written."""
    whole = [line for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return max((event["step"] for event in map(json.loads, whole) if event["event"] == "step"), default=0)


def stop_midway(folder: Path, step: int) -> None:
    """Start the run, and stop it as soon as it is past a step."""
    environment = {**os.environ, "LAUNCHER_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    said = folder / "said.txt"
    with said.open("w") as output:
        begun = subprocess.Popen([sys.executable, "-m", "launcher.cli.main", "run", "mixed.yaml", "--run-dir", "run",
                                  "--without-ray"], cwd=folder, env=environment, stdout=output, stderr=output,
                                 start_new_session=True)
    until = time.monotonic() + PATIENCE_S
    file = folder / "run/journal.jsonl"
    while not file.exists() or steps_in(file) < step:
        assert begun.poll() is None and time.monotonic() < until, said.read_text()
        time.sleep(0.05)
    # Not by the command: on a busy machine the run could end before it has started.
    begun.send_signal(signal.SIGTERM)
    assert begun.wait(PATIENCE_S) == 75


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_a_run_trained_on_is_what_was_forecast_across_a_stop_and_more_workers(tmp_path: Path) -> None:
    (tmp_path / "mixed.yaml").write_text(RECIPE)
    stop_midway(tmp_path, 12)
    launcher(tmp_path, "resume", "run", "--without-ray", "--workers", "3")
    launcher(tmp_path, "checkpoints", "run", "--verify")
    forecast: dict[str, Any] = json.loads(launcher(tmp_path, "plan", "mixed.yaml", "--json"))
    assert forecast["grade"] == "exact"
    told = journal(tmp_path / "run")
    steps = surviving(told)
    assert {step["world_size"] for step in steps} == {2, 3}
    ended = {event["stage"]: event for event in told if event["event"] == "stage_ended"}
    assert list(ended) == ["first", "broad", "narrowing"]
    for stage in forecast["forecast"]["stages"]:
        seen = ended[stage["name"]]["sources"]
        assert {name: part["rows"] for name, part in seen.items()} == {
            name: part["rows"] for name, part in stage["sources"].items()}
        assert all(seen[name]["epochs"] == part["epochs"] for name, part in stage["sources"].items())
        whole = sum(part["tokens"] for part in seen.values())
        # Rows are exact; how full those of a part of an epoch are is known by their mean alone.
        assert all(abs(seen[name]["tokens"] / whole - part["share"]) < 0.01 for name, part in stage["sources"].items())
        counted = Counter[str]()
        for step in steps:
            if step["stage"] == stage["name"]:
                counted.update({name: part["tokens"] for name, part in step["sources"].items()})
        assert counted == {name: part["tokens"] for name, part in seen.items()}
    assert forecast["forecast"]["stages"][2]["used_up"].keys() == {"counting"}
    assert forecast["forecast"]["sources"]["counting"]["epochs"] == pytest.approx(0.35, abs=0.01)
    assert set(ended["narrowing"]["sources"]) == {"counting", "stories", "sums"}

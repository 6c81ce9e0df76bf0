"""A toy run of three stages through the real command line: cut off behind any checkpoint, gone on with, and compared.

It has dropout, so that noise counts too, two epochs of one source, partial last steps and a checkpoint after each step.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RECIPE = """
name: toy
model:
  init: {architecture: llama, hidden_size: 48, intermediate_size: 96, num_hidden_layers: 2, num_attention_heads: 4,
         num_key_value_heads: 2, max_position_embeddings: 128, attention_dropout: 0.1}
  tokenizer: {train: {vocab_size: 400}}
  precision: PRECISION
deepspeed: zero3
sequence_length: 64
sources:
  counting: {path: "package:quickstart/counting.jsonl", holdout: 5%}
  few: {path: few.jsonl}
  stories: {path: "package:quickstart/stories.jsonl", holdout: 5%}
stages:
  - {name: counting, length: {tokens: 700}, mix: {counting: 1}}
  - {name: few, length: {epochs: 2, of: few}, mix: {few: 1}}
  - {name: stories, length: {tokens: 1150}, mix: {stories: 2, few: 1}, replay: 20%}
learning_rate: 3e-3
batch: {rows: 4}
evaluate: {every: 2 steps}
checkpoint: {every: 1 steps, keep: 1000}
cluster: {workers: 2}
"""
DOCUMENTS = 32
"""Of the source of two epochs: as many as fill two steps, so that one epoch ends with a step."""
NOT_COMPARED = ("time", "attempt", "seconds", "memory_bytes")
MANIFEST = ("step", "kind", "cursor", "consumed", "optimizer_step", "chain", "shapes", "zero_stage", "precision")
"""What a manifest says of the state; the rest of it says who saved it, and when."""
LIMIT_S = 240


def write_recipe(folder: Path, precision: str) -> None:
    """Write the recipe and the source it repeats."""
    (folder / "toy.yaml").write_text(RECIPE.replace("PRECISION", precision))
    rows = ({"text": f"{number} times {number + 3} is {number * (number + 3):05d}"} for number in range(DOCUMENTS))
    (folder / "few.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def launcher(folder: Path, *arguments: str) -> str:
    """Run a command in a process tree of its own; return what it printed. Raises with that if it failed."""
    environment = {**os.environ, "LAUNCHER_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", "launcher.cli.main", *arguments], cwd=folder, env=environment,
                          capture_output=True, text=True, timeout=LIMIT_S, check=False, start_new_session=True)
    assert done.returncode == 0, f"launcher {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def run_unbroken(folder: Path) -> list[int]:
    """Run the recipe to its end as `whole`; return the steps that were saved, in order."""
    launcher(folder, "run", "toy.yaml", "--run-dir", "whole", "--without-ray")
    return [event["step"] for event in journal(folder / "whole") if event["event"] == "checkpoint_committed"]


def cut_off(whole: Path, step: int, target: Path, attempt: int = 1) -> None:
    """Copy a run as it was when the checkpoint of `step` had just been committed, in an attempt."""
    later = [f"step-{number:08d}" for number in range(step + 1, 1000)]
    # Fences, too: those of attempts to come would let no attempt save whose number comes before theirs.
    attempts = [f"{prefix}{number:03d}" for number in range(attempt + 1, 100) for prefix in ("", "fence-")]
    shutil.copytree(whole, target, ignore=shutil.ignore_patterns("model", "report.html", *later, *attempts))
    for file in (target / "journal.jsonl", target / f"attempts/{attempt:03d}/journal.jsonl"):
        file.write_text("".join(_until(file.read_text().splitlines(keepends=True), step)))


def _until(lines: list[str], step: int) -> Iterator[str]:
    for line in lines:
        yield line
        event = json.loads(line)
        if event["event"] == "checkpoint_committed" and event["step"] == step:
            return
    raise AssertionError(f"no checkpoint of step {step} in the journal")


def resume(folder: Path, step: int) -> list[str]:
    """Go on from the checkpoint of a step alone; return what differs from the unbroken run: nothing, if all is well."""
    name = f"from-{step}"
    cut_off(folder / "whole", step, folder / name)
    launcher(folder, "resume", name, "--without-ray")
    launcher(folder, "checkpoints", name, "--verify")
    begun = [event["resume"] for event in journal(folder / name) if event["event"] == "attempt_started"]
    assert begun == [None, step], f"went on from {begun[1:]}, not from {step}"
    differing = differences(folder / "whole", folder / name)
    shutil.rmtree(folder / name)
    return differing


def journal(run: Path) -> list[dict[str, Any]]:
    """Return a run's events."""
    return [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]


def differences(whole: Path, other: Path) -> list[str]:
    """Return in what a run differs from another: any number of any step or evaluation, any byte of the last state."""
    one, two = (told(run) | last_state(run) for run in (whole, other))
    return [f"{key}: {one.get(key)} and {two.get(key)}" for key in one | two if one.get(key) != two.get(key)]


def told(run: Path) -> dict[str, Any]:
    """Return what the journal tells of every step and evaluation; of what was redone, the last."""
    return {f"{event['event']} {event['step']}": {key: event[key] for key in event if key not in NOT_COMPARED}
            for event in journal(run) if event["event"] in ("step", "evaluation")}


def last_state(run: Path) -> dict[str, Any]:
    """Return what the last manifest says, and digests of its tensors (masters, both moments) and of the model."""
    last = max((run / "checkpoints").glob("step-*"))
    manifest = json.loads((last / "manifest.json").read_text())
    files = [*last.glob("rank-*"), *(file for file in (run / "model").rglob("*") if file.is_file())]
    digests = {f"{file.parent.name}/{file.name}": hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    assert sum(name.endswith(".bin") for name in digests) == manifest["world_size"] == 2
    assert any(name.endswith("model.safetensors") for name in digests)
    return {name: manifest[name] for name in MANIFEST} | digests

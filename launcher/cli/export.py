"""The body of `launcher export RUN OUT`: a run's model as a directory of its own, checked and proved.

Copies what a finished run wrote at its end, or writes it from a checkpoint. How is `runtime.checkpoint.exporting`.
"""

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from launcher.cli.find_run import find_run
from launcher.core.errors import PlatformError, UserError
from launcher.core.stage_adapters import TABLE
from launcher.storage.checkpoints import Checkpoints
from launcher.storage.journal import read_journal
from launcher.storage.new_directory import new_directory
from launcher.storage.run_dir import RunDir
from launcher.storage.run_start import read_plan, read_submission
from launcher.storage.slice_files import Damaged
from launcher.storage.store import LocalStore, open_store

CHUNK = 64 * 2**20
LAST = ("config.json", "adapter_config.json", TABLE)
"""What makes a model directory complete is copied last."""
AGREES = {"fp32": 1e-4, "bf16": 1e-2, "fp16": 1e-2}
"""Relative difference of holdout losses between the run and plain transformers: kernels and dtypes round otherwise."""

NOT_KEPT = "; so it was not kept. --no-proof leaves this check out"


def export_run(argument: str, out: str, *, step: int | None, merge: bool, proof: bool) -> None:
    """Export a run by its directory or name, and print what was checked."""
    run, _ = find_run(argument)
    target = Path(out)
    at_end = [event["parameters"] for event in read_journal(run) if event["event"] == "exported"]
    with new_directory(target):
        if step is None and not merge and at_end:
            told, at = export(run, target, at_end[-1]), read_plan(run).steps
        else:
            told, at = export_step(run, target, step, merge=merge)
        sys.stdout.write(told + "\n")
        if proof:
            sys.stdout.write(_proof(run, target, at) + "\n")
    if (target / TABLE).is_file():
        sys.stdout.write(f"next: load them as {target / TABLE} says, or launcher export {run.url} OTHER --merge\n")
        return
    sys.stdout.write("next: python -c \"from transformers import pipeline; "
                     f"print(pipeline('text-generation', '{target}')('Hello'))\"\n")


def export(run: RunDir, out: Path, parameters: int) -> str:
    """Copy a finished run's model to a directory and check it; return what to tell the person."""
    _copy(run, LocalStore(out))
    return _checked(out, parameters, "as many as the run wrote")


def export_step(run: RunDir, out: Path, step: int | None, *, merge: bool) -> tuple[str, int]:
    """Write a checkpoint's model to a directory; return what to tell the person, and the step. Default: the newest."""
    plan = read_plan(run)
    checkpoints = Checkpoints(run, plan.chain)
    committed = checkpoints.committed()
    if not committed:
        raise UserError(f"{run.url}: has no checkpoint yet, and a model only at its end (launcher status {run.url})")
    if step is not None and step not in committed:
        raise UserError(f"{run.url}: no checkpoint of step {step}; there are {', '.join(map(str, sorted(committed)))}")
    if merge and plan.adapter is None:
        raise UserError("--merge goes with adapters, and this run trained all weights; leave it out")
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # none is needed, and DeepSpeed would warn that there is none
    from launcher.runtime.checkpoint.exporting import export_checkpoint  # imports torch
    from launcher.runtime.checkpoint.weight_reader import WeightReader

    at = committed[0] if step is None else step
    try:
        written = export_checkpoint(plan, WeightReader(checkpoints, at), open_store(read_submission(run).cache),
                                    LocalStore(out), merge=merge)
    except Damaged as error:
        raise PlatformError(f"{checkpoints.url(at)}: {error}; nothing was written. launcher checkpoints "
                            f"{run.url} --verify says which ones are whole") from None
    return _checked(out, written.parameters, f"as in the checkpoint of step {at}"), at


def _checked(out: Path, parameters: int, why: str) -> str:
    from launcher.runtime.exported_model import check_model  # imports torch

    facts = check_model(out, parameters)
    return (f"{out}: {facts.parameters:,} parameters in {facts.tensors} tensors ({', '.join(facts.dtypes)}, "
            f"{facts.bytes / 1e6:,.1f} MB), none empty, {why}")


def _proof(run: RunDir, out: Path, step: int) -> str:
    """Measure the holdouts in plain transformers, and compare. Raises PlatformError where they differ."""
    command = [sys.executable, "-m", "launcher.runtime.checkpoint.proving", str(out), run.url, str(step)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise PlatformError(f"{out}: plain transformers cannot use it ({last}){NOT_KEPT}")
    said = json.loads(done.stdout.strip().rpartition("\n")[2])
    if not said["tied"]:
        raise PlatformError(f"{out}: its config ties the output to the embedding, but plain transformers loads two"
                            f"{NOT_KEPT}")
    # A loss that was not finite proves nothing, whatever is found.
    recorded = {name: loss for name, loss in said["recorded"].items() if loss}
    if not recorded:
        return f"proof   none: the run measured no holdout after step {step}"
    worst, apart = furthest(recorded, said["found"])
    if apart > AGREES[read_plan(run).export_dtype]:
        raise PlatformError(f"{out}: loads in plain transformers, but its loss on the holdout of {worst} is "
                            f"{said['found'][worst]:.6f} where the run measured {recorded[worst]:.6f}{NOT_KEPT}")
    losses = "  ".join(f"{name} {said['found'][name]:.4f}" for name in recorded)
    return f"proof   plain transformers measures the run's own holdout losses, to {apart:.1e}: {losses}"


def furthest(recorded: Mapping[str, float], found: Mapping[str, float]) -> tuple[str, float]:
    """Return the source whose loss is the furthest from what was recorded, and by which share of that."""
    apart = {name: abs(found[name] / loss - 1) for name, loss in recorded.items()}
    # NaN is above no bound, so it would pass for agreement.
    apart = {name: share if math.isfinite(share) else math.inf for name, share in apart.items()}
    worst = max(apart, key=lambda name: apart[name])
    return worst, apart[worst]


def _copy(run: RunDir, target: LocalStore) -> None:
    prefix = f"{run.MODEL}/"
    keys = sorted(run.store.list(prefix), key=lambda key: key.removeprefix(prefix) in LAST)
    for key in keys:
        size = run.store.size(key)
        pieces = (run.store.get_range(key, offset, CHUNK) for offset in range(0, size, CHUNK))
        target.put(key.removeprefix(prefix), pieces)

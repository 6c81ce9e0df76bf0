"""The body of `launcher export RUN OUT`: the run's model, copied and checked."""

import sys
from pathlib import Path

from launcher.cli.find_run import find_run
from launcher.core.errors import UserError
from launcher.storage.journal import read_journal
from launcher.storage.run_dir import RunDir
from launcher.storage.store import LocalStore

CHUNK = 64 * 2**20
LAST = ("config.json", "adapter_config.json")
"""What makes a model directory complete is copied last."""


def export_run(run: str, out: str) -> None:
    """Export a run by its directory or name, and print what was checked."""
    sys.stdout.write(export(find_run(run)[0], Path(out)) + "\n")


def export(run: RunDir, out: Path) -> str:
    """Copy a finished run's model to a directory and check it; return what to tell the person."""
    exported = [event for event in read_journal(run) if event["event"] == "exported"]
    if not exported:
        raise UserError(f"{run.url}: no model was exported yet; a run exports at its end (launcher status {run.url})")
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out}: is not empty; name a new directory")
    _copy(run, LocalStore(out))
    from launcher.runtime.exported_model import check_model  # imports torch

    facts = check_model(out, exported[-1]["parameters"])
    return (f"{out}: {facts.parameters:,} parameters in {facts.tensors} tensors ({', '.join(facts.dtypes)}, "
            f"{facts.bytes / 1e6:,.1f} MB), none empty, as many as the run wrote\n"
            "next: python -c \"from transformers import pipeline; "
            f"print(pipeline('text-generation', '{out}')('Hello'))\"")


def _copy(run: RunDir, target: LocalStore) -> None:
    prefix = f"{run.MODEL}/"
    keys = sorted(run.store.list(prefix), key=lambda key: key.removeprefix(prefix) in LAST)
    for key in keys:
        size = run.store.size(key)
        pieces = (run.store.get_range(key, offset, CHUNK) for offset in range(0, size, CHUNK))
        target.put(key.removeprefix(prefix), pieces)

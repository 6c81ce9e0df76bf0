"""Campaign: a toy run saves after every step; `launcher resume` goes on from each of them in a new process tree.

Each must end as the unbroken run: losses, learning rates, ledger digests, evaluations, weights and moments to the last
bit. What is run and compared is `tests.toy_run`. Resumable: what is in the results file is not done again. Usage:
python -m benchmarks.resume_everywhere
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import typer

from benchmarks.harness import RESULTS, save
from tests.toy_run import journal, launcher, resume, run_unbroken, told, write_recipe

NAME = "resume_everywhere"
PRECISIONS = ("fp32", "bf16")


def main() -> None:
    """Do what is missing, write after each, and fail at the first that differs."""
    file = RESULTS / f"{NAME}.json"
    done: dict[str, Any] = json.loads(file.read_text())["runs"] if file.exists() else {}
    for precision in PRECISIONS:
        with tempfile.TemporaryDirectory() as place:
            _campaign(Path(place), precision, done)


def _campaign(folder: Path, precision: str, done: dict[str, Any]) -> None:
    write_recipe(folder, precision)
    saved = run_unbroken(folder)
    mine = done.setdefault(precision, facts(folder) | {"resumes": []})
    for step in saved:
        if step in [each["step"] for each in mine["resumes"]]:
            continue
        start = time.monotonic()
        differing = resume(folder, step)
        mine["resumes"].append({"step": step, "same": not differing, "seconds": round(time.monotonic() - start, 1)})
        print(precision, mine["resumes"][-1], flush=True)
        save(NAME, {"runs": done})
        assert not differing, "\n".join(differing[:5])
    print(f"{precision}: {sum(each['same'] for each in mine['resumes'])} of {len(saved)} resumes the same")


def facts(folder: Path) -> dict[str, Any]:
    """Return where the unbroken run's borders are. Fails if its steps are not all saved, or dropout does nothing."""
    events = journal(folder / "whole")
    steps = [event for event in events if event["event"] == "step"]
    kinds = {event["step"]: event["kind"] for event in events if event["event"] == "checkpoint_committed"}
    assert list(kinds) == [event["step"] for event in steps]
    launcher(folder, "run", "toy.yaml", "--run-dir", "dry", "--without-ray", "--set", "model.init.attention_dropout=0")
    dry, whole = told(folder / "dry"), told(folder / "whole")
    assert all(dry[f"step {event['step']}"]["loss"] != whole[f"step {event['step']}"]["loss"] for event in steps)
    return {"steps": len(steps), "stage_ends": [step for step, kind in kinds.items() if kind in ("stage", "final")],
            "rows": {event["step"]: {name: part["rows"] for name, part in event["sources"].items()} for event in steps}}


if __name__ == "__main__":
    typer.run(main)

"""From the typed command to the first optimizer step of the quickstart, by phase; TRL under torchrun beside it.

Caches are warm on both sides: prepared data for launcher, a model directory with its tokenizer and imported bytecode
for TRL. The clock starts before the process is spawned and stops at the end of the first step.
"""

import json
import statistics
import tempfile
from pathlib import Path

import typer

from benchmarks.harness import journal, launcher, run, save, spread, torchrun

CONTESTANTS = ("launcher", "plain", "trl")


def warm_up(folder: Path) -> None:
    """Train the quickstart for three steps: fills the cache, and leaves the model directory that TRL starts from."""
    run(launcher("run", "quickstart", "--run-dir", "warm", "--cache", "cache", *short()), folder)


def short() -> list[str]:
    """Return overrides that leave three steps of the quickstart, and no evaluation before the first."""
    lengths = [f"--set=stages.{stage}.length.steps=1" for stage in range(3)]
    return [*lengths, "--set=evaluate.every=1000 steps"]


def launcher_start(name: str, folder: Path, number: int) -> dict[str, float]:
    """Start launcher once; return seconds to the first step, and the end of each phase."""
    run_dir = f"{name}{number}"
    extra = ["--without-ray"] if name == "plain" else []
    start = run(launcher("run", "quickstart", "--run-dir", run_dir, "--cache", "cache", *short(), *extra), folder)
    phases = journal(folder / run_dir, "startup_phases")[0]["phases"]
    first = journal(folder / run_dir, "step")[0]["time"] - start
    return {"first_step": first} | {f"{phase}_s": end - begin for phase, (begin, end) in phases.items()}


def trl_start(folder: Path, number: int) -> dict[str, float]:
    """Start TRL once on the same model and tokenizer, over texts of the quickstart's first source."""
    import launcher as package

    data = Path(package.__file__).parent / "quickstart/counting.jsonl"
    out = f"trl{number}.json"
    start = run(torchrun("trl_sft.py", "warm/model", str(data), out, "3", "128", "8"), folder)
    times = json.loads((folder / out).read_text())
    return {"first_step": times["steps"][0] - start, "entered_s": times["entered"] - start,
            "imports_s": times["imported"] - times["entered"], "model_and_data_s": times["train_begin"]
            - times["imported"], "engine_and_step_s": times["steps"][0] - times["train_begin"]}


def main(rounds: int = 5) -> None:
    """Run the rounds, rotating who goes first, and print medians."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTESTANTS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        warm_up(folder)
        for number in range(rounds):
            for who in (*CONTESTANTS[number % 3:], *CONTESTANTS[:number % 3]):
                start = trl_start(folder, number) if who == "trl" else launcher_start(who, folder, number)
                found[who].append(start)
                print(f"round {number + 1}: {who} {start['first_step']:.2f} s to the first step", flush=True)
    report(found)


def report(found: dict[str, list[dict[str, float]]]) -> None:
    """Print each contestant's phases, and the ratio to TRL of the same round."""
    for who, starts in found.items():
        print(f"\n{who}: {spread([start['first_step'] for start in starts])} s")
        for phase in starts[0]:
            if phase != "first_step":
                print(f"  {phase.removesuffix('_s'):18} {spread([start[phase] for start in starts])} s")
    ratios = {who: [mine["first_step"] / trl["first_step"] for mine, trl in zip(found[who], found["trl"], strict=True)]
              for who in ("launcher", "plain")}
    for who, values in ratios.items():
        print(f"{who} to trl: {spread(values)} (median {statistics.median(values):.2f})")
    print(save("start_up", {"rounds": found, "ratios_to_trl": ratios}))


if __name__ == "__main__":
    typer.run(main)

"""Options for speed beside the same training without: peak memory and step time, on this CPU.

Two workers train a model with a wide vocabulary, or a deeper one with a narrow vocabulary, with launcher's own model,
engine and loss (see memory_worker.py), whole and with each option. Contestants take turns within a round. Step times
are medians without the first two steps, in seconds that passed and in seconds of a worker's processor time, which says
more on a machine that is busy; the first step, which compiles, is told apart. Memory is the growth of a worker as
`benchmarks.memory` measures it, beside its closed form.

Usage: python -m benchmarks.speed [--rounds 3]
"""

import json
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from benchmarks.harness import save
from benchmarks.memory import MALLOC, MIB, measured, peak_of, predicted
from benchmarks.memory_cases import WORKERS, Case

WARM, STEPS = 2, 8
BASES = {"wide": Case("wide", "zero2", "fp32", 512, 2, steps=STEPS),
         "narrow": Case("28M", "zero2", "fp32", 256, 2, steps=STEPS)}
"""By the width of the vocabulary: 32,000 entries over 256 hidden units, and 8,000 over 512."""
OPTIONS: dict[str, dict[str, bool]] = {
    "whole": {}, "chunked": {"chunked": True}, "compiled": {"compiled": True},
    "chunked and compiled": {"chunked": True, "compiled": True}}


def one_round(cases: dict[str, Case], seconds: float) -> dict[str, dict[str, Any]]:
    """Train each case once; return what each took."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        phases = measured(list(cases.values()), folder, seconds, MALLOC)
        spent = {each.name: json.loads((folder / f"{each.name}.0.spent").read_text()) for each in cases.values()}
    return {name: {"peak": peak_of(phases[case.name]),
                   "first": spent[case.name][0][0],
                   "step": statistics.median(passed for passed, _ in spent[case.name][WARM:]),
                   "processor": statistics.median(busy for _, busy in spent[case.name][WARM:])}
            for name, case in cases.items()}


def row(name: str, case: Case, rounds: list[dict[str, dict[str, Any]]], whole: str) -> dict[str, Any]:
    """Return a contestant's figures over all rounds; ratios are within a round."""
    mine, other = [each[name] for each in rounds], [each[whole] for each in rounds]
    ratios = {kind: [a[kind] / b[kind] for a, b in zip(mine, other, strict=True)] for kind in ("step", "processor")}
    return {"case": name, "peak": max(each["peak"] for each in mine), "closed_form": predicted(case)[0],
            "first_step": [each["first"] for each in mine], "step": [each["step"] for each in mine],
            "processor": [each["processor"] for each in mine], "ratios": ratios}


def main(rounds: int = 3, seconds: float = 900.0) -> None:
    """Measure, print and write the results."""
    found: list[dict[str, Any]] = []
    for base, case in BASES.items():
        cases = {f"{base}, {name}": replace(case, **more) for name, more in OPTIONS.items()}
        all_rounds = [one_round(cases, seconds) for _ in range(rounds)]
        for name, each in cases.items():
            found.append(row(name, each, all_rounds, f"{base}, whole"))
            told = found[-1]
            print(f"{name:30} {told['peak'] / MIB:6.0f} MiB (closed form {told['closed_form'] / MIB:6.0f}), step "
                  f"{statistics.median(told['step']):6.2f} s, x{statistics.median(told['ratios']['step']):.2f}; of a "
                  f"processor x{statistics.median(told['ratios']['processor']):.2f}; first step "
                  f"{max(told['first_step']):.1f} s", flush=True)
    print(save("speed", {"workers": WORKERS, "rounds": rounds, "rows": found}))


if __name__ == "__main__":
    typer.run(main)

"""What the benchmarks share: running contestants, reading journals, and writing results with versions and machine."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "deepspeed", "transformers", "ray", "launcher")
# Longest that any one contestant may take; a hang is a failure of the benchmark, not a slow result.
LIMIT_S = 600


def environment() -> dict[str, str]:
    """Return the environment of every contestant: one thread a rank, no GPU, nothing fetched."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "DS_ACCELERATOR": "cpu",
            "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


def run(argv: Sequence[str], cwd: Path, **extra: str) -> float:
    """Run a contestant to its end; return the time it was started, UTC seconds. Raises with its output on failure."""
    start = time.time()
    done = subprocess.run(list(argv), cwd=cwd, env=environment() | extra, capture_output=True, text=True,
                          timeout=LIMIT_S, check=False)
    if done.returncode:
        said = done.stdout[-3000:] + done.stderr[-3000:]
        raise RuntimeError(f"{chr(32).join(argv)} ended with {done.returncode}:\n{said}")
    return start


def torchrun(script: str, *arguments: str) -> list[str]:
    """Return the command that starts a script on two ranks of this machine."""
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
            str(Path(__file__).parent / script), *arguments]


def launcher(*arguments: str) -> list[str]:
    """Return the command line of launcher in this environment."""
    return [sys.executable, "-m", "launcher.cli.main", *arguments]


def journal(run_dir: Path, event: str) -> list[dict[str, Any]]:
    """Return a run's events of one name."""
    lines = (run_dir / "journal.jsonl").read_text(encoding="utf-8").split("\n")
    events = [json.loads(line) for line in lines if line]
    return [line for line in events if line["event"] == event]


def between(times: Sequence[float], drop: int) -> list[float]:
    """Return seconds from each step's end to the next, the first `drop` left out: wall time, reporting included."""
    return [after - before for before, after in zip(times[drop:], times[drop + 1:], strict=False)]


def spread(values: Sequence[float]) -> str:
    """Return median and range as text."""
    return f"{statistics.median(values):.3f} ({min(values):.3f}-{max(values):.3f})"


def save(name: str, results: dict[str, Any], more_packages: Sequence[str] = ()) -> Path:
    """Write a benchmark's results beside what they were measured on."""
    cpu = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().split("\n")
           if line.startswith("model name")]
    versions = {package: version(package) for package in (*PACKAGES, *more_packages)}
    facts = {"measured": time.strftime("%Y-%m-%d"), "cpu": cpu[0] if cpu else "", "cores": os.cpu_count(),
             "python": platform.python_version(), "versions": versions}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(facts | results, indent=1) + "\n")
    return path

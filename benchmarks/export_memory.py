"""How much memory an export from a checkpoint needs: its peak above that of an idle process with the same imports.

Trains one step of a new model whose state is over 2 GB, with the shipped data, and exports it. Usage:
python -m benchmarks.export_memory
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import typer

from benchmarks.harness import environment, launcher, run, save

RECIPE = """\
name: large
model:
  init: {architecture: llama, hidden_size: 1024, intermediate_size: 2816, num_hidden_layers: 13,
         num_attention_heads: 8, num_key_value_heads: 8, tie_word_embeddings: false, vocab_size: 8000}
  tokenizer: {train: {vocab_size: 400}}
  precision: fp32
sequence_length: 64
sources: {sums: {path: package:quickstart/sums.jsonl}}
stages: [{name: one, length: {steps: 1}, mix: {sums: 1}, learning_rate: 1e-4}]
batch: {rows: 1}
cluster: {workers: 1}
"""
CHILD = """\
import os, resource, sys
os.environ["DS_ACCELERATOR"] = "cpu"
import launcher.cli.export
from pathlib import Path
from launcher.runtime.checkpoint import exporting, weight_reader
from launcher.runtime import exported_model
from launcher.storage.run_dir import RunDir
if sys.argv[1] == "export":
    print(launcher.cli.export.export_step(RunDir(sys.argv[2]), Path(sys.argv[3]), None, merge=False)[0])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def peak(*arguments: str) -> int:
    """Return the peak resident bytes of a child."""
    done = subprocess.run([sys.executable, "-c", CHILD, *arguments], env=environment(), capture_output=True, text=True,
                          check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return int(done.stdout.strip().rpartition("\n")[2])


def main() -> None:
    """Measure, print and write the results."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "large.yaml").write_text(RECIPE)
        run(launcher("run", "large.yaml", "--without-ray", "--cache", "cache"), here)
        listed = subprocess.run(launcher("checkpoints", "runs/large", "--json"), cwd=here, env=environment(),
                                capture_output=True, text=True, check=True)
        size = json.loads(listed.stdout)[-1]["bytes"]
        idle, exporting = peak("idle"), peak("export", str(here / "runs/large"), str(here / "out"))
    results = {"state_bytes": size, "idle_peak": idle, "export_peak": exporting, "share": (exporting - idle) / size}
    print(f"state {size / 2**30:.2f} GiB, idle {idle / 2**20:.0f} MiB, exporting {exporting / 2**20:.0f} MiB: "
          f"{results['share']:.1%} of the state above idle")
    print(save("export_memory", results))


if __name__ == "__main__":
    typer.run(main)

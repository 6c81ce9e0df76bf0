"""What a model forgets in three stages, and how much less with replay: the same run without it and with 10 %.

A small model learns from nothing: school mathematics, then medical questions, then questions about heart and lungs, on
the files of `--data` (gsm8k, medquad, medquad_heart_lung_blood). Each seed trains once without replay and once with a
tenth of each later stage's rows from the sources of the stages before; the rest is the same, the number of steps too.
The matrix has each source's holdout loss at the base and after each stage.
Resumable: what is in the results file is not done again, and a run that was cut off goes on.
Usage: python -m benchmarks.forgetting --data FOLDER [--seeds 3] [--folder WORK]
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import typer

from benchmarks.harness import RESULTS, journal, launcher, run, save
from launcher.core.forgetting import Matrix, matrix_of

NAME = "forgetting"
FILES = {"reasoning": "gsm8k.jsonl", "medicine": "medquad.jsonl", "cardiology": "medquad_heart_lung_blood.jsonl"}
REPLAY = {"no replay": "0%", "10 % replay": "10%"}
RECIPE = """
name: forgetting
model:
  init: {{architecture: llama, hidden_size: 96, intermediate_size: 256, num_hidden_layers: 2, num_attention_heads: 4,
         num_key_value_heads: 4, max_position_embeddings: 128, initializer_range: 0.1}}
  tokenizer: {{train: {{vocab_size: 2000}}}}
  precision: fp32
sequence_length: 128
sources:
  reasoning:  {{path: {reasoning}, holdout: 60, too_long: split}}
  medicine:   {{path: {medicine}, holdout: 60, too_long: split}}
  cardiology: {{path: {cardiology}, holdout: 20, too_long: split}}
stages:
  - {{name: reasoning, length: {{steps: {steps}}}, mix: {{reasoning: 1}}}}
  - {{name: medicine, length: {{steps: {steps}}}, mix: {{medicine: 1}}, replay: {replay}}}
  - {{name: cardiology, length: {{steps: {steps}}}, mix: {{cardiology: 1}}, replay: {replay}}}
learning_rate: 5e-3
schedule: {{kind: cosine, warmup: 10%, minimum: 10%}}
batch: {{rows: 12}}
checkpoint: {{every: 60s, keep: 1}}
cluster: {{workers: 2}}
seed: {seed}
"""


def train(data: Path, folder: Path, replay: str, seed: int, steps: int) -> Matrix:
    """Train, or go on with it, and return the matrix."""
    name = f"{replay.strip('%')}-{seed}"
    files = {source: (data / file).resolve() for source, file in FILES.items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(RECIPE.format(**files, replay=replay, seed=seed, steps=steps))
    run(launcher("run", f"{name}.yaml", "--run-dir", name, "--cache", str(folder / "cache"), "--without-ray"), folder)
    kinds = ("evaluation", "stage_started", "stage_ended")
    events = [event for kind in kinds for event in journal(folder / name, kind)]
    return matrix_of(sorted(events, key=lambda event: float(event["time"])))


def table(found: dict[str, dict[str, Any]]) -> str:
    """Return the means over seeds as a table: loss after each stage, and what was forgotten of the best."""
    lines = ["| holdout loss of | base | after reasoning | after medicine | after cardiology | forgotten |",
             "|---|---|---|---|---|---|"]
    for label, seeds in found.items():
        matrices = [Matrix.model_validate(each) for each in seeds.values()]
        for source in matrices[0].sources:
            losses = [fmean(matrix.borders[row].losses[source] or 0.0 for matrix in matrices) for row in range(4)]
            cells = " | ".join(f"{loss:.2f}" for loss in losses)
            lines.append(f"| {source}, {label} | {cells} | {_share(matrices, source)} |")
    return "\n".join(lines)


def _share(matrices: Sequence[Matrix], source: str) -> str:
    """Return by how much the last loss lies over the best, as mean and range over seeds."""
    shares = [100 * (matrix.forgotten()[source].relative or 0.0) for matrix in matrices]
    return f"{fmean(shares):.1f} % ({min(shares):.1f} to {max(shares):.1f})"


def transfers(found: dict[str, dict[str, Any]]) -> str:
    """Return backward and forward transfer, as means over seeds."""
    lines: list[str] = []
    for label, seeds in found.items():
        each = [Matrix.model_validate(matrix).transfer() for matrix in seeds.values()]
        backward, forward = ([getattr(one, name) or 0.0 for one in each] for name in ("backward", "forward"))
        lines.append(f"{label}: backward transfer {fmean(backward):+.3f}, forward transfer {fmean(forward):+.3f} "
                     f"({len(each)} seeds; of losses, sign turned: above 0 is better)")
    return "\n".join(lines)


def main(data: Annotated[Path, typer.Option(help="Where the three files are.")], seeds: int = 3, steps: int = 60,
         folder: Path | None = None) -> None:
    """Train what is missing, write after each run, and print the table."""
    file = RESULTS / f"{NAME}.json"
    known: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    found: dict[str, dict[str, Any]] = known.get("runs", {}) if known.get("steps") == steps else {}
    with tempfile.TemporaryDirectory() as temporary:
        for seed in range(seeds):
            for label, replay in REPLAY.items():
                each = found.setdefault(label, {})
                if str(seed) not in each:
                    each[str(seed)] = train(data, folder or Path(temporary), replay, seed, steps).model_dump()
                    print(save(NAME, {"steps": steps, "files": FILES, "runs": found}), label, seed, flush=True)
    print(table(found), transfers(found), sep="\n\n")


if __name__ == "__main__":
    typer.run(main)

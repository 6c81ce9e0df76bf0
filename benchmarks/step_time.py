"""Steady-state step time: DeepSpeed's tutorial loop, launcher's plain workers, and the same under Ray.

The same 2.6 M parameter Llama, 2 ranks, ZeRO-3, gloo, fp32, one row of 256 tokens a rank, one thread a rank. A step is
measured from the end of the one before, so reading rows, reporting and the journal are inside.
"""

import json
import random
import statistics
import tempfile
from pathlib import Path
from typing import Any

import typer
import yaml

from benchmarks.harness import between, journal, launcher, run, save, spread, torchrun

LENGTH, WARM = 256, 20
MODEL = {"architecture": "llama", "hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 2,
         "num_attention_heads": 8, "num_key_value_heads": 8, "max_position_embeddings": LENGTH, "vocab_size": 2000}
DS_CONFIG = {"train_micro_batch_size_per_gpu": 1, "gradient_accumulation_steps": 1, "train_batch_size": 2,
             "gradient_clipping": 1.0, "zero_optimization": {"stage": 3}, "zero_allow_untested_optimizer": True}


def write_inputs(folder: Path, steps: int) -> None:
    """Write a text source whose rows are full single documents, a recipe for it, and the raw loop's configuration."""
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(3000)]
    # Long documents: nearly every row is a full part of one, so no row has borders that the raw loop's have not.
    lines = (json.dumps({"text": " ".join(draw.choices(words, k=24_000))}) for _ in range(10))
    (folder / "words.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "zero3.json").write_text(json.dumps({"zero_optimization": {"stage": 3},
                                                   "zero_allow_untested_optimizer": True}))
    recipe = {"name": "step-time", "sequence_length": LENGTH, "batch": {"rows": 2}, "learning_rate": 1e-3,
              "deepspeed": "zero3.json", "micro_batch": 1, "cluster": {"workers": 2, "threads": 1},
              "model": {"init": MODEL, "tokenizer": {"train": {"vocab_size": 2000}}, "precision": "fp32"},
              "sources": {"words": {"path": "words.jsonl", "too_long": "split"}},
              "stages": [{"name": "only", "length": {"steps": steps}, "mix": {"words": 1}}]}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    raw = {"model": MODEL, "ds_config": DS_CONFIG, "rows": 1, "length": LENGTH, "steps": steps}
    (folder / "raw.json").write_text(json.dumps(raw))


def contestant(name: str, folder: Path, number: int) -> list[float]:
    """Run one contestant; return seconds of its steady steps."""
    if name == "raw":
        run(torchrun("raw_deepspeed.py", "raw.json", f"raw{number}.json"), folder)
        return between(json.loads((folder / f"raw{number}.json").read_text()), WARM)
    extra = ["--without-ray"] if name == "plain" else []
    run(launcher("run", "recipe.yaml", "--run-dir", f"{name}{number}", "--cache", "cache", *extra), folder)
    return between([event["time"] for event in journal(folder / f"{name}{number}", "step")], WARM)


def main(pairs: int = 5, steps: int = 240) -> None:
    """Run the rounds, alternating who goes first, and print medians and ratios."""
    rounds: list[dict[str, dict[str, float]]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder, steps)
        for number in range(pairs):
            order = ["raw", "plain", "ray"] if number % 2 == 0 else ["ray", "plain", "raw"]
            seconds = {who: contestant(who, folder, number) for who in order}
            rounds.append({who: {"median": statistics.median(values), "p10": statistics.quantiles(values, n=10)[0],
                                 "steps": len(values)} for who, values in seconds.items()})
            print(f"round {number + 1}: " + ", ".join(f"{who} {rounds[-1][who]['median']:.4f} s" for who in
                                                      ("raw", "plain", "ray")), flush=True)
    report(rounds)


def report(rounds: list[dict[str, dict[str, float]]]) -> None:
    """Print and save the ratios to the raw loop of the same round."""
    ratios: dict[str, Any] = {}
    for who in ("plain", "ray"):
        for kind in ("median", "p10"):
            ratios[f"{who}/{kind}"] = [entry[who][kind] / entry["raw"][kind] for entry in rounds]
            print(f"{who:6} {kind:7} ratio to raw: {spread(ratios[f'{who}/{kind}'])}")
    print(save("step_time", {"rounds": rounds, "ratios": ratios}))


if __name__ == "__main__":
    typer.run(main)

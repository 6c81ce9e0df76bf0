"""Which documents share a row: 10 million lengths on one core, beside TRL's packer on a part of them.

Lengths are log-normal (median 350, sigma 1, at most 4096). TRL packs through `datasets.map`, which moves tokens too; so
that only the packing counts, its documents have the right lengths and one column of tokens, and a map that does nothing
with them is timed beside it. Seconds are of the one core that the process is bound to, so other work on the machine
hardly counts.
"""

import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

# One core for every contestant: before numpy and torch are loaded.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1",
               "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}

import numpy as np
import typer

from benchmarks.harness import save, spread
from launcher.core.packing import pack

CAPACITY, MEDIAN, SIGMA = 4096, 350, 1.0
MOST_SECONDS, LEAST_FILL = 3.0, 0.999


def draw(count: int, seed: int) -> np.ndarray:
    lengths = np.random.default_rng(seed).lognormal(np.log(MEDIAN), SIGMA, count)
    return np.clip(lengths, 1, CAPACITY).astype(np.int32)


def ours(lengths: np.ndarray) -> dict[str, float]:
    begin = time.process_time()
    packing = pack(lengths, CAPACITY)
    seconds = time.process_time() - begin
    return {"seconds": seconds, "rows": packing.rows, "fill": float(lengths.sum() / (packing.rows * CAPACITY))}


def trl(lengths: np.ndarray, folder: Path) -> dict[str, float]:
    """Pack with TRL's default strategy, best fit decreasing within each thousand documents."""
    import pyarrow as pa
    from datasets import Dataset
    from trl import pack_dataset

    # Arrow lists of 32-bit offsets hold two billion tokens; a million documents are a quarter of that.
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    tokens = pa.ListArray.from_arrays(offsets, pa.array(np.zeros(int(lengths.sum()), np.int32)))
    documents = Dataset(pa.table({"input_ids": tokens}))
    begin = time.process_time()
    arrow = documents.with_format("arrow")
    copied = arrow.map(lambda table: table, batched=True, cache_file_name=str(folder / "copy.arrow"))
    copy_seconds = time.process_time() - begin
    begin = time.process_time()
    packed = pack_dataset(documents, CAPACITY, "bfd", map_kwargs={"cache_file_name": str(folder / "packed.arrow")})
    seconds = time.process_time() - begin
    assert len(copied) == len(lengths)
    return {"seconds": seconds, "copy_seconds": copy_seconds, "rows": len(packed),
            "fill": float(lengths.sum() / (len(packed) * CAPACITY))}


def main(rounds: int = 5, count: int = 10_000_000, beside: int = 1_000_000, seed: int | None = None) -> None:
    """Run the rounds, alternating who goes first, and print medians. Exits 1 if ours is too slow or wastes too much."""
    seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    print(f"seed {seed}: {count:,} lengths, {beside:,} of them for TRL", flush=True)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    lengths = draw(count, seed)
    found: dict[str, list[dict[str, float]]] = {"launcher": [], "launcher, as many as TRL": [], "trl": []}
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as name:
            steps = [("launcher", lambda: ours(lengths)), ("launcher, as many as TRL", lambda: ours(lengths[:beside])),
                     ("trl", lambda: trl(lengths[:beside], Path(name)))]
            for who, step in steps if number % 2 == 0 else reversed(steps):
                found[who].append(step())
                print(f"round {number + 1}: {who} {found[who][-1]['seconds']:.3f} s", flush=True)
    report(found, seed, count, beside)


def report(found: dict[str, list[dict[str, float]]], seed: int, count: int, beside: int) -> None:
    for who, rounds in found.items():
        print(f"{who:26} {spread([each['seconds'] for each in rounds])} s, fill {rounds[0]['fill']:.4%}, "
              f"{rounds[0]['rows']:,.0f} rows")
    pairs = list(zip(found["trl"], found["launcher, as many as TRL"], strict=True))
    ratios = [theirs["seconds"] / mine["seconds"] for theirs, mine in pairs]
    print(f"TRL to launcher, as many: {spread(ratios)}; without the copy "
          f"{spread([(theirs['seconds'] - theirs['copy_seconds']) / mine['seconds'] for theirs, mine in pairs])}")
    results: dict[str, Any] = {"seed": seed, "lengths": count, "lengths_for_trl": beside, "capacity": CAPACITY,
                               "rounds": found, "trl_to_launcher": ratios}
    print(save("packing", results, ("numpy", "trl", "datasets")))
    kept = all(each["seconds"] < MOST_SECONDS and each["fill"] >= LEAST_FILL for each in found["launcher"])
    raise SystemExit(0 if kept else 1)


if __name__ == "__main__":
    typer.run(main)

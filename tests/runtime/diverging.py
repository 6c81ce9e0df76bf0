"""Runs in which chosen rows throw the numbers off, really and every time: by two tokens that no other row has.

The embedding of one is infinite, so that loss and gradient of its step are not finite. That of the other is zero, where
the norm layer behind it multiplies gradients by 1 / sqrt(eps): its step has a gradient norm far above all others.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file, save_file

from launcher.core.mixing import locate
from launcher.core.recipe import ModelChoice
from launcher.core.run_plan import RunPlan
from launcher.data.keys import split_key, stored_index, tokens_key
from launcher.storage.store import LocalStore
from tests.runtime.tiny import make_plan, write_model, write_source

INFINITE, STEEP = 3, 2
EPSILON = 1e-10


def diverging_plan(folder: Path, bad: dict[int, int], *, stage_rows: tuple[int, ...] = (140,), rows_per_step: int = 4,
                   precision: str = "fp32") -> RunPlan:
    """Prepare a model and data of which the first row of some steps has a bad token, and plan one epoch at most."""
    cache = LocalStore(folder / "cache")
    indexes = [write_source(cache, name, 600, seed) for seed, name in enumerate(("sums", "words"))]
    _spoil(write_model(folder / "base"))
    model = ModelChoice.model_validate({"path": str(folder / "base"), "precision": precision, "attention": "eager"})
    plan = make_plan(indexes, model, rows_per_step=rows_per_step, stage_rows=stage_rows)
    assert plan.rows <= min(source.rows for source in plan.sources.values()), "each row is there once"
    for step, token in bad.items():
        _plant(cache, plan, step, token)
    return plan


def _spoil(base: Path) -> None:
    weights = load_file(base / "model.safetensors")
    weights["model.embed_tokens.weight"][INFINITE] = float("inf")
    weights["model.embed_tokens.weight"][STEEP] = 0.0
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    config: dict[str, Any] = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "rms_norm_eps": EPSILON}))


def _plant(cache: LocalStore, plan: RunPlan, step: int, token: int) -> None:
    """Make a token the first of the first document in the first row of a step; it is only read, never learnt."""
    stage, lengths = plan.stage_of(step), {name: source.rows for name, source in plan.sources.items()}
    place = locate(stage, plan.rows_of(step)[0], lengths, plan.seed)
    fingerprint = stored_index(cache, plan.sources[place.source].fingerprint).fingerprint
    row_documents, offsets = (np.load(cache.local(split_key(fingerprint, "train", name)))
                              for name in ("row_documents", "document_offsets"))
    tokens = np.memmap(cache.local(tokens_key(fingerprint)), "<i4", mode="r+")
    tokens[offsets[row_documents[place.index]]] = token
    tokens.flush()

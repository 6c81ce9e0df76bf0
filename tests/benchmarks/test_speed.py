"""What the benchmarks of options for speed say stays true of the closed form, and is what is claimed."""

import json

import pytest

from benchmarks.harness import RESULTS
from launcher.core.memory_chunks import CPU_HEADS, chunk_of

LAYERS = json.loads((RESULTS / "speed_layers.json").read_text())["seconds"]
ROWS = json.loads((RESULTS / "speed_head.json").read_text())["rows"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['dtype']}, {row['words']} words")
def test_the_loss_by_chunks_takes_what_the_closed_form_says(row):
    logits = 4 * chunk_of(row["tokens"], row["hidden"], row["words"]) * row["words"]
    heads = 0 if row["dtype"] == "float32" else CPU_HEADS * 4 * row["hidden"] * row["words"]
    gradients = row["weights"] + row["weights"] // row["words"] * row["tokens"]  # Of the head and of what it is given.
    assert row["peak"]["chunked"] == pytest.approx(logits + heads + gradients, rel=0.05)


def test_in_fp32_it_takes_a_third_of_the_memory_and_at_most_half_as_long_again():
    for row in ROWS:
        if row["dtype"] == "float32":
            assert row["peak"]["chunked"] < row["peak"]["whole"] / 3
            assert row["seconds"]["chunked"] < 1.5 * row["seconds"]["whole"]


def test_compiled_layers_take_less_than_those_that_are_not():
    assert LAYERS["compiled"] < 0.95 * LAYERS["as written"]

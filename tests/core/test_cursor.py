"""Where a run is follows from its step alone, however far it is."""

import time

import pytest

from launcher.core.cursor import Cursor, cursor_after
from launcher.core.mixing import locate
from launcher.core.planning import plan
from launcher.core.run_plan import RunPlan
from tests.core.planned import TEMPLATE, prepared, recipe

ROWS = {"a": 5_000_000, "b": 700_000}


def two_stages(steps: int) -> RunPlan:
    stages = [{"name": "one", "length": {"steps": steps}, "mix": {"a": 2, "b": 1}},
              {"name": "two", "length": {"steps": 3}, "mix": {"b": 1}, "replay": "20%"}]
    return plan(recipe({"a": {}, "b": {}}, stages), prepared(ROWS), TEMPLATE)


def test_the_cursor_counts_every_row_once_over_stages():
    made = two_stages(5)
    assert cursor_after(made, 0) == Cursor()
    rows = 0
    for step in range(1, made.steps + 1):
        rows += len(made.rows_of(step))
        assert cursor_after(made, step) == Cursor(step=step, segment=0, rows=rows)


@pytest.mark.parametrize("step", [10, 10_000_000])
def test_finding_the_place_again_costs_nothing(step):
    made = two_stages(20_000_000)
    begin = time.perf_counter()
    cursor = cursor_after(made, step)
    places = [locate(made.stage_of(step + 1), row, ROWS, made.seed) for row in made.rows_of(step + 1)]
    seconds = time.perf_counter() - begin
    print(f"at step {step}: {seconds * 1000:.2f} ms")
    assert seconds < 1 and cursor.rows == step * 6 and len(places) == 6

"""A plan's chain changes with what is trained, and with nothing else."""

import pytest

from launcher.core.amending import amend
from launcher.core.recipe_speed import Speed
from launcher.core.run_plan import RunPlan
from tests.core.planned import planned

STAGES = [{"length": {"steps": 3}, "mix": {"a": 1}}, {"length": {"steps": 4}, "mix": {"a": 1, "b": 1}}]
PLAN = planned({"a": 40, "b": 30}, STAGES)


def test_the_same_recipe_has_the_same_chain():
    assert planned({"a": 40, "b": 30}, STAGES).chain() == PLAN.chain()


@pytest.mark.parametrize("change", [
    {"learning_rate": 2e-3}, {"name": "other"}, {"mix": {"a": 1, "b": 2}}, {"length": {"steps": 5}}, {"replay": 0.5},
])
def test_another_stage_is_another_chain(change):
    assert planned({"a": 40, "b": 30}, [STAGES[0], {**STAGES[1], **change}]).chain() != PLAN.chain()


@pytest.mark.parametrize("change", [{"seed": 1}, {"sequence_length": 101}, {"batch": {"rows": 7}}])
def test_another_run_is_another_chain(change):
    assert planned({"a": 40, "b": 30}, STAGES, **change).chain() != PLAN.chain()


def test_options_for_speed_are_in_a_plan_and_its_chain_where_they_are_asked_for_and_nowhere_else():
    written = PLAN.model_dump(mode="json")
    assert "speed" not in written["model"]
    faster = PLAN.model.model_copy(update={"speed": Speed(chunked_cross_entropy=True)})
    changed = RunPlan.from_json(PLAN.model_copy(update={"model": faster}).to_json())
    assert changed.model.speed.chunked_cross_entropy and changed.chain() != PLAN.chain()
    assert RunPlan.from_json(PLAN.to_json()) == PLAN
    # As attention and gradient checkpointing: the arithmetic is another one, so a run that has begun keeps its own.
    with pytest.raises(ValueError, match=r"model\.speed: was absent, is now"):
        amend(PLAN, changed, 0)


def test_other_data_is_another_chain():
    sources = {**PLAN.sources, "b": PLAN.sources["b"].model_copy(update={"fingerprint": "changed"})}
    assert PLAN.model_copy(update={"sources": sources}).chain() != PLAN.chain()


def test_when_to_evaluate_changes_nothing():
    assert PLAN.model_copy(update={"evaluate_every": 2, "export_dtype": "bf16"}).chain() == PLAN.chain()


def test_each_step_belongs_to_one_stage_and_each_row_to_one_step():
    rows = [(PLAN.stage_of(step).name, row) for step in range(1, PLAN.steps + 1) for row in PLAN.rows_of(step)]
    assert rows == [(stage.name, row) for stage in PLAN.stages for row in range(stage.rows)]
    with pytest.raises(IndexError):
        PLAN.stage_of(PLAN.steps + 1)

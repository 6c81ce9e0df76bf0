"""Where a new engine begins, what its parameters have behind them, and what a run may still change of it."""

import pytest

from launcher.core.amending import amend, amended
from launcher.core.attempt import Cluster, Node
from launcher.core.attempt_planning import at_segment, plan_attempt, segment_at
from launcher.core.document import fingerprint
from launcher.core.forecast import forecast
from launcher.core.known import Known, known_again
from launcher.core.lineage import lineage, needs_base
from launcher.core.mixing import rows_by_source
from launcher.core.model_names import parameter_names
from launcher.core.planning import plan
from launcher.core.policies import lengths_of
from launcher.core.recipe_running import ClusterWish
from launcher.core.run_plan import RunPlan
from launcher.core.shifting import cut_after, with_stages
from launcher.core.stage_adapters import folder_of, names_in, names_of
from launcher.core.stage_rules import rules_of
from launcher.core.trainable import Globs, StageAdapter, Top, chosen, distances
from tests.core.planned import TEMPLATE, planned, prepared, recipe

MODEL = {"init": {"architecture": "llama", "num_hidden_layers": 3}, "tokenizer": {"train": {}}}
NAMES = parameter_names(MODEL["init"]) or ()
ZERO2 = {"zero_optimization": {"stage": 2}}


def stage(steps, **more):
    return {"length": {"steps": steps}, "mix": {"a": 1}, **more}


def made(*stages, **more) -> RunPlan:
    return planned({"a": 40}, list(stages), **{"model": MODEL, **more})


def spans(run: RunPlan):
    return [(segment.first_step, segment.last_step, segment.trainable) for segment in run.segments]


def test_layers_join_from_the_top_every_so_many_steps_and_the_embeddings_last():
    run = made(stage(2), stage(20, unfreeze={"every": "5 steps", "layers": 2}))
    assert spans(run) == [(1, 2, "all"), (3, 7, Top(top=2)), (8, 12, Top(top=3)), (13, 22, "all")]
    assert run.layers == 3 and [segment.index for segment in run.segments] == [0, 1, 2, 3]


def test_stages_with_one_engine_are_one_segment():
    run = made(stage(2), stage(3, batch={"rows": 2}, optimizer={"state": "reset"}), stage(3, trainable="lm_head"),
               stage(1, trainable=["lm_head"]))
    assert spans(run) == [(1, 5, "all"), (6, 9, Globs(globs=("lm_head",)))]
    assert [run.batch_of(each) for each in run.stages] == [6, 2, 6, 6] and run.stages[1].rows == 6


def test_a_recipes_patterns_hold_where_a_stage_says_nothing():
    run = made(stage(2), stage(3, trainable="all"), trainable=["model.norm"])
    assert spans(run) == [(1, 2, Globs(globs=("model.norm",))), (3, 5, "all")]


def test_rates_by_depth_have_an_engine_of_their_own():
    run = made(stage(2), stage(2, optimizer={"layer_decay": 0.5}), stage(2, optimizer={"layer_decay": 0.7}))
    assert [(segment.first_step, segment.by_depth) for segment in run.segments] == [(1, False), (3, True)]


def test_distances_count_from_the_top():
    found = distances(NAMES)
    assert (found["lm_head.weight"], found["model.norm.weight"], found["model.embed_tokens.weight"]) == (0, 0, 4)
    assert [found[f"model.layers.{layer}.mlp.up_proj.weight"] for layer in range(3)] == [3, 2, 1]


def test_a_pattern_names_parameters_and_modules():
    assert chosen(NAMES, Globs(globs=("lm_head", "*.1.mlp"))) == {
        "lm_head.weight", *(f"model.layers.1.mlp.{name}_proj.weight" for name in ("gate", "up", "down"))}


def test_the_optimizer_has_a_group_for_each_history():
    run = made(stage(9, unfreeze={"every": "2 steps", "layers": 1}), stage(2, trainable=["model.layers.2", "lm_head"]),
               stage(2, optimizer={"layer_decay": 0.5}))
    second, parked, last = (lineage(run, run.segments[index], NAMES) for index in (1, 4, 5))
    assert set(second.groups.values()) == {(0, 0), (0, 1)}
    assert set(second.trained) == chosen(NAMES, Top(top=2)) and second.before == chosen(NAMES, Top(top=1))
    assert set(parked.parked) == set(NAMES) - set(parked.trained) and not parked.drawn
    top, below = (last.groups[f"model.layers.{layer}.mlp.up_proj.weight"] for layer in (2, 1))
    assert (top[0], below[0]) == (1, 2) and top[1] != below[1]
    # Before the segment's own first step a checkpoint holds what the ones before trained.
    assert second.held(run, run.segments[1], 2) == second.before.union(second.drawn)
    assert second.held(run, run.segments[1], 3) == second.before.union(second.trained, second.drawn)
    assert second.held(run, run.segments[1], None) == set()


def test_of_a_base_what_is_never_trained_is_not_saved():
    run = planned({"a": 40}, [stage(2, trainable="lm_head")], model={"path": "m"})
    assert needs_base(run) and lineage(run, run.segments[0], NAMES).drawn == ()
    assert not needs_base(planned({"a": 40}, [stage(2)], model={"path": "m"}))


LORA = {"model": {"path": "base"}, "adapter": {"rank": 2, "per_stage": "merged"}}
ADAPTERS = [f"m.lora_{part}.stage{number}.weight" for part in "AB" for number in (0, 1, 10)]


def test_each_stage_trains_an_adapter_of_its_own_and_those_before_are_parked():
    run = made(*(stage(2) for _ in range(3)), **LORA)
    assert spans(run) == [(1, 2, StageAdapter(of_stage=0)), (3, 4, StageAdapter(of_stage=1)),
                          (5, 6, StageAdapter(of_stage=2))]
    assert [len(names_in(segment)) for segment in run.segments] == [1, 2, 3] and needs_base(run)
    names = ["m.weight", "stage1.weight", *ADAPTERS]
    assert names_of(names) == ("stage0", "stage1", "stage10")
    line = lineage(run, run.segments[1], names)
    assert line.trained == ("m.lora_A.stage1.weight", "m.lora_B.stage1.weight") and line.drawn == ()
    assert line.parked == ("m.lora_A.stage0.weight", "m.lora_B.stage0.weight")
    assert set(line.groups.values()) == {(0, 0)} and line.held(run, run.segments[1], 2) >= set(line.parked)
    assert folder_of(run, "stage2") == f"{run.stages[2].name}/" and folder_of(run, "default") == ""
    assert RunPlan.from_json(run.to_json()) == run


def test_a_stage_that_ends_early_or_is_done_again_keeps_its_adapter():
    run = made(*(stage(4) for _ in range(3)), **LORA)
    cut = cut_after(run, 1, 6)
    assert spans(cut) == [(1, 4, StageAdapter(of_stage=0)), (5, 6, StageAdapter(of_stage=1)),
                          (7, 10, StageAdapter(of_stage=2))]
    more = made(*(stage(4) for _ in range(4)), **LORA)
    change = amend(run, more, run.steps)
    assert change is not None and amended(run, [change]) == more and more.chain(12) == run.chain()
    again = with_stages(run, [each.model_copy(update={"repeat": int(each.index == 1)}) for each in run.stages])
    assert spans(again) == spans(run) and again.chain(4) == run.chain(4) != run.chain(5)


def test_a_stage_that_has_begun_keeps_its_schedule_of_unfreezing():
    before = made(stage(20, unfreeze={"every": "5 steps"}), stage(2))
    other = made(stage(20, unfreeze={"every": "6 steps"}), stage(2))
    with pytest.raises(ValueError, match=r"stages\.0\.unfreeze\.every: was 5, is now 6"):
        amend(before, other, 3)
    assert amend(before, other, 0) is not None


def test_a_finished_run_goes_on_with_other_engines():
    stages = [stage(4), stage(3, trainable=["lm_head"], deepspeed="mine"), stage(2)]
    known = Known(templates={"mine": ZERO2})
    before = made(stages[0])
    after = plan(recipe({"a": None}, stages, model=MODEL), prepared({"a": 40}), TEMPLATE, known=known)
    change = amend(before, after, before.steps)
    assert change is not None and amended(before, [change]) == after
    again = RunPlan.from_json(amended(before, [change]).to_json())
    assert again == after and again.chain(4) == before.chain(4)
    assert known_again(after, recipe({"a": None}, stages, model=MODEL)).templates == {"mine": ZERO2}
    assert [after.template_of(segment) for segment in after.segments] == [TEMPLATE, ZERO2, TEMPLATE]
    cluster = Cluster(nodes=(Node(name="n", address="", slots=2),))
    first = plan_attempt(after, ClusterWish(workers=2), cluster, attempt=1, micro_batch="auto", device="cpu",
                         resume=None)
    second = at_segment(after, first, 4, "auto")
    assert [each.ds_config["zero_optimization"]["stage"] for each in (first, second)] == [3, 2]
    assert [segment_at(after, step).index for step in (None, 3, 4, 7, 9)] == [0, 0, 1, 2, 2]


def test_a_template_of_its_own_that_is_the_runs_is_no_other_engine():
    run = plan(recipe({"a": None}, [stage(2), stage(2, deepspeed="same")], model=MODEL), prepared({"a": 40}), TEMPLATE,
               known=Known(templates={"same": TEMPLATE}))
    assert len(run.segments) == 1 and not run.ds_templates and run.segments[0].deepspeed == fingerprint(TEMPLATE)


def lengths(stages, limits=None, sizes=(40, 10)) -> RunPlan:
    """Return the plan of stages in which rows of 400 hold what four of 100 do."""
    found = prepared({"a": sizes[0]})
    longer = prepared({"a": (sizes[1], sizes[0] * 100)}).sources
    return plan(recipe({"a": limits}, stages, model=MODEL),
                found.model_copy(update={"lengths": {400: longer}}), TEMPLATE)


def test_rows_of_another_length_are_other_rows_with_epochs_of_their_own():
    epoch = {"length": {"epochs": 1}, "mix": {"a": 1}}
    run = lengths([epoch, {**epoch, "sequence_length": 400}, epoch, {**epoch, "sequence_length": 400}])
    assert [each.rows for each in run.stages] == [40, 10, 40, 10]
    assert [each.consumed_before["a"] for each in run.stages] == [0, 0, 40, 10]
    assert [segment.sequence_length for segment in run.segments] == [100, 400, 100, 400]
    assert forecast(run).sources["a"].epochs == 4 and forecast(run).tokens == 4 * 4000


def test_a_gate_that_repeats_a_stage_replays_rows_of_its_length():
    stages = [stage(3), {**stage(3), "mix": {"b": 1}, "sequence_length": 400,
                         "forget": {"a": "5%", "action": "repeat"}}]
    asked = recipe({name: {"holdout": 0.1} for name in "ab"}, stages, model=MODEL)
    assert lengths_of(asked) == {400: ("b", "a")}
    found = prepared({"a": 40, "b": 40}, holdout=4)
    longer = prepared({"a": (10, 4000), "b": (10, 4000)}, holdout=1).sources
    found = found.model_copy(update={"lengths": {400: longer}})
    again = rules_of(asked, found, TEMPLATE)["s1"].repeats[0]
    assert rows_by_source(again) == {"a": 2, "b": 16} and plan(asked, found, TEMPLATE).lengths[400].keys() == {"a", "b"}



@pytest.mark.parametrize("limits", [{"max_epochs": 1.5}, {"max_tokens": 6000}])
def test_limits_hold_over_all_lengths(limits):
    once = {"length": {"until": "first_exhausted"}, "mix": {"a": 1}}
    run = lengths([{"length": {"epochs": 1}, "mix": {"a": 1}, "batch": {"rows": 2}},
                   {**once, "sequence_length": 400, "batch": {"rows": 1}}], limits)
    assert [rows_by_source(each)["a"] for each in run.stages] == [40, 5]


def test_a_batch_in_tokens_has_fewer_rows_where_they_are_longer():
    run = plan(recipe({"a": None}, [stage(2), stage(2, sequence_length=400)], model=MODEL, batch={"tokens": 800}),
               prepared({"a": 40}).model_copy(update={"lengths": {400: prepared({"a": (10, 4000)}).sources}}), TEMPLATE)
    assert [run.batch_of(each) for each in run.stages] == [8, 2] and run.rows == 20
    assert [len(run.rows_of(step)) for step in range(1, 5)] == [8, 8, 2, 2]

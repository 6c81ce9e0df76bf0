"""Gates, early stopping and keep-best against cases computed by hand, and the plans that their amendments make."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.core.amending import amend, amended, asked_otherwise, carried
from launcher.core.amendment import EndStage, RepeatStage, amendment_from_json
from launcher.core.errors import Unplannable
from launcher.core.events import SourceLoss
from launcher.core.forecast import forecast
from launcher.core.mixing import locate, rows_by_source
from launcher.core.schedule import learning_rate
from launcher.core.stage_rules import StageRules, rules_of
from launcher.core.standing import Standing
from launcher.core.verdicts import amendment_for, saved_steps, verdict_after
from tests.core.planned import TEMPLATE, planned, prepared, recipe

SIZES = {"a": 400, "b": 300, "c": 90}
STAGES = [{"length": {"steps": 20}, "mix": {"a": 1}}, {"length": {"steps": 20}, "mix": {"b": 1}, "replay": 0.1},
          {"length": {"steps": 10}, "mix": {"c": 1}}]
PLAN = planned(SIZES, STAGES, evaluate={"every": "2 steps"})


def rules(**stages):
    """Return the rules of stages by their fields; the sources' mixes are those of the recipe."""
    mixes = {"s0": ("a",), "s1": ("b",), "s2": ("c",)}
    return {name: StageRules.model_validate({"mix": mix, **stages.get(name, {})}) for name, mix in mixes.items()}


def loss(value):
    return SourceLoss(loss=value, supervised_tokens=9)


def follow(told, measured, plan=PLAN, standing=None):
    """Return how the run stands after evaluations, (step, losses) in order, and every verdict on the way."""
    standing, verdicts = standing or Standing(), []
    for step, losses in measured:
        standing = standing.after(plan, told, step, {name: loss(value) for name, value in losses.items()})
        verdicts.append(verdict_after(plan, told, standing, step))
    return standing, verdicts


def series(values, source="a", first=2, every=2):
    return [(first + every * number, {source: value}) for number, value in enumerate(values)]


def test_a_stage_ends_after_three_evaluations_without_a_better_one():
    told = rules(s0={"early_stopping": {"source": "a", "patience": 3}})
    #            best                  1    2    better 1    2    3
    losses = [3.0, 2.0, 2.1, 2.0, 1.9, 1.9, 2.5, 1.95]
    standing, verdicts = follow(told, series(losses))
    assert [verdict is not None for verdict in verdicts] == [False] * 7 + [True]
    ended = verdicts[-1]
    assert (ended.action, ended.step, ended.go_on) == ("end", 16, 16)
    assert "a did not get better than the loss of 1.9000 after step 10 in 3 evaluations" in ended.reason
    assert standing.patience.since == 3


def test_what_is_better_by_less_than_the_least_difference_does_not_count():
    told = rules(s0={"early_stopping": {"source": "a", "patience": 2, "min_delta": 0.1}})
    _, verdicts = follow(told, series([2.0, 1.85, 1.81, 1.0]))
    assert [verdict and verdict.step for verdict in verdicts] == [None, None, 6, None]
    _, verdicts = follow(told, series([2.0, 1.85, 1.79, 1.7]))
    assert verdicts == [None] * 4, "1.79 is a tenth below 2.0"


def test_a_stage_that_ends_early_with_keep_best_goes_on_from_its_best():
    told = rules(s0={"early_stopping": {"source": "a", "patience": 2, "min_delta": 0.1}, "keep_best": "a"})
    _, verdicts = follow(told, series([2.0, 1.95, 1.99]))
    assert (verdicts[-1].step, verdicts[-1].go_on) == (6, 4), "better by little is better for keep-best"
    assert "the run goes on from the stage's lowest loss on a, 1.9500 after step 4" in verdicts[-1].reason


def test_at_the_stages_end_the_run_goes_on_from_its_best():
    told = rules(s0={"keep_best": "a"})
    measured = series([3.0, 2.0, 2.5, 2.6, 2.2, 2.2, 2.2, 2.2, 2.2, 2.2])
    _, verdicts = follow(told, measured)
    assert verdicts[:-1] == [None] * 9 and (verdicts[-1].step, verdicts[-1].go_on) == (20, 4)
    _, verdicts = follow(told, [*measured[:-1], (20, {"a": 1.9})])
    assert verdicts == [None] * 10, "the end is the best"


def test_evaluations_that_are_made_for_scores_alone_try_nobodys_patience():
    told = rules(s0={"early_stopping": {"source": "a", "patience": 2}, "keep_best": "a"})
    #           due       for scores  due       for scores  due
    measured = [(2, 2.0), (3, 1.0), (4, 2.1), (5, 2.2), (6, 2.3)]
    standing, verdicts = follow(told, [(step, {"a": value}) for step, value in measured])
    assert [verdict and verdict.step for verdict in verdicts] == [None, None, None, None, 6]
    assert (standing.best.step, verdicts[-1].go_on) == (2, 2)


def test_what_a_stage_before_was_like_does_not_count():
    told = rules(s1={"early_stopping": {"source": "a", "patience": 2}, "keep_best": "a"})
    standing, verdicts = follow(told, [*series([1.0] * 10), *series([2.0, 1.9, 1.95], first=22)])
    assert verdicts == [None] * 13 and standing.best.loss == 1.9 and standing.stage == 1


def test_a_loss_that_is_not_finite_is_no_better_one():
    told = rules(s0={"early_stopping": {"source": "a", "patience": 2}, "keep_best": "a"})
    _, verdicts = follow(told, series([2.0, None, None]))
    assert (verdicts[-1].action, verdicts[-1].go_on) == ("end", 2)
    _, verdicts = follow(told, series([None, None, None]))
    assert verdicts[-1].go_on == 6, "there is nothing to go back to"


def test_an_evaluation_that_is_done_again_changes_nothing():
    told = rules(s0={"early_stopping": {"source": "a", "patience": 2}})
    standing, _ = follow(told, series([2.0, 2.1, 2.2]))
    again = standing.after(PLAN, told, 6, {"a": loss(1.0)})
    assert again == standing and verdict_after(PLAN, told, again, 6).action == "end"


GATED = [(0, {"a": 4.0, "b": 5.0}), (20, {"a": 2.0, "b": 4.8}), (40, {"a": 2.16, "b": 1.0})]
"""After s1 a is 8 % over its best."""


@pytest.mark.parametrize(("gate", "action"), [
    ({"limits": {"a": 0.09}}, None), ({"limits": {"a": 0.07}}, "stop"),
    ({"limits": {"a": 0.07}, "action": "warn"}, "warn"),
    ({"limits": {"a": 0.07}, "against": "base"}, None), ({"limits": {"b": 0.0}, "against": "base"}, None),
    ({"limits": {"b": 0.0, "a": 0.01}}, "stop"),
], ids=["within", "over", "warn", "below the base", "learnt", "one of two"])
def test_a_gate_compares_with_the_best_or_the_base(gate, action):
    _, verdicts = follow(rules(s1={"forget": gate}), GATED)
    assert verdicts[:2] == [None, None] and (verdicts[2].action if verdicts[2] else None) == action


def test_a_gate_says_how_much_was_forgotten_and_what_to_do():
    _, verdicts = follow(rules(s1={"forget": {"limits": {"a": 0.05}}}), GATED)
    assert verdicts[2].reason.startswith("a has a loss of 2.1600, 8.0% over that after s0: 5.0% are allowed. The "
                                         "checkpoint of step 40 is kept: allow more in stages.1.forget")
    assert verdicts[2].go_on == 40
    not_finite = [*GATED[:2], (40, {"a": None, "b": 1.0})]
    _, verdicts = follow(rules(s1={"forget": {"limits": {"a": 0.05}}}), not_finite)
    assert verdicts[2].action == "stop" and "the loss on a is not finite" in verdicts[2].reason


def test_without_an_earlier_border_nothing_is_known_to_be_kept():
    _, verdicts = follow(rules(s1={"forget": {"limits": {"a": 0.05}}}), GATED[2:])
    assert verdicts[0].action == "warn" and "for a: no border before this one was measured" in verdicts[0].reason


def test_a_base_that_was_not_measured_is_told_and_stops_nothing():
    gate = {"limits": {"a": 0.05}, "against": "base"}
    _, verdicts = follow(rules(s1={"forget": gate}), GATED[1:])
    assert verdicts[1].action == "warn" and "cannot be judged for a" in verdicts[1].reason


REPEATING = [STAGES[0], {**STAGES[1], "forget": {"limits": {"a": 0.05}, "action": "repeat", "times": 2}}, STAGES[2]]


def test_a_stage_that_has_ended_early_comes_to_what_it_has_done():
    told = forecast(amended(PLAN, [EndStage(from_step=31, reason="", stage=1)])).stages[1]
    assert (told.steps, told.rows) == (10, PLAN.stages[1].rows // 2)
    assert sum(part.rows for part in told.sources.values()) == told.rows, "shares of it come to a whole"


def repeating():
    made = recipe({name: {"holdout": 0.1} for name in SIZES}, REPEATING)
    return planned(SIZES, STAGES), rules_of(made, prepared(SIZES, holdout=9), TEMPLATE)


def test_a_repeat_goes_back_to_the_stage_before_with_more_replay_until_it_was_repeated_enough():
    plan, told = repeating()
    assert [rows_by_source(stage) for stage in told["s1"].repeats] == [{"a": 24, "b": 96}, {"a": 36, "b": 84}]
    _, verdicts = follow(told, GATED, plan)
    assert (verdicts[2].action, verdicts[2].go_on) == ("repeat", 20)
    first = amendment_for(plan, told, verdicts[2].model_dump())
    assert isinstance(first, RepeatStage) and first.from_step == 21
    once = amended(plan, [first])
    assert once.stages[1].repeat == 1 and once.steps == plan.steps and once.chain(20) == plan.chain(20)
    assert all(once.chain(step) != plan.chain(step) for step in (21, 40, 41))
    assert once.stages[2].consumed_before == {"a": 120 + 24, "b": 96, "c": 0}
    assert amendment_for(once, told, verdicts[2].model_dump()) is None, "the same word again repeats nothing again"
    _, verdicts = follow(told, GATED, once)
    twice = amended(once, [amendment_for(once, told, verdicts[2].model_dump())])
    assert twice.stages[1].repeat == 2
    _, verdicts = follow(told, GATED, twice)
    assert verdicts[2].action == "stop" and "repeated 2 times with more replay" in verdicts[2].reason


def test_a_repeat_may_not_use_what_later_stages_count_on():
    stages = [*REPEATING[:2], {"length": {"steps": 50}, "mix": {"a": 3, "c": 1}}]

    def told(epochs):
        made = recipe({name: {"holdout": 0.1, **({"max_epochs": epochs} if name == "a" else {})} for name in SIZES},
                      stages)
        return rules_of(made, prepared(SIZES, holdout=9), TEMPLATE)

    # 120 rows of the first stage, 12, 24 or 36 of the second, 225 of the third: of 400.
    assert len(told(1)["s1"].repeats) == 2
    with pytest.raises(Unplannable, match=r"repeated with 30% replay.*and s2 could not be as"):
        told(0.93)


def ended(plan, index, step):
    return amended(plan, [EndStage(from_step=step + 1, reason="", stage=index)])


def test_a_stage_that_ends_early_keeps_its_past_and_moves_what_follows():
    plan = ended(PLAN, 0, 8)
    one, two, three = plan.stages
    assert (one.last_step, two.first_step, two.first_row, three.first_step, plan.steps) == (8, 9, 48, 29, 38)
    assert two.consumed_before == {"a": 48, "b": 0, "c": 0} and plan.rows == 48 + 120 + 60
    for step in range(1, 9):
        assert plan.chain(step) == PLAN.chain(step), "checkpoints up to the cut stay valid"
        assert learning_rate(one, step) == learning_rate(PLAN.stages[0], step), "its schedule keeps its horizon"
        assert [locate(one, row, SIZES, 0) for row in plan.rows_of(step)] == [
            locate(PLAN.stages[0], row, SIZES, 0) for row in PLAN.rows_of(step)]
    assert all(plan.chain(step) != PLAN.chain(step) for step in range(9, 51)), "what came after is another past"
    assert plan.chain() != PLAN.chain() and plan.segments[-1].last_step == plan.steps


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), step=st.integers(1, 39), weights=st.tuples(st.integers(1, 9), st.integers(1, 9)),
       stopping=st.booleans())
def test_no_row_comes_twice_in_an_epoch_wherever_a_stage_ends(seed, step, weights, stopping):
    mix = dict(zip("ab", weights, strict=True))
    rule = {"early_stopping": {"source": "a", "patience": 1}} if stopping else {"keep_best": "a"}
    stages = [{"length": {"steps": 40}, "mix": mix, **rule}, {"length": {"steps": 40}, "mix": {"a": 1, "b": 1}}]
    plan = ended(planned(SIZES, stages, seed=seed, evaluate={"every": "2 steps"}), 0, step)
    seen = [locate(plan.stage_of(number), row, SIZES, seed)
            for number in range(1, plan.steps + 1) for row in plan.rows_of(number)]
    assert len(seen) == len(set(seen)), "each row of an epoch once"
    for source, size in SIZES.items():
        epochs = [address.epoch for address in seen if address.source == source]
        assert all(epochs.count(epoch) == size for epoch in range(max(epochs, default=0)))
    first = [address.source for address in seen[: plan.stages[0].rows_done]]
    assert rows_by_source(plan.stages[0]) == {source: first.count(source) for source in mix}, "as it came"


def test_a_rule_may_come_and_go_while_its_stage_is_trained_and_its_rows_stay():
    stopping = {"early_stopping": {"source": "a", "patience": 3}}
    ruled = planned(SIZES, [{**STAGES[0], **stopping}, *STAGES[1:]], evaluate={"every": "2 steps"})
    assert ruled != PLAN and ruled.chain(1) != PLAN.chain(1)
    for before, after in ((PLAN, ruled), (ruled, PLAN)):
        assert amend(before, carried(before, after, []), 5) is None, "under way the rows stay"
        assert (change := amend(before, carried(before, after, []), 0)) and amended(before, [change]) == after
        cut = EndStage(from_step=9, reason="", stage=0)
        short = amended(before, [cut])
        assert amend(short, carried(short, after, [cut]), 12) is None
    later = planned(SIZES, [STAGES[0], {**STAGES[1], **stopping}, STAGES[2]], evaluate={"every": "2 steps"})
    change = amend(PLAN, carried(PLAN, later, []), 5)
    assert change is not None and amended(PLAN, [change]) == later, "of a stage to come they may be others"


def test_the_last_stage_may_end_early_and_the_first_again_after_a_later_one():
    plan = ended(PLAN, 2, 44)
    assert plan.steps == 44 and plan.chain(44) == PLAN.chain(44) and plan.chain(45) != PLAN.chain(45)
    both = ended(ended(PLAN, 0, 8), 2, 32)
    assert both.steps == 32 and [stage.last_step for stage in both.stages] == [8, 28, 32]


UNFREEZING = [STAGES[0], {**STAGES[1], "unfreeze": {"every": "4 steps", "layers": 2}}, STAGES[2]]
SMALL = {"init": {"architecture": "llama", "num_hidden_layers": 3}, "tokenizer": {"train": {}}}


def spans(plan):
    return [(each.first_step, each.last_step, getattr(each.trainable, "top", each.trainable)) for each in plan.segments]


def test_segments_keep_their_ends_within_their_stages():
    plan = planned(SIZES, UNFREEZING, model=SMALL)
    assert spans(plan) == [(1, 20, "all"), (21, 24, 2), (25, 28, 3), (29, 50, "all")]
    cut = ended(plan, 0, 10)
    assert spans(cut) == [(1, 10, "all"), (11, 14, 2), (15, 18, 3), (19, 40, "all")]
    short = ended(plan, 1, 26)
    assert spans(short) == [(1, 20, "all"), (21, 24, 2), (25, 26, 3), (27, 36, "all")]
    assert all(short.chain(step) == plan.chain(step) for step in range(1, 27))
    assert all(short.chain(step) != plan.chain(step) for step in range(27, 37))


def test_a_stage_that_ended_within_its_unfreezing_and_is_repeated_is_unfrozen_to_its_end():
    stages = [UNFREEZING[0], {**UNFREEZING[1], "forget": {"limits": {"a": 0.05}, "action": "repeat"}}, UNFREEZING[2]]
    plan = planned(SIZES, stages, model=SMALL)
    told = rules_of(recipe({name: {"holdout": 0.1} for name in SIZES}, stages, model=SMALL), prepared(SIZES, holdout=9),
                    TEMPLATE)
    made = [EndStage(from_step=27, reason="", stage=1)]
    now = amended(plan, made)
    _, verdicts = follow(told, [(0, {"a": 4.0}), (20, {"a": 2.0}), (26, {"a": 3.0})], now)
    assert verdicts[-1].action == "repeat"
    made.append(amendment_for(now, told, verdicts[-1].model_dump()))
    now = amended(plan, made)
    assert spans(now) == spans(plan) and now.chain(20) == plan.chain(20)
    assert amend(now, carried(now, plan, made), 30) is None, "the same recipe comes again"


def test_a_recipe_that_comes_again_knows_nothing_of_what_was_decided():
    plan, told = repeating()
    made = [EndStage(from_step=9, reason="", stage=0)]
    now = amended(plan, made)
    _, verdicts = follow(told, [(0, {"a": 4.0}), (8, {"a": 2.0}), (28, {"a": 3.0})], now)
    made.append(amendment_for(now, told, verdicts[-1].model_dump()))
    now = amended(plan, made)
    assert carried(now, plan, made) == now and amend(now, carried(now, plan, made), 28) is None
    longer = planned(SIZES, [*STAGES, {"length": {"steps": 2}, "mix": {"a": 1}}])
    change = amend(now, carried(now, longer, made), 28)
    assert change is not None and change.from_step == now.steps + 1
    assert amended(plan, [*made, change]).stages[:3] == now.stages
    other = planned(SIZES, [{**STAGES[0], "learning_rate": 5e-3}, *STAGES[1:]])
    with pytest.raises(ValueError, match=r"stages.0.learning_rate"):
        amend(now, carried(now, other, made), 28)
    assert asked_otherwise(now, plan, made) == []
    assert [line.partition(":")[0] for line in asked_otherwise(now, other, made)] == ["stages.0.learning_rate"]
    other = planned(SIZES, [STAGES[0], {**STAGES[1], "learning_rate": 5e-3}, STAGES[2]], seed=1)
    assert [line.partition(":")[0] for line in asked_otherwise(now, other, made)] == ["stages.1.learning_rate", "seed"]


def test_amendments_are_read_again():
    plan, told = repeating()
    for made in (EndStage(from_step=9, reason="", stage=0),
                 RepeatStage(from_step=21, reason="", was=plan.stages[1], stage=told["s1"].repeats[0])):
        assert amendment_from_json(made.to_json()) == made


def test_commits_that_the_run_went_back_from_do_not_count():
    def committed(step, attempt=1):
        return {"event": "checkpoint_committed", "step": step, "attempt": attempt}

    def verdict(action, go_on):
        return {"event": "verdict", "action": action, "go_on": go_on, "attempt": 1}

    assert saved_steps([committed(4), committed(8), verdict("end", 4), committed(6, 2)]) == [4, 6]
    assert saved_steps([committed(4), verdict("end", 4), committed(9), committed(5, 2)]) == [4, 5], "told late"
    assert saved_steps([committed(4), verdict("warn", 0), verdict("stop", 4)]) == [4]

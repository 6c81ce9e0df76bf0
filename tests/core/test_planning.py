"""A recipe and the sizes of its data give exact rows and steps, or a refusal with numbers."""

import time

import pytest

from launcher.core.errors import Unplannable
from launcher.core.forecast import forecast, waste
from launcher.core.mixing import quota
from launcher.core.planning import plan
from tests.core.planned import TEMPLATE, planned, prepared, recipe


def shares(stage):
    return {name: weight / sum(stage.weights.values()) for name, weight in stage.weights.items()}


def test_steps_are_full_batches():
    made = planned({"a": 50}, [{"length": {"steps": 7}, "mix": {"a": 1}}])
    assert (made.rows, made.steps, made.grade) == (42, 7, "exact")
    assert made.rows_of(7) == range(36, 42)


def test_epochs_end_exactly_where_the_last_row_is_seen():
    made = planned({"a": 50}, [{"length": {"epochs": 2}, "mix": {"a": 1}}])
    assert (made.rows, made.steps) == (100, 17)
    assert made.rows_of(17) == range(96, 100)


@pytest.mark.parametrize("epochs", [0.1, 1, 2.5])
@pytest.mark.parametrize("mix", [{"a": 1, "b": 1}, {"a": 0.3, "b": 0.7}, {"a": 5, "b": 1}])
def test_epochs_of_one_of_several_sources_take_the_fewest_rows_that_do(epochs, mix):
    made = planned({"a": 60, "b": 77}, [{"length": {"epochs": epochs, "of": "a"}, "mix": mix}], batch={"rows": 2})
    (stage,) = made.stages
    assert quota(stage.rows, stage.weights)["a"] == round(epochs * 60)
    assert quota(stage.rows - 1, stage.weights)["a"] < round(epochs * 60)


def test_epochs_of_a_source_that_hardly_occurs_are_planned_at_once():
    begun = time.process_time()
    made = planned({"a": 10, "b": 20_000_000}, [{"length": {"epochs": 1, "of": "a"}, "mix": {"a": 1e-9, "b": 1}}])
    assert time.process_time() - begun < 1
    assert quota(made.rows, made.stages[0].weights)["a"] == 10


def test_tokens_are_reached_in_whole_steps():
    made = planned({"a": (50, 4000)}, [{"length": {"tokens": 1000}, "mix": {"a": 1}}])
    # 80 tokens a row: 13 rows, in three steps of 6.
    assert (made.steps, made.rows) == (3, 18)


def test_weights_count_tokens_though_rows_are_not_equally_full():
    made = planned({"full": (100, 10_000), "half": (100, 5_000)},
                   [{"length": {"steps": 100}, "mix": {"full": 1, "half": 1}}])
    assert made.stages[0].weights == {"full": 1, "half": 2}
    tokens = {name: source.tokens for name, source in forecast(made).stages[0].sources.items()}
    assert tokens == {"full": 20_000, "half": 20_000}


def test_weights_are_the_decimals_that_were_written():
    made = planned({"a": 50, "b": 50, "c": 50}, [{"length": {"steps": 9}, "mix": {"a": 0.1, "b": 0.2, "c": 0.3}}])
    assert made.stages[0].weights == {"a": 1, "b": 2, "c": 3}


def test_replay_is_uniform_over_all_earlier_sources_in_rows():
    made = planned({"a": (50, 2500), "b": 50, "c": 50}, [
        {"length": {"steps": 9}, "mix": {"a": 1}}, {"length": {"steps": 9}, "mix": {"b": 1}, "replay": 0.1},
        {"length": {"steps": 9}, "mix": {"c": 3, "b": 1}, "replay": "10%"}])
    assert shares(made.stages[1]) == {"b": 0.9, "a": 0.1}
    assert shares(made.stages[2]) == pytest.approx({"c": 0.675, "b": 0.225 + 0.05, "a": 0.05})


def test_epochs_go_on_across_stages():
    made = planned({"a": 50, "b": 9}, [{"length": {"steps": 9}, "mix": {"a": 2, "b": 1}},
                                       {"length": {"steps": 9}, "mix": {"a": 1}, "replay": 0.5}])
    assert made.stages[0].consumed_before == {"a": 0, "b": 0}
    assert made.stages[1].consumed_before == {"a": 36, "b": 18}
    assert (made.stages[1].first_step, made.stages[1].first_row) == (10, 54)


def test_stages_take_the_recipes_schedule_optimizer_and_rate_unless_they_say_their_own():
    made = planned({"a": 50}, [
        {"length": {"steps": 2}, "mix": {"a": 1}, "learning_rate": None},
        {"length": {"steps": 2}, "mix": {"a": 1}, "schedule": {"kind": "linear"}, "optimizer": {"clip": 2}},
    ], learning_rate=0.5)  # fmt: skip
    assert [stage.learning_rate for stage in made.stages] == [0.5, 1e-3]
    assert [stage.schedule.kind for stage in made.stages] == ["cosine", "linear"]
    assert [stage.optimizer.clip for stage in made.stages] == [1.0, 2.0]


@pytest.mark.parametrize(("tokens", "rows"), [(100, 1), (149, 1), (151, 2), (650, 6), (1000, 10)])
def test_a_batch_of_tokens_is_the_nearest_number_of_rows(tokens, rows):
    made = planned({"a": 50}, [{"length": {"steps": 3}, "mix": {"a": 1}}], batch={"tokens": tokens})
    assert made.rows_per_step == rows


def test_without_data_the_sizes_in_the_recipe_give_an_estimate():
    stages = [{"length": {"epochs": 1}, "mix": {"a": 1}}]
    made = plan(recipe({"a": {"tokens": "10k", "holdout": "5%"}}, stages), None, TEMPLATE)
    assert (made.grade, made.tokenizer) == ("estimated", None)
    assert made.sources["a"].rows == 95 and made.sources["a"].holdout_rows == 5 and made.rows == 95


def test_without_data_and_sizes_each_source_is_told():
    stages = [{"length": {"epochs": 1, "of": "a"}, "mix": {"a": 1, "b": 1}}]
    with pytest.raises(Unplannable) as caught:
        plan(recipe({"a": None, "b": None}, stages), None, TEMPLATE)
    assert [problem.path for problem in caught.value.problems] == ["sources.a", "sources.b"]
    assert "tokens: 5M" in str(caught.value)


@pytest.mark.parametrize(("sizes", "stage", "message"), [
    ({"a": 50, "b": 50}, {"length": {"steps": 10}, "mix": {"a": 199, "b": 1}},
     "stages.0.mix.b: gets 0.3 rows of the stage's 60"),
    ({"a": 50, "b": 0}, {"length": {"steps": 10}, "mix": {"a": 1, "b": 1}}, "sources.b: has no row to train on"),
    ({"a": 5}, {"length": {"epochs": 1}, "mix": {"a": 1}}, "has 5 rows, less than one batch of 6"),
    ({"a": 50, "b": 1}, {"length": {"steps": 1000}, "mix": {"a": 1, "b": 1}}, "stages.0.mix.b: is seen 3,000 times"),
    ({"a": 0}, {"length": {"epochs": 2}, "mix": {"a": 1}}, "sources.a: has no row to train on"),
])  # fmt: skip
def test_what_cannot_be_trained_is_refused_with_numbers(sizes, stage, message):
    with pytest.raises(Unplannable, match=message.replace(".", r"\.")):
        planned(sizes, [stage])


def test_a_holdout_that_keeps_nothing_is_refused():
    stages = [{"length": {"steps": 3}, "mix": {"a": 1}}]
    with pytest.raises(Unplannable, match=r"holdout: 0\.02 keeps none of so few documents"):
        plan(recipe({"a": {"holdout": 0.02}}, stages), prepared({"a": 50}), TEMPLATE)


def test_reasons_come_with_the_place_in_the_file():
    stages = [{"length": {"steps": 10}, "mix": {"a": 199, "b": 1}}]
    with pytest.raises(Unplannable, match=r"x.yaml:3:1: stages.0.mix.b"):
        plan(recipe(dict.fromkeys("ab"), stages), prepared({"a": 50, "b": 50}), TEMPLATE, where=lambda _: "x.yaml:3:1")


def test_the_plan_knows_no_hardware_and_survives_its_file():
    made = planned({"a": 50}, [{"length": {"steps": 7}, "mix": {"a": 1}}])
    assert type(made).from_json(made.to_json()) == made
    assert len(made.segments) == 1 and made.segments[0].trainable == "all"


def test_evaluation_and_export_follow_the_recipe():
    stages = [{"length": {"steps": 7}, "mix": {"a": 1}}]
    written = recipe({"a": {"holdout": 0.1}}, stages, evaluate={"every": "5 steps"})
    made = plan(written, prepared({"a": 50}, holdout=3), TEMPLATE)
    assert (made.evaluate_every, made.export_dtype) == (5, "bf16")


@pytest.mark.parametrize(("world", "micro", "empty", "idle", "nearest"), [
    (2, 3, 0, 0, 6), (3, 2, 0, 0, 6), (4, 2, 0, 0.25, 8), (4, 1, 0.25, 0.25, 8), (8, 1, 0.25, 0.25, 8),
])  # fmt: skip
def test_waste_names_the_nearest_batch_without_any(world, micro, empty, idle, nearest):
    made = planned({"a": 50}, [{"length": {"steps": 7}, "mix": {"a": 1}}])
    found = waste(made, world, micro)
    assert (found.empty, found.idle, found.nearest_batch) == (empty, idle, nearest)

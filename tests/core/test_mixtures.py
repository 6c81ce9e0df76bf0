"""From what a recipe says of proportions to rows: units, rules by size, limits, stop rules, changes, replay."""

import math
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.core.dealing import deal
from launcher.core.document import fingerprint
from launcher.core.errors import Unplannable
from launcher.core.forecast import forecast
from launcher.core.mixing import locate, rows_by_source
from launcher.core.planning import plan
from launcher.core.run_plan import RunPlan
from tests.core.planned import TEMPLATE, planned, prepared, recipe

LONG = {"steps": 2000}
"""12,000 rows."""


def token_shares(made, stage=0):
    return {name: source.share for name, source in forecast(made).stages[stage].sources.items()}


def with_limits(sizes, stages, limits, **more):
    return plan(recipe({name: limits.get(name) for name in sizes}, stages, **more), prepared(sizes), TEMPLATE)


def test_a_recipe_without_any_of_this_has_the_plan_and_the_chain_that_it_always_had():
    """Recorded before mixes could change: runs begun then go on."""
    made = planned({"a": (50, 2500), "b": 50, "c": (300, 29000)}, [
        {"length": {"steps": 9}, "mix": {"a": 1}},
        {"length": {"tokens": 4000}, "mix": {"b": 1, "c": 0.3}, "replay": 0.1},
        {"length": {"epochs": 1.5, "of": "b"}, "mix": {"c": 3, "b": 1}, "replay": "10%"}])
    assert made.chain() == "735582826acb696e0a8906c4a7471b97"
    assert fingerprint(made) == "add86f75d8efee62d58652195484bcc6"
    assert RunPlan.from_json(made.to_json()) == made and "spans" not in made.to_json()


def test_a_limit_that_is_not_reached_changes_nothing():
    stages = [{"length": {"steps": 9}, "mix": {"a": 1, "b": 1}}]
    assert with_limits({"a": 50, "b": 50}, stages, {"a": {"max_epochs": 1}}) == planned({"a": 50, "b": 50}, stages)


# rules

@pytest.mark.parametrize(("sampling", "expected"), [
    ("proportional", {"a": 0.9, "b": 0.09, "c": 0.01}),
    ({"kind": "proportional", "cap": 9000}, {"a": 9 / 19, "b": 9 / 19, "c": 1 / 19}),
    ("equal", {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}),
    ({"temperature": 1}, {"a": 0.9, "b": 0.09, "c": 0.01}),
    ({"temperature": 2}, {name: math.sqrt(size) / (math.sqrt(90) + 3 + 1) for name, size in
                          {"a": 90, "b": 9, "c": 1}.items()}),
    ({"temperature": 2, "cap": 9000}, {"a": 3 / 7, "b": 3 / 7, "c": 1 / 7}),
])  # fmt: skip
def test_rules_make_weights_from_sizes_in_tokens(sampling, expected):
    # The rows of b are half full: its weight in rows is twice that in tokens.
    sizes = {"a": (900, 90_000), "b": (180, 9_000), "c": (10, 1_000)}
    made = planned(sizes, [{"length": LONG, "mix": [*sizes], "sampling": sampling}])
    assert token_shares(made) == pytest.approx(expected, abs=0.001)


def test_rules_and_weights_may_count_examples():
    sizes = {"short": (100, 10_000, 1000), "long": (100, 10_000, 100)}
    stage = {"length": LONG, "mix": {"short": 1, "long": 1}, "weights": "examples"}
    made = planned(sizes, [stage])
    # Ten examples of short fill as many rows as one of long.
    assert made.stages[0].weights == {"short": 1, "long": 10}
    assert made.sources["short"].documents == 1000
    assert planned(sizes, [{**stage, "weights": None}], weights="examples") == made
    capped = planned(sizes, [{**stage, "mix": [*sizes], "sampling": {"temperature": 1, "cap": 200}}])
    assert capped.stages[0].weights == {"short": 1, "long": 5}


def test_examples_are_counted_in_an_estimate_by_what_the_recipe_says():
    stages = [{"length": LONG, "mix": {"a": 1, "b": 1}, "weights": "examples"}]
    with pytest.raises(Unplannable, match=r"sources.b: weights count its examples, whose number is not known"):
        plan(recipe({"a": {"tokens": 1000, "documents": 10}, "b": {"tokens": 1000}}, stages), None, TEMPLATE)
    sized = recipe({"a": {"tokens": 1000, "documents": 10}, "b": {"tokens": 1000, "documents": 20}}, stages)
    assert plan(sized, None, TEMPLATE).stages[0].weights == {"a": 2, "b": 1}


def test_a_later_stage_that_counts_examples_may_be_added_to_a_run():
    from launcher.core.amending import amend

    stages = [{"length": {"steps": 9}, "mix": {"a": 1, "b": 1}}]
    before = planned({"a": 50, "b": 50}, stages)
    after = planned({"a": 50, "b": 50}, [*stages, {"length": {"steps": 9}, "mix": ["a", "b"], "weights": "examples"}])
    assert amend(before, after, done=9) is not None
    assert after.chain(9) == before.chain()


# limits and stop rules

def test_a_source_that_is_used_up_leaves_the_mix_and_the_stage_keeps_its_length():
    made = with_limits({"a": 50, "b": 500, "c": 500}, [{"length": {"steps": 100}, "mix": {"a": 2, "b": 1, "c": 1}}],
                       {"a": {"max_epochs": 2}})
    assert made.rows == 600 and rows_by_source(made.stages[0]) == {"a": 100, "b": 250, "c": 250}


def test_limits_hold_over_the_whole_run_and_in_replay():
    stages = [{"length": {"steps": 10}, "mix": {"a": 1}},
              {"length": {"steps": 20}, "mix": {"b": 1}, "replay": "50%"}]
    made = with_limits({"a": (50, 5000), "b": 500}, stages, {"a": {"max_tokens": "8k"}})
    assert [rows_by_source(stage) for stage in made.stages] == [{"a": 60}, {"a": 20, "b": 100}]
    assert forecast(made).sources["a"].epochs == pytest.approx(1.6)


def test_a_replayed_source_that_is_used_up_before_leaves_its_part_to_the_others():
    stages = [{"length": {"steps": 10}, "mix": {"a": 1, "b": 1}},
              {"length": {"steps": 20}, "mix": {"c": 1}, "replay": "50%"}]
    made = with_limits({"a": 30, "b": 500, "c": 500}, stages, {"a": {"max_epochs": 1}})
    assert rows_by_source(made.stages[1]) == {"b": 60, "c": 60}


@pytest.mark.parametrize(("until", "limits", "expected"), [
    ("first_exhausted", {}, {"a": 30, "b": 30}),
    ("first_exhausted", {"a": {"max_epochs": 2}}, {"a": 60, "b": 60}),
    ("all_exhausted", {}, {"a": 70, "b": 70}),
    ("all_exhausted", {"a": {"max_epochs": 1}}, {"a": 30, "b": 70}),
    ("all_exhausted", {"a": {"max_epochs": 1}, "b": {"max_tokens": 4000}}, {"a": 30, "b": 40}),
])  # fmt: skip
def test_stop_rules_end_with_the_row_that_exhausts(until, limits, expected):
    made = with_limits({"a": 30, "b": 70}, [{"length": {"until": until}, "mix": {"a": 1, "b": 1}}], limits)
    counts = rows_by_source(made.stages[0])
    exhausted = next(name for name in expected if counts[name] == expected[name])
    assert all(abs(counts[name] - expected[name]) <= 1 for name in expected)
    # A row fewer, and it would not be.
    assert rows_by_source(made.stages[0], made.rows - 1)[exhausted] <= expected[exhausted]
    if until == "first_exhausted":
        assert rows_by_source(made.stages[0], made.rows - 1) != counts


def test_a_later_stage_exhausts_an_epoch_of_its_own():
    stages = [{"length": {"steps": 5}, "mix": {"a": 1}}, {"length": {"until": "first_exhausted"}, "mix": {"a": 1}}]
    assert [stage.rows for stage in planned({"a": 70}, stages).stages] == [30, 70]


@pytest.mark.parametrize(("stage", "limits", "message"), [
    ({"length": {"steps": 50}, "mix": {"a": 1, "b": 1}}, {"a": {"max_epochs": 1}, "b": {"max_epochs": 2}},
     r"stages.0.length: the stage wants 300 rows, and the limits of its sources leave 170: 30 of a, 140 of b; raise"),
    ({"length": {"tokens": "1M"}, "mix": {"a": 1}}, {"a": {"max_epochs": 1}}, "stages.0.length: the stage wants more"),
    ({"length": {"epochs": 3}, "mix": {"a": 1}}, {"a": {"max_epochs": 1.5}},
     "stages.0.length.epochs: 3 epochs of a are wanted, and its limit leaves 1.5"),
    ({"length": {"steps": 5}, "mix": {"a": 1}}, {"a": {"max_tokens": 40}}, "sources.a.max_tokens: allows less than"),
    ({"length": {"steps": 5}, "mix": {"a": 1}}, {"a": {"max_epochs": 0.001}}, "sources.a.max_epochs: allows less"),
    ({"length": {"steps": 9}, "mix": {"a": 1}, "mix_end": {"b": 1}}, {"a": {"max_epochs": 1}, "b": {"max_epochs": 0.1}},
     "stages.0.length: the stage wants 54 rows, .* or make the stage shorter"),
])  # fmt: skip
def test_limits_that_starve_a_stage_are_refused_with_numbers(stage, limits, message):
    with pytest.raises(Unplannable, match=message):
        with_limits({"a": 30, "b": 70} if "b" in str(stage) else {"a": 30}, [stage], limits)


def test_a_source_that_earlier_stages_used_up_is_refused_by_name():
    stages = [{"length": {"until": "first_exhausted"}, "mix": {"a": 1, "b": 1}},
              {"length": {"steps": 5}, "mix": {"a": 1, "b": 1}}]
    with pytest.raises(Unplannable, match=r"stages.1.mix.a: nothing of it is left here: s0 used the 60 rows that "
                                          r"max_epochs: 2 allows"):
        with_limits({"a": 30, "b": 70}, stages, {"a": {"max_epochs": 2}})
    again = {"length": {"steps": 5}, "mix": {"b": 1}, "replay": {"tokens": "10%", "earlier": False, "general": ["a"]}}
    with pytest.raises(Unplannable, match=r"stages.1.replay: nothing is left to replay: a are used up"):
        with_limits({"a": 30, "b": 70}, [stages[0], again], {"a": {"max_epochs": 2}})


# mixes that change

@pytest.mark.parametrize(("stage", "message"), [
    ({"mix": {"a": 1}, "mix_end": {"a": 500, "b": 1}}, r"stages\.1\.mix_end\.b: gets no row of the stage's 60; give"),
    ({"mix": {"b": 1}, "replay": {"tokens": "0.1%"}}, r"stages\.1\.replay: a gets 0\.06 rows of the stage's 60; "),
])  # fmt: skip
def test_a_source_that_gets_no_row_is_told_by_the_field_that_brings_it_in(stage, message):
    with pytest.raises(Unplannable, match=message):
        planned({"a": 50, "b": 50}, [{"length": {"steps": 9}, "mix": {"a": 1}}, {"length": {"steps": 10}, **stage}])


def test_a_mix_goes_evenly_from_one_to_the_other():
    made = planned({"a": 500, "b": 500}, [
        {"length": {"steps": 1000}, "mix": {"a": 9, "b": 1}, "mix_end": {"a": 1, "b": 9}}])
    (stage,) = made.stages
    tenths = [rows_by_source(stage, rows)["a"] for rows in range(0, 6001, 600)]
    assert [after - before for before, after in pairwise(tenths)] == [
        516, 468, 420, 372, 324, 276, 228, 180, 132, 84]


def test_a_source_may_come_and_go_within_a_stage():
    made = planned({"a": 500, "b": 500}, [{"length": {"steps": 100}, "mix": {"a": 1}, "mix_end": {"b": 1}}])
    assert rows_by_source(made.stages[0]) == {"a": 300, "b": 300}
    assert rows_by_source(made.stages[0], 60) == {"a": 57, "b": 3}


@pytest.mark.parametrize("length", [{"tokens": 40_000}, {"epochs": 1.5, "of": "b"}])
def test_the_length_of_a_change_counts_what_is_seen_over_it(length):
    made = planned({"a": 300, "b": (200, 10_000)},
                   [{"length": length, "mix": {"a": 3, "b": 1}, "mix_end": {"a": 1, "b": 1}}])
    seen = forecast(made).stages[0]
    if "tokens" in length:
        assert 40_000 <= seen.tokens < 40_000 + 7 * 100
    else:
        assert seen.sources["b"].rows == 300


# replay

def test_replay_in_tokens_is_a_share_of_tokens():
    sizes = {"a": (100, 2_500), "b": (100, 10_000)}
    stages = [{"length": {"steps": 9}, "mix": {"a": 1}}]
    by_rows = planned(sizes, [*stages, {"length": LONG, "mix": {"b": 1}, "replay": "10%"}])
    by_tokens = planned(sizes, [*stages, {"length": LONG, "mix": {"b": 1}, "replay": {"tokens": "10%"}}])
    assert token_shares(by_rows, 1)["a"] == pytest.approx(0.025 / 0.925, abs=1e-3)
    assert token_shares(by_tokens, 1)["a"] == pytest.approx(0.1, abs=1e-3)


def test_replay_decays_with_the_stages_since_and_a_general_set_does_not():
    sizes = dict.fromkeys("abcdg", 5000)
    once = {"length": {"steps": 9}}
    stages = [{**once, "mix": {"a": 1}}, {**once, "mix": {"b": 1, "c": 1}}, {**once, "mix": {"c": 1}},
              {"length": LONG, "mix": {"d": 1}, "replay": {"tokens": "35%", "decay": 0.5, "general": ["g"]}}]
    shares = token_shares(planned(sizes, stages), 3)
    # c was mixed in the stage before, b in the one before that, a three stages ago; g counts as the nearest.
    whole = 1 + 1 / 2 + 1 / 4 + 1
    expected = {"c": 1 / whole, "b": 0.5 / whole, "a": 0.25 / whole, "g": 1 / whole}
    assert shares == pytest.approx({"d": 0.65, **{name: 0.35 * part for name, part in expected.items()}}, abs=1e-3)


def test_a_general_set_alone_may_be_replayed_from_the_first_stage_on():
    replay = {"tokens": "20%", "general": ["g"], "earlier": False}
    stages = [{"length": LONG, "mix": {"a": 1}, "replay": replay}, {"length": LONG, "mix": {"b": 1}, "replay": replay}]
    made = planned(dict.fromkeys("abg", 500), stages)
    assert token_shares(made) == pytest.approx({"a": 0.8, "g": 0.2}, abs=1e-3)
    assert token_shares(made, 1) == pytest.approx({"b": 0.8, "g": 0.2}, abs=1e-3)


# everything at once

RULES = {
    "weights": {"mix": {"a": 70, "b": 29.5, "c": 0.5}},
    "examples": {"mix": {"a": 70, "b": 29.5, "c": 0.5}, "weights": "examples"},
    "proportional": {"mix": ["a", "b", "c"], "sampling": "proportional"},
    "equal": {"mix": ["a", "b", "c"], "sampling": "equal"},
    "temperature": {"mix": ["a", "b", "c"], "sampling": {"temperature": 3, "cap": 40_000}},
    "change": {"mix": {"a": 99.5, "b": 0.5}, "mix_end": {"b": 30, "a": 69.3, "c": 0.7}},
    "replay": {"mix": {"a": 1}, "replay": {"tokens": "0.8%", "general": ["b", "c"]}},
}


@pytest.mark.parametrize("name", RULES)
def test_shares_are_exact_to_a_thousandth_over_ten_thousand_rows_on_any_ranks(name):
    """Step by step, on a number of ranks that changes with every resume: each source's tokens are its forecast."""
    sizes = {"a": (900, 81_000, 2000), "b": (300, 30_000, 900), "c": (20, 1_000, 80)}
    made = planned(sizes, [{"length": {"steps": 1667}, **RULES[name]}])
    (stage,), lengths = made.stages, {source: size[0] for source, size in sizes.items()}
    tokens = Counter[str]()
    for step in range(1, made.steps + 1):
        ranks = (1, 2, 3, 8, 5)[step // 100 % 5]
        for rank in deal(made.rows_of(step), ranks, 1):
            for row in (row for batch in rank for row in batch):
                source = locate(stage, row, lengths, made.seed).source
                tokens[source] += sizes[source][1] * 1000 // lengths[source]
    whole, forecasts = sum(tokens.values()), forecast(made).stages[0].sources
    assert set(forecasts) == set(tokens) and len(tokens) == 3
    assert all(abs(tokens[source] / whole - part.share) < 0.0001 for source, part in forecasts.items())
    if name in ("weights", "change"):
        asked = {"weights": {"a": 0.7, "b": 0.295, "c": 0.005}, "change": {"a": 0.844, "b": 0.1525, "c": 0.0035}}[name]
        # A change is even in rows, so its token shares are not quite the mean of both ends.
        allowed = 0.001 if name == "weights" else 0.01
        assert all(abs(tokens[source] / whole - share) < allowed for source, share in asked.items())


SIZES = st.fixed_dictionaries({name: st.tuples(st.integers(40, 900), st.integers(20, 100)) for name in "abc"})
SAMPLED = st.sampled_from(["proportional", "equal", {"temperature": 3}, {"temperature": 2, "cap": 20_000}])
REPLAYS = st.sampled_from([0, "10%", {"tokens": "0.7%"}, {"tokens": "30%", "decay": 0.3},
                           {"rows": "20%", "general": ["a"]}])


@settings(max_examples=10, deadline=None)
@given(SIZES, SAMPLED, REPLAYS, st.sampled_from([None, 0.5, 3]), st.integers(0, 5))
def test_what_every_rule_forecasts_is_what_the_rows_come_to(sizes, rule, replay, epochs, seed):
    """Row by row, the stages have the rows that the plan names of each source, and the limits hold."""
    sized = {name: (rows, rows * tokens) for name, (rows, tokens) in sizes.items()}
    stages = [{"length": {"steps": 40}, "mix": ["a", "b"], "sampling": rule},
              {"length": {"steps": 30}, "mix": {"c": 99, "b": 1}, "mix_end": {"b": 5, "c": 1}, "replay": replay}]
    limits = {"b": {"max_epochs": epochs}} if epochs else {}
    try:
        made = with_limits(sized, stages, limits, seed=seed)
    except Unplannable as refused:
        assert "nothing of it is left" in str(refused) or "gets" in str(refused)
        return
    lengths, seen = {name: rows for name, (rows, _) in sizes.items()}, Counter[str]()
    for stage, told in zip(made.stages, forecast(made).stages, strict=True):
        found = Counter(locate(stage, row, lengths, seed).source for row in range(stage.rows))
        assert {name: found[name] for name in told.sources} == {n: part.rows for n, part in told.sources.items()}
        assert sum(found.values()) == stage.rows
        seen.update(found)
    assert {name: part.rows for name, part in forecast(made).sources.items()} == {n: seen[n] for n in sized}
    assert not epochs or seen["b"] <= Fraction(epochs) * lengths["b"]

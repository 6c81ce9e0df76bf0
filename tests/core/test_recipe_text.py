"""From text to a recipe: YAML as people mean it, one base, and overrides."""

import itertools

import pytest

from launcher.core.errors import RecipeInvalid
from launcher.core.recipe import Recipe
from launcher.core.recipe_text import base_of, parse

TEXT = """\
name: tiny
model: {init: {architecture: llama}, tokenizer: {train: {}}, precision: fp32}
sequence_length: 1Ki
sources:
  on: {path: on.jsonl}
  no: {path: no.jsonl, holdout: 5%}
stages:
  - {name: yes, length: {epochs: 2, of: no}, mix: {on: 1, no: 3}, learning_rate: 1e-5}
batch: {rows: 6}
slurm: {time: 12:00:00}
"""


def read(text=TEXT, **more):
    return parse(text, "r.yaml", **more).recipe


def test_words_that_yaml_1_1_takes_for_other_things_are_what_they_say():
    recipe = read()
    assert list(recipe.sources) == ["on", "no"] and recipe.stages[0].name == "yes"
    assert recipe.stages[0].learning_rate == 1e-5
    assert recipe.slurm is not None and recipe.slurm.time == 12 * 3600
    assert recipe.sequence_length == 1024 and recipe.sources["no"].holdout.share == 0.05


def test_a_field_knows_where_it_was_written():
    parsed = parse(TEXT, "r.yaml", overrides=["seed=3"])
    assert parsed.where(("sources", "no", "holdout")) == "r.yaml:6:24"
    assert parsed.where(("stages", 0, "mix", "no")) == "r.yaml:8:59"
    assert parsed.where(("seed",)) == "--set seed=3"
    assert parsed.where(("checkpoint", "every")) == "r.yaml:1:1"


def test_a_recipe_lies_over_its_base():
    top = "extends: base.yaml\nname: other\nbatch: {tokens: 64k}\nsources: {no: {loss: all}}\nmodel: {path: gpt}\n"
    top += "stages: [{name: s, length: {steps: 2}, mix: {on: 1, no: 1}, learning_rate: 1}]\n"
    assert base_of(top, "r.yaml") == "base.yaml" and base_of(TEXT, "r.yaml") is None
    with pytest.raises(RecipeInvalid, match=r"base.yaml:2:73"):
        read(top.replace("path: gpt", "attention: x"), base=(TEXT.replace("fp32", "fp8"), "base.yaml"))
    text = TEXT.replace("tokenizer: {train: {}}, ", "")
    recipe = read(top, base=(text, "base.yaml"))
    assert (recipe.batch.rows, recipe.batch.tokens) == (None, 64_000)
    assert (recipe.model.path, recipe.model.init, recipe.model.precision) == ("gpt", None, "fp32")
    assert recipe.sources["no"].loss == "all" and recipe.sources["no"].holdout.share == 0.05
    assert len(recipe.stages) == 1 and recipe.stages[0].length.steps == 2


def test_a_base_may_not_extend():
    with pytest.raises(RecipeInvalid, match=r"b.yaml:1:1: extends: a base may not extend another file"):
        read("extends: b.yaml\n", base=("extends: c.yaml\n" + TEXT, "b.yaml"))


@pytest.mark.parametrize(("override", "field", "value"), [
    ("stages.0.length.steps=20", lambda r: (r.stages[0].length.steps, r.stages[0].length.epochs, r.stages[0].length.of),
     (20, None, None)),
    ("stages.0.length.epochs=0.5", lambda r: (r.stages[0].length.epochs, r.stages[0].length.of), (0.5, "no")),
    ("batch.tokens=8k", lambda r: (r.batch.rows, r.batch.tokens), (None, 8000)),
    ("batch={rows: 3}", lambda r: r.batch.rows, 3),
    ("cluster.workers=5", lambda r: r.cluster.workers, 5),
    ("sources.no.holdout=10%", lambda r: r.sources["no"].holdout.share, 0.1),
    ("optimizer.betas=[0.8, 0.9]", lambda r: r.optimizer.betas, (0.8, 0.9)),
    ("description=a: b", lambda r: r.description, None),
    ("deterministic=true", lambda r: r.deterministic, True),
])  # fmt: skip
def test_any_field_can_be_overridden(override, field, value):
    if value is None:
        with pytest.raises(RecipeInvalid, match="description: expected a text, not fields"):
            read(overrides=[override])
    else:
        assert field(read(overrides=[override])) == value


def test_later_overrides_go_before_earlier_ones():
    assert read(overrides=["seed=1", "seed=2"]).seed == 2


def test_aliases_may_be_used():
    text = TEXT.replace("{on: 1, no: 3}", "&mix {on: 1, no: 3}").replace(
        "batch:", "  - {name: b, length: {steps: 2}, mix: *mix, learning_rate: 1e-4}\nbatch:")
    assert read(text).stages[1].mix == {"on": 1, "no": 3}


@pytest.mark.parametrize("text", ["[" * 3000, "- " * 3000 + "a", "{a: " * 3000])
def test_what_is_nested_too_deeply_is_refused(text):
    with pytest.raises(RecipeInvalid, match="nested too deeply"):
        read(text)


def test_aliases_of_aliases_that_come_to_too_much_are_refused_at_once():
    names = "abcdefghi"
    lists = (f"{after}: &{after} [{', '.join(['*' + name] * 9)}]" for name, after in itertools.pairwise(names))
    with pytest.raises(RecipeInvalid, match="more than 100,000 values"):
        read("\n".join(["a: &a [x, x, x, x, x, x, x, x, x]", *lists]))


def test_unknown_fields_do_not_hide_what_else_is_wrong():
    with pytest.raises(RecipeInvalid) as caught:
        read(TEXT.replace("slurm:", "slrum:").replace("mix: {on: 1", "mix: {un: 1"))
    assert [problem.path for problem in caught.value.problems] == ["sources.on", "stages.0.mix.un", "slrum"]


def test_every_field_of_the_schema_is_described():
    schema = Recipe.model_json_schema()
    owners = {"Recipe": schema, **schema["$defs"]}
    bare = [f"{owner}.{name}" for owner, each in owners.items() for name, field in each.get("properties", {}).items()
            if not field.get("description")]
    assert bare == []


@pytest.mark.parametrize(("written", "width", "rollbacks"), [
    ("", 10.0, 2), ("divergence: off\n", "off", 2), ("divergence: false\n", "off", 2),
    ("divergence: {width: 6, rollbacks: 0}\n", 6.0, 0), ("divergence: {width: off}\n", "off", 2)])
def test_what_counts_as_a_spike_is_said_or_switched_off(written, width, rollbacks):
    found = read(TEXT + written).divergence
    assert (found.width, found.rollbacks) == (width, rollbacks)

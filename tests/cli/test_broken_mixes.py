"""Proportions that cannot be: each told with its place and what to write instead, exit 2, no traceback."""

import sys

import pytest

from launcher.cli.main import main

GOOD = """\
name: tiny
model: {init: {architecture: llama}, tokenizer: {train: {vocab_size: 400}}, precision: fp32}
sequence_length: 64
learning_rate: 1e-3
sources:
  maths: {path: maths.jsonl, tokens: 40k}
  chat: {path: chat.jsonl, tokens: 20k, max_epochs: 20}
  web: {path: web.jsonl, tokens: 90k}
stages:
  - name: first
    length: {steps: 10}
    mix: {maths: 3, chat: 1}
  - name: second
    length: {steps: 50}
    mix: [chat, maths]
    sampling: {temperature: 2}
    replay: {tokens: 10%, decay: 0.5, general: [web]}
  - name: third
    length: {tokens: 50k}
    mix: {chat: 3, maths: 1}
    mix_end: {maths: 1}
batch: {rows: 6}
"""

BROKEN = {
    # sampling
    "weights and a rule": ("[chat, maths]", "{chat: 3, maths: 1}",
        ":15:11: stages.1.mix.chat: sampling: temperature makes the weights; name the sources alone, mix: "
        "[chat, maths]"),
    "a rule and an end": ("    replay: {tok", "    mix_end: {maths: 1}\n    replay: {tok",
        ":17:5: stages.1.mix_end: goes with weights"),
    "no such rule": ("{temperature: 2}", "proportionate",
        ":16:15: stages.1.sampling: expected 'proportional', 'equal' or 'temperature', not 'proportionate'"),
    "no temperature": ("{temperature: 2}", "{cap: 10k}", ":16:5: stages.1.sampling: say the temperature"),
    "a temperature of equal": ("{temperature: 2}", "{kind: equal, temperature: 2}",
        "sampling: equal has no temperature"),
    "a cap of equal": ("{temperature: 2}", "{kind: equal, cap: 2}",
        ":16:5: stages.1.sampling: equal looks at no size"),
    "a cold temperature": ("{temperature: 2}", "{temperature: 0.5}",
        ":16:29: stages.1.sampling.temperature: expected at least 1, not 0.5"),
    "a cap that is none": ("{temperature: 2}", "{temperature: 2, cap: 0}",
        ":16:5: stages.1.sampling: cap must be at "),
    "a misspelt temperature": ("{temperature: 2}", "{temprature: 2}", "did you mean temperature?"),
    "a rule as a number": ("{temperature: 2}", "2", ":16:15: stages.1.sampling: write it like proportional, equal"),
    "a name twice": ("[chat, maths]", "[chat, chat]", ":15:5: stages.1.mix: names chat twice; give weights instead"),
    "an unknown name in a list": ("[chat, maths]", "[chat, math]",
        ":15:5: stages.1.mix.math: no source has this name; did you mean maths?"),
    "a number in a list": ("[chat, maths]", "[chat, 3]", "stages.1.mix: a list of a mix names sources"),
    "examples of an unknown number": ("    sampling", "    weights: examples\n    sampling",
        "sources.maths: weights count its examples, whose number is not known; run `launcher prepare` first"),
    "unknown weights": ("batch:", "weights: documents\nbatch:",
        ":22:10: weights: expected 'tokens' or 'examples', not"),
    # limits
    "a limit of nothing": ("max_epochs: 20", "max_epochs: 0", ":7:53: sources.chat.max_epochs: expected above 0"),
    "a limit of no token": ("max_epochs: 20", "max_tokens: 0", ":7:41: sources.chat.max_tokens: allows nothing"),
    "a limit below a row": ("max_epochs: 20", "max_tokens: 20",
        ":7:41: sources.chat.max_tokens: allows less than one row"),
    "a stage that its limits starve": ("{steps: 10}\n    mix: {maths: 3, chat: 1}", "{steps: 2k}\n    mix: {chat: 1}",
        ":11:5: stages.0.length: the stage wants 12,000 rows, and the limits of its sources leave 6,260: "
        "6,260 of chat; raise max_epochs"),
    "more epochs than the limit": ("{tokens: 50k}", "{epochs: 30, of: chat}",
        ":19:14: stages.2.length.epochs: 30 epochs of chat are wanted, and its limit leaves"),
    "used up before": ("max_epochs: 20", "max_epochs: 0.04",
        "stages.1.mix.chat: nothing of it is left here: first used"),
    # stop rules
    "until what": ("{steps: 10}", "{until: exhausted}",
        ":11:21: stages.0.length.until: expected 'first_exhausted' or 'all_exhausted', not 'exhausted'"),
    "until and steps": ("{steps: 10}", "{steps: 10, until: all_exhausted}",
        ":11:5: stages.0.length: give exactly one"),
    "a change without a length": ("{tokens: 50k}", "{until: all_exhausted}",
        ":19:14: stages.2.length.until: a mix that changes needs a length to change over; use steps"),
    # changes
    "an end that is no change": ("mix_end: {maths: 1}", "mix_end: {chat: 3, maths: 1}",
        ":21:5: stages.2.mix_end: is the same as mix"),
    "an end without a source": ("mix_end: {maths: 1}", "mix_end: {}", "stages.2: mix_end names no source"),
    "an unknown end": ("mix_end: {maths: 1}", "mix_end: {maths: 1, cat: 1}",
        ":21:25: stages.2.mix_end.cat: no source has this name; did you mean chat?"),
    # few shots and curricula
    "no shots": ("max_epochs: 20", "few_shot: 0", ":7:51: sources.chat.few_shot"),
    "shots in words": ("max_epochs: 20", "few_shot: some", ":7:51: sources.chat.few_shot: 'some' is not a count"),
    "an unknown field of few shots": ("max_epochs: 20", "few_shot: {exampls: 3}", "did you mean examples?"),
    "an order by nothing": ("max_epochs: 20", "order: {direction: descending}",
        ":7:41: sources.chat.order: give exactly one of by: length and column: NAME"),
    "an order of both": ("max_epochs: 20", "order: {by: length, column: x}",
        ":7:41: sources.chat.order: give exactly one"),
    "an order by words": ("max_epochs: 20", "order: difficulty", ":7:48: sources.chat.order: expected 'length'"),
    "an order that goes nowhere": ("max_epochs: 20", "order: {by: length, direction: up}",
        "sources.chat.order.direction: expected 'ascending' or 'descending', not 'up'"),
    # replay
    "replay of two units": ("{tokens: 10%, decay", "{tokens: 10%, rows: 5%, decay",
        ":17:5: stages.1.replay: give the share as exactly one of tokens and rows"),
    "a decay that grows": ("decay: 0.5", "decay: 1.5", ":17:34: stages.1.replay.decay: expected at most 1, not 1.5"),
    "an unknown general set": ("[web]", "[wob]",
        ":17:39: stages.1.replay.general: no source is named wob; did you mean web?"),
    "a general set twice": ("[web]", "[web, web]", "stages.1.replay: general names web twice"),
    "replay of nothing": ("general: [web]}", "earlier: false}",
        "stages.1.replay: earlier: false leaves nothing to replay"),
    "decay of nothing": ("general: [web]}", "earlier: false, general: [web]}",
        "stages.1.replay: decay is of earlier"),
    "replay of no share": ("10%", "0%", ":17:5: stages.1.replay: a share of 0 replays nothing"),
    "replay of all": ("10%", "100%", ":17:5: stages.1.replay: leaves no row for the stage's own mix"),
    "decay in the first stage": (
        "chat: 1}\n  - name: second",
        "chat: 1}\n    replay: {tokens: 5%, general: [web], decay: 0.5}\n  - name: second",
        ":13:42: stages.0.replay.decay: the first stage has no earlier"),
    "replay at first": ("chat: 1}\n  - name: second", "chat: 1}\n    replay: {tokens: 5%}\n  - name: second",
        ":13:5: stages.0.replay: the first stage has no earlier stage to replay"),
    "a source for nobody": (", general: [web]", "", ":8:3: sources.web: no stage mixes this source"),
}  # fmt: skip


def launch(monkeypatch, capsys, *arguments):
    """Run the command line in this process; return its exit code and what it said."""
    monkeypatch.setattr(sys, "argv", ["launcher", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, capsys.readouterr().err


@pytest.fixture
def plan_of(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def plan(text):
        (tmp_path / "r.yaml").write_text(text)
        return launch(monkeypatch, capsys, "plan", "r.yaml")

    return plan


def test_the_good_recipe_plans(plan_of):
    assert plan_of(GOOD) == (0, "")


@pytest.mark.parametrize("name", BROKEN)
def test_a_mix_that_cannot_be_is_told_in_one_message(name, plan_of):
    old, new, told = BROKEN[name]
    assert old in GOOD, "the case no longer changes the good recipe"
    code, said = plan_of(GOOD.replace(old, new, 1))
    assert code == 2 and told in said and "r.yaml:" in said and "Traceback" not in said, said

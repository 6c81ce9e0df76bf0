"""Broken recipes: each one clear message with its place, exit 2, no traceback, and nothing heavy imported."""

import os
import subprocess
import sys
from typing import NamedTuple

import pytest

from launcher.cli.main import main

GOOD = """\
name: tiny
model:
  init: {architecture: llama, hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 64}
  tokenizer: {train: {vocab_size: 400}}
  precision: fp32
sequence_length: 64
sources:
  maths: {path: maths.jsonl, tokens: 40k}
  chat: {path: chat.jsonl, tokens: 20k, holdout: 5%}
stages:
  - name: first
    length: {steps: 10}
    mix: {maths: 1}
    learning_rate: 1e-3
  - name: second
    length: {epochs: 1, of: chat}
    mix: {maths: 1, chat: 2}
    replay: 10%
    learning_rate: 5e-4
batch: {rows: 6}
evaluate: {every: 5 steps}
checkpoint: {every: 4 steps}
cluster: {workers: 2}
"""


class Broken(NamedTuple):
    """One change of the good recipe, and what must be told: fragments after the file's name."""

    old: str
    new: str
    told: tuple[str, ...]


def broken(old, new, *told):
    return Broken(old, new, told)


BROKEN = {
    # YAML
    "tab": broken("  precision", "\tprecision", ":5:1: is not YAML: a tab stands here"),
    "two colons": broken("name: tiny", "name: tiny: model", ":1:11: is not YAML", "put a text that contains a colon"),
    "a glob": broken("name: tiny", "name: *.jsonl", ":1:8: is not YAML: here * begins an alias; put", "in quotes"),
    "a name of a glob": broken("name: tiny", "name: *tiny", ":1:7: is not YAML: here * begins an alias", "in quotes"),
    "an at": broken("name: tiny", "name: @tiny", ":1:7: is not YAML: a text cannot begin with @ unless"),
    "open bracket": broken("{rows: 6}", "{rows: 6", "is not YAML", ":21:9:"),
    "empty file": broken(GOOD, "", ":1:1: is empty"),
    "a list": broken(GOOD, "- name: tiny\n", ":1:1: is not a recipe: expected fields"),
    "two documents": broken("batch:", "---\nbatch:", ":20:1: is not YAML: expected a single document"),
    "key twice": broken("batch: {rows: 6}", "batch: {rows: 6}\nname: other", ":21:1: name: is given twice, first in "
                        "line 1"),
    "mix key twice": broken("{maths: 1, chat: 2}", "{maths: 1, chat: 2, maths: 3}", ":17:30: stages.1.mix.maths: is "
                            "given twice, first in line 17"),
    "a tag": broken("name: tiny", "name: !!python/name:os.system x", ":1:7: name: the tag", "is not supported"),
    "a loop": broken("mix: {maths: 1}", "mix: &m {maths: *m}", ":13:10: stages.0.mix.maths: contains itself"),
    # names
    "unknown field": broken("sequence_length: 64", "sequence_lenght: 64", ":6:1: sequence_lenght: is not a field; did "
                            "you mean sequence_length?", ":1:1: sequence_length: is missing"),
    "unknown field of a source": broken("holdout", "holdut", ":9:41: sources.chat.holdut: is not a field; did you "
                                        "mean holdout?"),
    "unknown field of a stage": broken("    replay", "    reply", ":18:5: stages.1.reply: is not a field; did you "
                                       "mean replay?"),
    "unknown field of a length": broken("{steps: 10}", "{step: 10}", ":12:14: stages.0.length.step: is not a field; "
                                        "did you mean steps?"),
    "unknown source": broken("{maths: 1}", "{math: 1}", ":13:11: stages.0.mix.math: no source has this name; did you "
                             "mean maths?"),
    "source of another case": broken("{maths: 1}", "{Maths: 1}", "did you mean maths?"),
    "of an unknown source": broken("of: chat", "of: chats", ":16:25: stages.1.length.of: chats is not in the stage's "
                                   "mix; did you mean chat?"),
    "of missing": broken("{epochs: 1, of: chat}", "{epochs: 1}", ":16:5: stages.1.length: say of which source"),
    "name with a space": broken("name: tiny", "name: my run", ":1:7: name: expected a name of letters"),
    "name is a number": broken("name: tiny", "name: 2024", ":1:7: name: expected a text, not 2024; put it in quotes"),
    "name is true": broken("name: tiny", "name: true", ":1:7: name: expected a text, not true"),
    "no name": broken("name: tiny\n", "", ":1:1: name: is missing"),
    "source name": broken("  chat: {", "  my chat: {", ":9:3: sources.my chat: a source's name has letters"),
    "stage name twice": broken("name: second", "name: first", ":15:5: stages.1.name: stage 0 has the name first"),
    "unused source": broken("{maths: 1, chat: 2}", "{maths: 1}", ":9:3: sources.chat: no stage mixes this source"),
    "same source twice": broken("  chat:", "  more: {path: maths.jsonl, tokens: 40k}\n  chat:", ":9:3: sources.more: "
                                "is the same as maths"),
    # types and values
    "steps as text": broken("{steps: 10}", "{steps: ten}", ":12:21: stages.0.length.steps: 'ten' is not a count"),
    "steps of zero": broken("{steps: 10}", "{steps: 0}", ":12:5: stages.0.length: steps must be at least 1"),
    "half a step": broken("{steps: 10}", "{steps: 2.5}", "2.5 is not a whole number"),
    "two lengths": broken("{steps: 10}", "{steps: 10, tokens: 4k}", ":12:5: stages.0.length: give exactly one of"),
    "no length": broken("    length: {steps: 10}\n", "", ":11:5: stages.0.length: is missing"),
    "unknown unit": broken("tokens: 40k", "tokens: 40x", ":8:38: sources.maths.tokens: '40x' has the unknown unit"),
    "share over one": broken("5%", "1.5", ":9:50: sources.chat.holdout: 1.5 is not between 0% and 100%; did you mean "
                             "a percent sign?"),
    "everything held out": broken("5%", "100%", ":9:41: sources.chat.holdout: keeps every document"),
    "weight of zero": broken("chat: 2}", "chat: 0}", ":15:5: stages.1: the weight of chat is 0"),
    "empty mix": broken("mix: {maths: 1}", "mix: {}", ":11:5: stages.0: mix names no source"),
    "mix as a text": broken("mix: {maths: 1}", "mix: maths", ":13:10: stages.0.mix: expected fields, not 'maths'"),
    "precision": broken("fp32", "fp8", ":5:14: model.precision: expected 'fp32' or 'bf16', not 'fp8'"),
    "flash attention in fp32": broken("precision: fp32", "precision: fp32\n  attention: flash_attention_2",
                                      ":6:3: model.attention: flash_attention_2 does not compute in fp32"),
    "a kernel without soft caps": broken("architecture: llama", "architecture: gemma2", ":2:1: model.attention: gemma2 "
                                         "caps its attention scores, which sdpa does not; use eager"),
    "no model": broken("  init: {", "  unit: {", ":3:3: model.unit: is not a field; did you mean init?"),
    "path and init": broken("  precision", "  path: gpt\n  precision", ":2:1: model: give exactly one of path"),
    "no architecture": broken("architecture: llama, ", "", ":2:1: model: init needs architecture"),
    "no tokenizer": broken("  tokenizer: {train: {vocab_size: 400}}\n", "", ":2:1: model: a new model needs a tok"),
    "tiny vocabulary": broken("400", "20", ":4:35: model.tokenizer.train.vocab_size: expected at least 300, not 20"),
    "rate of zero": broken("1e-3", "0", ":14:20: stages.0.learning_rate: expected above 0, not 0"),
    "no rate": broken("    learning_rate: 1e-3\n", "", ":11:5: stages.0: has no learning_rate"),
    "betas": broken("cluster:", "optimizer: {betas: [0.9, 1.5]}\ncluster:", ":23:1: optimizer: betas are in [0, 1)"),
    "micro batch": broken("cluster:", "micro_batch: many\ncluster:", ":23:14: micro_batch: expected a whole number or "
                          "'auto', not 'many'"),
    "micro batch of zero": broken("cluster:", "micro_batch: 0\ncluster:", ":23:1: micro_batch: 0 is no number of rows"),
    "batch of zero": broken("rows: 6", "rows: 0", ":20:1: batch: a batch has at least 1 row"),
    "batch below a row": broken("rows: 6", "tokens: 32", ":20:9: batch.tokens: 32 is less than one row of 64"),
    "short rows": broken("sequence_length: 64", "sequence_length: 4", ":6:1: sequence_length: 4 is too short"),
    "negative workers": broken("workers: 2", "workers: -2", ":23:20: cluster.workers: expected at least 1, not -2"),
    "min_nodes": broken("workers: 2", "nodes: 2, min_nodes: 4", ":23:21: cluster.min_nodes: 4 is more than nodes"),
    "workers against nodes": broken("workers: 2", "workers: 2, nodes: 2, gpus_per_node: 8", ":23:11: cluster.workers: "
                                    "2 is not nodes x gpus_per_node, which is 16"),
    "keep nothing": broken("4 steps}", "4 steps, keep: 0}", ":22:36: checkpoint.keep: expected at least 1, not 0"),
    "steps without end": broken("{steps: 10}", "{steps: .inf}", ":12:21: stages.0.length.steps: inf is not a count"),
    "steps beyond floats": broken("{steps: 10}", "{steps: 1" + "0" * 400 + "}", ":12:21: stages.0.length.steps: 1000"),
    "too many steps": broken("{steps: 10}", "{steps: 9e17M}", ":12:21: stages.0.length.steps: '9e17M' is not a whole"),
    "epochs without end": broken("epochs: 1,", "epochs: .inf,", ":16:22: stages.1.length.epochs: expected a finite"),
    "clip without end": broken("cluster:", "optimizer: {clip: .inf}\ncluster:", ":23:19: optimizer.clip: expected a "
                               "finite number, not inf"),
    "5000 digits": broken("cluster:", "seed: " + "9" * 5000 + "\ncluster:", ":23:7: seed: a number of 5000 digits"),
    "a path too long": broken("maths.jsonl, tokens: 40k", "x" * 300, ":8:11: sources.maths.path: no such file"),
    "a user that is not": broken("maths.jsonl, tokens: 40k", "~nobody-here/x", "sources.maths.path: no such file"),
    "deepspeed too long": broken("cluster:", f"deepspeed: {'x' * 300}\ncluster:", ":23:1: deepspeed: no file xxx"),
    "a divergence that is no policy": broken("batch:", "divergence: on\nbatch:", ":20:13: divergence: write it like "
                                             "off, or {width: 10, rollbacks: 2}"),
    "a divergence with an unknown field": broken("batch:", "divergence: {widht: 3}\nbatch:", ":20:14: divergence."
                                                 "widht: is not a field; did you mean width?"),
    "a spike of no width": broken("batch:", "divergence: {width: 0}\nbatch:", ":20:21: divergence.width: expected "
                                  "above 0 or 'off', not 0"),
    "out of memory and then": broken("batch:", "out_of_memory: retry\nbatch:", ":20:16: out_of_memory: expected "
                                     "'stop' or 'halve', not 'retry'"),
    # what fields say about each other
    "replay at first": broken("{maths: 1}\n", "{maths: 1}\n    replay: 5%\n", ":14:5: stages.0.replay: the "
                              "first stage has no earlier stage"),
    "replay of all": broken("10%", "100%", ":18:5: stages.1.replay: leaves no row for the stage's own mix"),
    "evaluate in minutes": broken("5 steps", "5min", ":21:12: evaluate.every: '5min' is not a number of steps"),
    "best of nothing": broken("4 steps}", "4 steps, best: chatt}", ":22:30: checkpoint.best: 'chatt' is no source; did "
                              "you mean chat?"),
    "best without a holdout": broken("4 steps}", "4 steps, best: maths}", "maths keeps no holdout to evaluate"),
    "permanent by the clock": broken("4 steps}", "4 steps, permanent: 1h}", "'1h' is not a number of steps"),
    "evaluate nothing": broken(", holdout: 5%", "", ":21:12: evaluate.every: no source keeps a holdout"),
    "checkpoint without unit": broken("4 steps", '"4"', ":22:14: checkpoint.every: '4' needs a unit"),
    "adapter on a new model": broken("cluster:", "adapter: {rank: 4}\ncluster:", ":23:1: adapter: an adapter on a new"),
    "loss of another form": broken("holdout: 5%", "holdout: 5%, format: text, loss: assistant", "sources.chat.loss: "
                                   "text has no assistant tokens; use all"),
    "a secret": broken("cluster:", "slurm: {extra: {api_key: abc}}\ncluster:", ":23:17: slurm.extra.api_key: looks "
                       "like a secret"),
    "deepspeed": broken("cluster:", "deepspeed: zero4\ncluster:", ":23:1: deepspeed: no file zero4", "did you mean "
                        "zero3?"),
    "extends": broken("name: tiny", "extends: nowhere.yaml\nname: tiny", "extends: no such file"),
    "extends a list": broken("name: tiny", "extends: [a, b]\nname: tiny", ":1:1: extends: expected one file name"),
    # what follows from sizes
    "no size and no data": broken(", tokens: 40k", "", ":8:11: sources.maths.path: no such file", "maths.jsonl"),
    "hardly any weight": broken("mix: {maths: 1}\n", "mix: {maths: 1, chat: 0.001}\n", ":13:21: stages.0.mix.chat: "
                                "gets 0.06 rows of the stage's 60"),
    "batch above the stage": broken("rows: 6", "rows: 60k", ":16:5: stages.1.length: the stage has", "less than one "
                                    "batch of 60000"),
    "thousands of epochs": broken("{steps: 10}", "{steps: 1M}", ":13:11: stages.0.mix.maths: is seen"),
}


def launch(monkeypatch, capsys, *arguments):
    """Run the command line in this process; return its exit code and what it said."""
    monkeypatch.setattr(sys, "argv", ["launcher", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, capsys.readouterr().err


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_recipe_is_told_in_one_message(name, tmp_path, monkeypatch, capsys):
    case = BROKEN[name]
    assert GOOD.count(case.old) >= 1, "the case no longer changes the good recipe"
    (tmp_path / "r.yaml").write_text(GOOD.replace(case.old, case.new, 1))
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    code, said = launch(monkeypatch, capsys, "plan", "r.yaml")
    assert code == 2, said
    assert said.startswith("launcher: ") and "Traceback" not in said
    for fragment in case.told:
        assert fragment in said, said
    assert not {"ray", "torch", "deepspeed", "transformers"} & (set(sys.modules) - before)


def test_the_good_recipe_plans(tmp_path, monkeypatch, capsys):
    (tmp_path / "r.yaml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    code, said = launch(monkeypatch, capsys, "plan", "r.yaml")
    assert (code, said) == (0, "")


def test_all_problems_are_told_at_once_in_the_order_of_the_file(tmp_path, monkeypatch, capsys):
    (tmp_path / "r.yaml").write_text(GOOD.replace("holdout", "holdut").replace("{maths: 1}", "{math: 1}"))
    monkeypatch.chdir(tmp_path)
    _, said = launch(monkeypatch, capsys, "plan", "r.yaml", "--set", "stages.0.lenth.steps=3")
    told = [line.removeprefix("launcher: ").partition(": ")[0] for line in said.splitlines()]
    assert told == ["r.yaml:9:41", "r.yaml:13:11", "r.yaml:21:12", "--set stages.0.lenth.steps=3"]


@pytest.mark.parametrize(("override", "told"), [
    ("stages.0.length.stps=2", "--set stages.0.length.stps=2: stages.0.length.stps: is not a field; did you mean"),
    ("stages.7.replay=0", "--set stages.7.replay=0: stages has 2 entries, counted from 0"),
    ("name.first=x", "--set name.first=x: name is a single value"),
    ("seed", "--set seed: write it as --set FIELD=VALUE"),
    ("seed=x", "--set seed=x: seed: expected a whole number, not 'x'"),
    ("batch={rows: [", "--set batch={rows: [: is not YAML"),
])  # fmt: skip
def test_a_broken_override_is_told_as_such(override, told, tmp_path, monkeypatch, capsys):
    (tmp_path / "r.yaml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    code, said = launch(monkeypatch, capsys, "plan", "r.yaml", "--set", override)
    assert code == 2 and told in said, said


@pytest.mark.parametrize(("template", "told"), [
    ('{\n  "zero_optimization": {"stage": 0}\n}', "mine.json:2:25: zero_optimization.stage: nothing is sharded"),
    ('{\n  "zero_optimization": {"stage": 3,\n    "mics_shard_size": 4}\n}', "mine.json:3:5: zero_optimization.mics_"),
    ('{"zero_optimization": {"stage": 3}, "optimizer": {"type": "Adam"}}', "mine.json:1:37: optimizer: the recipe"),
    ('{"zero_optimization": }', "mine.json:1:23: is not JSON"),
    ('{"bf16": {}, "bf16": {}}', "mine.json: has a field twice: bf16"),
    ("[]", "mine.json:1:1: is not a DeepSpeed configuration"),
])  # fmt: skip
def test_a_broken_template_is_told_with_its_own_place(template, told, tmp_path, monkeypatch, capsys):
    (tmp_path / "r.yaml").write_text(GOOD + "deepspeed: mine\n")
    (tmp_path / "mine.json").write_text(template)
    monkeypatch.chdir(tmp_path)
    code, said = launch(monkeypatch, capsys, "plan", "r.yaml")
    assert code == 2 and told in said, said


@pytest.mark.parametrize("argument", ["nowhere.yaml", "cardiologi", "."])
def test_a_missing_recipe_is_told(argument, monkeypatch, capsys):
    code, said = launch(monkeypatch, capsys, "plan", argument)
    assert code == 2 and argument in said


SEEN = """\
import sys
from launcher.cli.main import main
try:
    main()
finally:
    print([name for name in ("ray", "torch", "deepspeed") if name in sys.modules])
"""


@pytest.mark.parametrize("command", ["plan", "run", "prepare"])
def test_in_a_process_of_its_own_nothing_heavy_is_imported(command, tmp_path):
    (tmp_path / "r.yaml").write_text(GOOD.replace("sequence_length", "sequence_lenght"))
    done = subprocess.run([sys.executable, "-c", SEEN, command, "r.yaml"], cwd=tmp_path, capture_output=True,
                          text=True, timeout=60, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stdout.strip().endswith("[]") and "Traceback" not in done.stderr
    assert "did you mean sequence_length?" in done.stderr

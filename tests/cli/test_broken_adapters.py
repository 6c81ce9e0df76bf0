"""Adapters that cannot be: each told with its place and what to write instead, exit 2, no traceback."""

import sys

import pytest

from launcher.cli.main import main

GOOD = """\
name: tiny
model: {path: Qwen/Qwen2.5-1.5B}
deepspeed: zero2
sequence_length: 64
learning_rate: 1e-3
sources:
  maths: {path: maths.jsonl, tokens: 40k}
  chat: {path: chat.jsonl, tokens: 20k}
stages:
  - name: first
    length: {steps: 10}
    mix: {maths: 3, chat: 1}
adapter: {rank: 8, alpha: 16, targets: [q_proj, v_proj]}
batch: {rows: 6}
"""
ADAPTER = "adapter: {rank: 8, alpha: 16, targets: [q_proj, v_proj]}"
END = "chat: 1}\nadapter: {rank: 8,"
SECOND = "chat: 1}\n  - {name: second, length: {steps: 5}, mix: {chat: 1}}\nadapter: {rank: 8"

BROKEN = {
    "a misspelt target": ("v_proj]", "v_porj]", ":13:49: adapter.targets.1: no linear layer of the model is called "
                          "v_porj; did you mean v_proj?"),
    "a target of another model": ("v_proj]", "qkv_proj]", "is called qkv_proj; did you mean v_proj?"),
    "a target twice": ("v_proj]", "q_proj]", ":13:49: adapter.targets.1: q_proj is named already; remove one"),
    "no target": ("[q_proj, v_proj]", "[]", ":13:31: adapter.targets: names no module; use all-linear"),
    "an empty target": ("v_proj]", '""]', ":13:49: adapter.targets.1: an empty name"),
    "everything in a list": ("v_proj]", "all-linear]", "adapter.targets.1: all-linear stands alone"),
    "an expression that names nothing": ("[q_proj, v_proj]", "q_proj", ":13:31: adapter.targets: no linear layer's "
                                         "whole name matches 'q_proj'; they are like model.layers.0."),
    "no expression": ("[q_proj, v_proj]", '"*q_proj"', "targets is no regular expression: nothing to repeat"),
    "a rank that no layer has": ("rank: 8", "rank: 512", ":13:11: adapter.rank: 512 is more than model.layers.0."
                                 "self_attn.v_proj can have, which makes 256 numbers of 1536; use at most 256"),
    "no rank": ("rank: 8", "rank: 0", ":13:17: adapter.rank: expected at least 1, not 0"),
    "no strength": ("alpha: 16", "alpha: 0", ":13:27: adapter.alpha: expected above 0, not 0"),
    "nothing of the input": ("rank: 8", "dropout: 100%", ":13:11: adapter.dropout: leaves nothing of the adapters'"),
    "another kind": ("rank: 8", "kind: dorra", ":13:17: adapter.kind: expected 'lora' or 'dora', not 'dorra'"),
    "a scale in words": ("rank: 8", "rslora: root", ":13:19: adapter.rslora"),
    "an unknown field": ("rank: 8", "rang: 8", ":13:11: adapter.rang: is not a field; did you mean rank?"),
    "a base in other bits": ("rank: 8", "base: 8bit", ":13:17: adapter.base: expected '4bit', not '8bit'"),
    "a 4-bit base in slices": ("deepspeed: zero2", f"deepspeed: zero3\n{ADAPTER[:-1]}, base: 4bit}}",
                               ":4:58: adapter.base: ZeRO-3 cuts weights anywhere, and 4-bit ones come in blocks"),
    "a 4-bit base in a stage's slices": ("chat: 1}\nadapter: {",
                                         "chat: 1}\n    deepspeed: zero3\nadapter: {base: 4bit, ",
                                         ":13:5: stages.0.deepspeed: ZeRO-3 cuts weights anywhere"),
    "the output embedding of tied ones": ("v_proj]", "lm_head]", "adapter.targets: lm_head is the input embedding too"),
    "a new model": ("path: Qwen/Qwen2.5-1.5B", "init: {architecture: llama}, tokenizer: {train: {vocab_size: 400}}",
                    ":13:1: adapter: an adapter on a new model would train on random weights"),
    "one a stage in other words": ("rank: 8", "per_stage: mixed", ":13:22: adapter.per_stage: expected 'stacked' or "
                                   "'merged', not 'mixed'"),
    "DoRAs beside each other": (END, f"{SECOND}, kind: dora, per_stage: stacked,", ":14:32: adapter.per_stage: DoRA "
                                "learns the lengths of weights, and beside an earlier one peft takes those of the"),
    "merged into 4 bits": (END, f"{SECOND}, base: 4bit, per_stage: merged,", ":14:32: adapter.per_stage: weights with "
                           "an adapter in them would have to be rounded to 4 bits again"),
    "a reset of what begins anew": (END, SECOND.replace("mix", "optimizer: {state: reset}, mix")
                                    + ", per_stage: merged,",
                                    ":13:52: stages.1.optimizer.state: each stage trains an adapter of its own"),
    "a reset of all that begins anew": ("rank: 8", "per_stage: merged}\noptimizer: {state: reset",
                                        "optimizer.state: each stage trains an adapter of its own"),
    "a folder where a file is": (END, SECOND.replace("second", "adapters.json") + ", per_stage: merged,",
                                 ":13:6: stages.1.name: its adapter is written into a folder of this name"),
}  # fmt: skip


@pytest.fixture
def plan_of(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def plan(text, *options):
        (tmp_path / "r.yaml").write_text(text)
        monkeypatch.setattr(sys, "argv", ["launcher", "plan", "r.yaml", *options])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    return plan


def test_the_plan_tells_how_much_is_trained(plan_of):
    code, out, err = plan_of(GOOD)
    assert (code, err) == (0, "") and "LoRA of rank 8, 1.09M parameters are trained" in out
    code, out, err = plan_of(GOOD.replace("rank: 8", "kind: dora, rslora: true, rank: 8"))
    assert (code, err) == (0, "") and "rank-stabilized DoRA of rank 8, 1.14M parameters are trained" in out
    one = plan_of(GOOD, "--cluster", "1xA100-80")[1]
    code, out, err = plan_of(GOOD.replace(END, f"{SECOND}, per_stage: merged,"), "--cluster", "1xA100-80")
    assert (code, err) == (0, "") and "LoRA of rank 8, one a stage, merged, 1.09M parameters are trained" in out
    assert "steps 11 to 15 (second): its own adapter; those before it stay" in out
    assert "saving   12 MiB a checkpoint" in one and "saving   25 MiB a checkpoint" in out


@pytest.mark.parametrize("name", BROKEN)
def test_an_adapter_that_cannot_be_is_told_in_one_message(name, plan_of):
    old, new, told = BROKEN[name]
    assert old in GOOD, "the case no longer changes the good recipe"
    text = GOOD.replace(f"{ADAPTER}\n", "") if ADAPTER[:-1] in new else GOOD
    code, _, said = plan_of(text.replace(old, new, 1))
    assert code == 2 and told in said and "r.yaml:" in said and "Traceback" not in said, said


def test_a_missing_package_is_missed_before_anything_starts(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    for name in ("maths", "chat"):
        (tmp_path / f"{name}.jsonl").write_text('{"text": "one and one"}\n')
    text = GOOD.replace("Qwen/Qwen2.5-1.5B", "model").replace("rank: 8", "rank: 8, base: 4bit")
    (tmp_path / "r.yaml").write_text(text)
    monkeypatch.setattr("launcher.cli.packages.find_spec", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["launcher", "run", "r.yaml", "--without-ray"])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and "adapter.base: 4bit needs bitsandbytes, which is not installed here" in said, said
    assert not (tmp_path / "runs/tiny/attempts").exists()

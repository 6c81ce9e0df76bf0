"""Options for speed that cannot be: each told in one line with its place and the reason, exit 2, no traceback."""

import json
import sys

import pytest

from launcher.cli.main import main

SPEED = "speed: {chunked_cross_entropy: true}"
GOOD = f"""\
name: tiny
model:
  init: {{architecture: llama, hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 4}}
  tokenizer: {{train: {{vocab_size: 400}}}}
  {SPEED}
deepspeed: zero2
sequence_length: 64
learning_rate: 1e-3
sources:
  maths: {{path: maths.jsonl, tokens: 40k}}
stages:
  - {{name: first, length: {{steps: 10}}, mix: {{maths: 1}}}}
batch: {{rows: 6}}
cluster: {{workers: 2}}
"""
BROKEN = {
    "Ulysses": ("chunked_cross_entropy: true", "sequence_parallel: 4", ":5:11: model.speed.sequence_parallel: sequence "
                "parallelism is not built"),
    "DeepCompile": ("chunked_cross_entropy: true", "compile: deepcompile", ":5:11: model.speed.compile: DeepCompile "
                    "works on GPUs alone"),
    "another compiler": ("chunked_cross_entropy: true", "compile: xla", ":5:20: model.speed.compile: expected 'torch' "
                         "or 'deepcompile', not 'xla'"),
    "layers under hooks": (f"{SPEED}\ndeepspeed: zero2", "speed: {compile: torch}\ndeepspeed: zero3", ":5:11: "
                           "model.speed.compile: under ZeRO-3 torch.compile gives about nothing"),
    "a stage's layers under hooks": (
        f"{SPEED}\n", "speed: {compile: torch}\n", ":12:6: stages.0.deepspeed: under ZeRO-3 torch.compile gives"),
    "capped logits": ("architecture: llama", "architecture: gemma2", ":5:11: model.speed.chunked_cross_entropy: the "
                      "model's final_logit_softcapping (30) stands between its head and the loss"),
    "scaled logits": ("architecture: llama", "architecture: granite, logits_scaling: 8", "logits_scaling (8) stands"),
    "a misspelt option": ("chunked_cross", "chuncked_cross", "did you mean chunked_cross_entropy?"),
}


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    def run(*words, text=GOOD):
        (tmp_path / "r.yaml").write_text(text)
        (tmp_path / "maths.jsonl").write_text('{"text": "one and one"}\n')
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["launcher", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return ended.value.code, told.out, told.err

    return run


@pytest.mark.parametrize("name", BROKEN)
def test_an_option_that_cannot_be_is_told_in_one_line(name, command):
    old, new, told = BROKEN[name]
    assert old in GOOD
    text = GOOD.replace(old, new, 1).replace("{name: first", "{deepspeed: zero3, name: first" if "stage's" in name else
                                             "{name: first")
    code, _, said = command("plan", "r.yaml", text=text)
    lines = [line for line in said.splitlines() if told in line]
    assert code == 2 and len(lines) == 1 and "r.yaml:" in lines[0] and "Traceback" not in said, said


def test_a_model_s_own_config_tells_of_capped_logits(tmp_path, command):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text(json.dumps({"model_type": "cohere", "logit_scale": 0.0625}))
    text = GOOD.split("  init:")[0] + f"  path: model\n  {SPEED}\n" + GOOD.split(f"{SPEED}\n")[1]
    code, _, said = command("plan", "r.yaml", text=text)
    assert code == 2 and ":4:11: model.speed.chunked_cross_entropy: the model's logit_scale (0.0625)" in said, said


@pytest.mark.parametrize(("new", "missing", "told"), [
    ("liger: true", {}, ":5:11: model.speed.liger: Liger's kernels are Triton's, which compute on GPUs, and there is "
                        "none here"),
    ("compile: torch", {"without_compiler": lambda: "g++"}, ":5:11: model.speed.compile: torch.compile needs a C++ "
                                                          "compiler and Python's headers, and g++ is not here"),
    ("chunked_cross_entropy: true", {"installed": lambda _: "2.12.1+cpu"}, "needs torch 2.13, which has "
                                    "linear_cross_entropy by chunks, and here is torch 2.12.1+cpu"),
    ("liger: true", {"device_problem": lambda *_: None, "find_spec": lambda _: None}, "which is not installed here; "
                                                                                   "install launcher[liger]"),
])
def test_what_this_machine_lacks_is_missed_before_anything_starts(new, missing, told, command, monkeypatch, tmp_path):
    for name, found in missing.items():
        monkeypatch.setattr(f"launcher.cli.packages.{name}", found)
    text = GOOD.replace("chunked_cross_entropy: true", new)
    code, _, said = command("run", "r.yaml", "--without-ray", text=text)
    assert code == 2 and told in said and "r.yaml:5:" in said and "Traceback" not in said, said
    assert not (tmp_path / "runs/tiny/attempts").exists()


def test_the_plan_says_what_is_on(command):
    code, out, _ = command("plan", "r.yaml", text=GOOD.replace(SPEED, f"{SPEED[:-1]}, compile: torch}}"))
    assert code == 0 and "speed    chunked cross-entropy: logits" in out and "torch.compile of each layer" in out, out
    code, out, _ = command("plan", "r.yaml", text=GOOD.replace(f"  {SPEED}\n", ""))
    assert code == 0 and "chunked" not in out and "compile" not in out

"""An adapter for each stage through the real command line: exported with proofs, and with one more stage at its end."""

from pathlib import Path

import pytest

from tests.test_policies_run import cut_off_all
from tests.test_policies_run import write as write_toy
from tests.toy_run import differences, journal, launcher

BASE = """stages:
  - {name: base, length: {steps: 2}, mix: {counting: 1, stories: 1}}
"""
RECIPE = """
name: adapters
model: {path: base/model, precision: PRECISION}
adapter: {rank: 4, alpha: 8, dropout: 10%, per_stage: WAY}
deepspeed: zero3
sequence_length: 64
sources:
  counting: {path: "package:quickstart/counting.jsonl", holdout: 5%}
  stories: {path: "package:quickstart/stories.jsonl", holdout: 5%}
stages:
  - {name: counts, length: {steps: 3}, mix: {counting: 1}}
  - {name: tells.1, length: {steps: 3}, mix: {stories: 1}, replay: 20%, deepspeed: zero2}
"""
MORE = """  - {name: both, length: {steps: 2}, mix: {stories: 1, counting: 1}}
"""
REST = """learning_rate: 3e-3
batch: {rows: 4}
checkpoint: {every: 1 steps, keep: 1000}
cluster: {workers: 2}
"""


@pytest.mark.campaign
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("way", ["stacked", "merged"])
def test_stages_with_adapters_of_their_own_are_extended_exported_and_cut_off_anywhere(way: str, tmp_path: Path) -> None:
    def write(stages: str = "") -> None:
        text = (RECIPE + stages + REST).replace("WAY", way).replace("PRECISION", "bf16")
        (tmp_path / "adapters.yaml").write_text(text)

    write_toy(tmp_path, BASE)
    launcher(tmp_path, "run", "toy.yaml", "--run-dir", "base", "--without-ray")
    write()
    launcher(tmp_path, "run", "adapters.yaml", "--run-dir", "run", "--without-ray")
    assert "proof" in launcher(tmp_path, "export", "run", "two")
    write(MORE)
    launcher(tmp_path, "run", "adapters.yaml", "--run-dir", "run", "--without-ray")
    assert [(event["step"], event["segment"]) for event in journal(tmp_path / "run") if event["event"] == "step"] == [
        (1, 0), (2, 0), (3, 0), (4, 1), (5, 1), (6, 1), (7, 2), (8, 2)]
    said = launcher(tmp_path, "export", "run", "three")
    assert "proof   plain transformers measures" in said and "adapters.json" in said, said
    assert {path.name for path in (tmp_path / "three").iterdir() if path.is_dir()} == {"counts", "tells.1", "both"}
    assert "proof   plain transformers measures" in launcher(tmp_path, "export", "run", "one", "--merge")
    assert "proof   plain transformers measures" in launcher(tmp_path, "export", "run", "border", "--step", "3")
    for step in (3, 4, 6):
        run = tmp_path / f"cut-{step}"
        cut_off_all(tmp_path / "run", step, run)
        launcher(tmp_path, "resume", run.name, "--without-ray")
        assert differences(tmp_path / "run", run) == [], step

"""A finished run's model is copied whole and checked; what is not whole is refused."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from launcher.cli.export import export, furthest
from launcher.core.errors import PlatformError
from launcher.storage.run_dir import RunDir


@pytest.fixture
def finished(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "runs/small")
    model = run.path / run.MODEL
    model.mkdir(parents=True)
    save_file({"a": torch.arange(6.0).view(2, 3), "b": torch.ones(4)}, model / "model.safetensors")
    (model / "config.json").write_text('{"model_type": "llama"}')
    (model / "tokenizer.json").write_text("{}")
    return run


def test_the_copy_holds_the_same_tensors(finished: RunDir, tmp_path: Path) -> None:
    said = export(finished, tmp_path / "out", 10)
    assert "10 parameters in 2 tensors (float32" in said
    assert torch.equal(load_file(tmp_path / "out/model.safetensors")["a"], torch.arange(6.0).view(2, 3))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "config.json", "model.safetensors", "tokenizer.json"]


@pytest.mark.parametrize(("found", "apart"), [(2.0, 0.0), (2.02, 0.01), (math.nan, math.inf), (math.inf, math.inf)])
def test_a_loss_that_is_no_number_agrees_with_nothing(found: float, apart: float) -> None:
    assert furthest({"other": 1.0, "chat": 2.0}, {"other": 1.0, "chat": found}) == (
        "chat" if apart else "other", pytest.approx(apart))


def test_weights_cut_short_are_noticed(finished: RunDir, tmp_path: Path) -> None:
    weights = finished.path / "model/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5])
    with pytest.raises(PlatformError, match="the copy is not whole"):
        export(finished, tmp_path / "out", 10)


def test_empty_or_missing_tensors_are_noticed(finished: RunDir, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2, 0), "b": torch.ones(4)}, finished.path / "model/model.safetensors")
    with pytest.raises(PlatformError, match="a is empty"):
        export(finished, tmp_path / "out", 10)
    save_file({"b": torch.ones(4)}, finished.path / "model/model.safetensors")
    with pytest.raises(PlatformError, match="holds 4 parameters where the run wrote 10"):
        export(finished, tmp_path / "out2", 10)

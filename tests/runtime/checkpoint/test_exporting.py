"""A model comes out of a checkpoint as it came out of the run, and adapters as peft would merge them."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from launcher.cli.export import export_run, export_step
from launcher.core.errors import PlatformError, UserError
from launcher.core.recipe import Adapter, Recipe
from launcher.core.run_plan import RunPlan
from launcher.storage.checkpoints import Checkpoints
from launcher.storage.run_dir import RunDir
from launcher.storage.run_start import Submission
from tests.runtime.checkpoint.runs import three_stages, train


def written(folder: Path, plan: RunPlan, name: str) -> RunDir:
    """Train a run and add what the command that starts one writes."""
    result = train(folder, folder / name, plan, 2)
    assert result.exit_codes == [0, 0], result.failures()
    run = RunDir(folder / name)
    run.store.put(RunDir.PLAN, plan.to_json().encode())
    submission = Submission(file="r.yaml", cache=str(folder / "cache"), recipe=RECIPE)
    run.store.put("submission.json", submission.to_json().encode())
    return run


RECIPE = Recipe.model_validate({"name": "r", "sequence_length": 24, "batch": {"rows": 5},
                                "sources": {"sums": {"path": "a"}}, "stages": [{"name": "s", "length": {"steps": 1},
                                "mix": {"sums": 1}}], "model": {"path": "base", "precision": "fp32"}})
"""What else a run's folder must name; nothing of it is looked at here."""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_last_checkpoint_is_the_model_that_the_run_wrote(tmp_path: Path) -> None:
    run = written(tmp_path, three_stages(tmp_path), "run")
    said, step = export_step(run, tmp_path / "out", None, merge=False)
    assert step == 8 and "none empty, as in the checkpoint of step 8" in said
    mine, theirs = (load_file(path / "model.safetensors") for path in (tmp_path / "out", run.path / "model"))
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert (tmp_path / "out/config.json").read_text() == (run.path / "model/config.json").read_text()
    data = Path(Checkpoints(run).url(3)) / "rank-000.bin"
    data.write_bytes(data.read_bytes()[:50] + b"?" + data.read_bytes()[51:])
    with pytest.raises(PlatformError, match=r"step-00000003: rank-000.bin is damaged"):
        export_run(str(run.path), str(tmp_path / "bad"), step=3, merge=False, proof=False)
    assert not (tmp_path / "bad").exists(), "the next try must not be told that it is not empty"
    with pytest.raises(UserError, match="no checkpoint of step 77; there are 1, 2, 3"):
        export_step(run, tmp_path / "bad", 77, merge=False)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_adapters_come_out_in_peft_s_format_and_merge_as_peft_merges(tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    plan = three_stages(tmp_path, dropout=0.0)
    plan = plan.model_copy(update={"adapter": Adapter(rank=4, alpha=12), "segments": tuple(
        segment.model_copy(update={"trainable": "adapter"}) for segment in plan.segments)})
    run = written(tmp_path, plan, "adapted")
    export_step(run, tmp_path / "adapter", None, merge=False)
    mine, theirs = (load_file(path / "adapter_model.safetensors") for path in (tmp_path / "adapter",
                                                                               run.path / "model"))
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert any(tensor.abs().sum() > 0 for name, tensor in mine.items() if "lora_B" in name)
    export_step(run, tmp_path / "merged", None, merge=True)
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    expected = PeftModel.from_pretrained(base, tmp_path / "adapter").merge_and_unload().state_dict()
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").state_dict()
    assert merged.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(merged[name], tensor, rtol=1e-6, atol=1e-7)

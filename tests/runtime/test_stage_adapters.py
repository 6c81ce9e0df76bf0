"""An adapter for each stage against plain peft: losses, what is written, what that computes, and after a kill."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from launcher.cli.export import export, export_step
from launcher.core.adapter_targets import chosen
from launcher.core.document import fingerprint
from launcher.core.recipe import ModelChoice, Optimizer
from launcher.core.recipe_adapter import Adapter
from launcher.core.run_plan import RunPlan
from launcher.core.segments import segments_of
from launcher.data.keys import stored_index
from launcher.data.packed import PackedSplit
from launcher.runtime.adapter import add_adapter, linears
from launcher.runtime.checkpoint.proving import _load
from launcher.storage.checkpoints import Checkpoints
from launcher.storage.run_dir import RunDir
from launcher.storage.store import LocalStore
from tests.runtime.checkpoint.runs import copy_until, equal, state, submitted
from tests.runtime.plain_loop import PlainResult, train_this
from tests.runtime.segments import train_on
from tests.runtime.test_adapters import logits, plain_base
from tests.runtime.test_arithmetic import worst
from tests.runtime.test_policies import told
from tests.runtime.tiny import LENGTH, make_plan, write_model, write_source

pytestmark = pytest.mark.timeout(600)
STAGES = (5, 4, 2)
"""Steps of each."""


@dataclass(frozen=True)
class Case:
    """Adapters, and the ZeRO stage of each stage's engine."""

    adapter: Adapter
    zero: tuple[int, ...] = (3, 3)
    checkpointing: bool = False

    def __str__(self) -> str:
        return f"{self.adapter.title}, zero{self.zero}{', checkpointing' * self.checkpointing}"


def planned(folder: Path, case: Case, *, precision: str = "fp32", dropout: float = 0.0) -> RunPlan:
    """Prepare data and a base, and plan as many stages as there are engines."""
    cache = LocalStore(folder / "cache")
    indexes = [write_source(cache, name, 60, seed) for seed, name in enumerate(("sums", "words"))]
    model = ModelChoice.model_validate({"path": str(write_model(folder / "base")), "precision": precision,
                                        "gradient_checkpointing": case.checkpointing})
    adapter = case.adapter.model_copy(update={"dropout": dropout})
    plan = make_plan(indexes, model, rows_per_step=6, stage_rows=[6 * steps - 3 for steps in STAGES[: len(case.zero)]],
                     adapter=adapter, optimizer=Optimizer(weight_decay=0.1))
    segments = segments_of(plan.stages, sequence_length=LENGTH, deepspeed=fingerprint({}), adapter=True, layers=None,
                           per_stage=True)
    return plan.model_copy(update={"segments": segments})


def plain_config(base: Path, adapter: Adapter) -> Any:
    from peft import LoraConfig

    targets = chosen(adapter, linears(AutoModelForCausalLM.from_pretrained(base)))
    return LoraConfig(r=adapter.rank, lora_alpha=int(adapter.alpha), use_rslora=adapter.rslora,
                      use_dora=adapter.kind == "dora", target_modules=targets, task_type="CAUSAL_LM")


def train_by_hand(plan: RunPlan, splits: dict[str, PackedSplit], base: Path) -> tuple[Any, list[PlainResult]]:
    """Train each stage's adapter by plain peft in a plain loop, those before it frozen beside it or merged."""
    from peft import get_peft_model

    adapter = plan.adapter
    assert adapter is not None
    names = tuple(f"stage{stage.index}" for stage in plan.stages)
    model: Any = plain_base(base, adapter)
    drawn = {name: each for name, each in add_adapter(AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.float32), adapter, plan.seed, names).named_parameters() if "lora_A" in name}
    results: list[PlainResult] = []
    for number, name in enumerate(names):
        if number == 0 or adapter.per_stage == "merged":
            model = get_peft_model(model.merge_and_unload() if number else model, plain_config(base, adapter),
                                   adapter_name=name)
        else:
            model.add_adapter(name, plain_config(base, adapter))
            model.base_model.set_adapter(list(names[: number + 1]))
        begin(model, name, drawn)
        stage = plan.stages[number]
        results.append(train_this(model, plan, splits, range(stage.first_step, stage.last_step + 1)))
    return model, results


@torch.no_grad()
def begin(model: torch.nn.Module, name: str, drawn: Mapping[str, torch.Tensor]) -> None:
    """Train one adapter alone, from the values that the launcher draws."""
    for called, parameter in model.named_parameters():
        parameter.requires_grad_(f".{name}." in called)
        if f"lora_A.{name}." in called:
            parameter.copy_(drawn[called])


def plainly_loaded(base: Path, folder: Path, adapter: Adapter) -> Any:
    """Return what transformers and peft alone make of an exported run of two stages."""
    from peft import PeftModel

    model = plain_base(base, adapter)
    if adapter.per_stage == "merged":
        merged = PeftModel.from_pretrained(model, folder / "stage0").merge_and_unload()
        return PeftModel.from_pretrained(merged, folder / "stage1")
    model = PeftModel.from_pretrained(model, folder / "stage0", adapter_name="first")
    model.load_adapter(folder / "stage1", "second")
    model.base_model.set_adapter(["first", "second"])
    return model


def files(folder: Path) -> dict[str, bytes]:
    """Return what each file says; safetensors written by its library and by ours have another order."""
    return {str(path.relative_to(folder)): sorted_tensors(path) if path.suffix == ".safetensors" else path.read_bytes()
            for path in folder.rglob("*") if path.is_file()}


def sorted_tensors(path: Path) -> bytes:
    return b"".join(name.encode() + each.view(torch.uint8).numpy().tobytes()
                    for name, each in sorted(load_file(path).items()))


STACKED, MERGED = Adapter(rank=4, alpha=8, per_stage="stacked"), Adapter(rank=4, alpha=8, per_stage="merged")
SLOW = [Case(STACKED, (3, 2), checkpointing=True)]
SOME = {"targets": r".*layers\.1\..*(q_proj|down_proj)"}
CAMPAIGN = [
    Case(STACKED, (2, 3)), Case(STACKED, (1, 3)), Case(STACKED.model_copy(update={**SOME, "rslora": True})),
    Case(MERGED, (3, 3), checkpointing=True), Case(MERGED, (2, 3)), Case(MERGED, (3, 2)), Case(MERGED, (2, 1)),
    Case(MERGED.model_copy(update={**SOME, "rslora": True})), Case(MERGED.model_copy(update={"kind": "dora"})),
    Case(MERGED.model_copy(update={"kind": "dora"}), (2, 2)), Case(MERGED.model_copy(update={"kind": "dora"}), (1, 3)),
    Case(STACKED.model_copy(update={"base": "4bit"}), (2, 2)),
]
CASES = [*(pytest.param(case, marks=pytest.mark.slow) for case in SLOW),
         *(pytest.param(case, marks=pytest.mark.campaign) for case in CAMPAIGN)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_two_stages_are_those_of_plain_peft_and_so_is_what_is_written(case: Case, tmp_path: Path) -> None:
    if case.adapter.base == "4bit":
        pytest.importorskip("bitsandbytes")
    plan, base, cache = planned(tmp_path, case), tmp_path / "base", LocalStore(tmp_path / "cache")
    steps = train_on(tmp_path, tmp_path / "run", plan, 2, case.zero)
    splits = {name: PackedSplit(cache, stored_index(cache, source.fingerprint), "train")
              for name, source in plan.sources.items()}
    peft, results = train_by_hand(plan, splits, base)
    assert len(steps) == plan.steps == 9 and all(step["applied"] for step in steps)
    errors = (worst([step["loss"] for step in steps], [loss for each in results for loss in each.losses]),
              worst([step["grad_norm"] for step in steps], [norm for each in results for norm in each.norms]))
    print(f"{case}: largest relative differences of loss and norm: {errors}")
    assert max(errors) <= 1e-5
    first, last = (state(tmp_path / "run", step) for step in (STAGES[0], plan.steps))
    assert first.items() and all(torch.equal(last[name], each) for name, each in first.items())
    manifest = Checkpoints(RunDir(tmp_path / "run")).manifest(plan.steps)
    assert {manifest.updates_of(name) for name in manifest.shapes if ".stage0." in name} == {STAGES[0]}
    assert {manifest.updates_of(name) for name in manifest.shapes if ".stage1." in name} == {STAGES[1]}

    run = submitted(RunDir(tmp_path / "run"), plan, tmp_path / "cache")
    export_step(run, tmp_path / "adapters", None, merge=False)
    export_step(run, tmp_path / "merged", None, merge=True)
    export(run, tmp_path / "copied", sum(map(prod, manifest.shapes.values())))
    assert files(tmp_path / "adapters") == files(tmp_path / "copied") == files(run.path / "model")
    again, trained = logits(plainly_loaded(base, run.path / "model", case.adapter)), logits(peft)
    merged = logits(AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32))
    print(f"{case}: logits, exported {float((again - trained).abs().max()):.1e}, merged "
          f"{float((merged - again).abs().max()):.1e}")
    torch.testing.assert_close(again, trained, rtol=1e-4, atol=1e-4)  # after 9 steps of two ways to sum
    torch.testing.assert_close(merged, again, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(logits(_load(str(run.path / "model"), plan)), again, rtol=1e-6, atol=1e-6)


def go_on_from(folder: Path, case: Case, precision: str, resumed: list[int]) -> None:
    """Continue a run from some of its steps; each must end as the whole one, to the last bit."""
    plan = planned(folder, case, precision=precision, dropout=0.1)
    whole = train_on(folder, folder / "whole", plan, 2, case.zero)
    final, model = state(folder / "whole", plan.steps), files(folder / "whole/model")
    for step in resumed:
        run = copy_until(folder / "whole", step, folder / f"from{step}")
        assert told(train_on(folder, run, plan, 2, case.zero, resume=step, attempt=2)) == told(whole)[step:], step
        assert equal(state(run, plan.steps), final) and files(run / "model") == model, f"from step {step}"


@pytest.mark.slow
def test_a_run_goes_on_bit_for_bit_at_the_border_and_inside_the_second_stage(tmp_path: Path) -> None:
    go_on_from(tmp_path, Case(MERGED, (3, 2)), "bf16", [STAGES[0], STAGES[0] + 2])


@pytest.mark.campaign
@pytest.mark.parametrize(("case", "precision"), [
    (Case(STACKED, (3, 2, 3)), "bf16"), (Case(MERGED, (2, 3, 1)), "bf16"), (Case(MERGED, (3, 3, 3)), "fp32"),
    (Case(MERGED.model_copy(update={"kind": "dora"}), (3, 3, 2)), "bf16")], ids=str)
def test_a_run_of_three_stages_goes_on_bit_for_bit_from_every_step(case: Case, precision: str, tmp_path: Path) -> None:
    go_on_from(tmp_path, case, precision, list(range(1, sum(STAGES))))


@pytest.mark.campaign
@pytest.mark.parametrize("adapter", [STACKED, MERGED], ids=lambda adapter: adapter.title)
def test_earlier_adapters_go_over_to_another_number_of_workers(adapter: Adapter, tmp_path: Path) -> None:
    plan = planned(tmp_path, case := Case(adapter, (3, 3, 3)))
    whole = train_on(tmp_path, tmp_path / "whole", plan, 2, case.zero)
    run = copy_until(tmp_path / "whole", STAGES[0] + 2, tmp_path / "three")
    steps = train_on(tmp_path, run, plan, 3, (3, 2, 3), resume=STAGES[0] + 2, attempt=2)
    assert worst([step["loss"] for step in steps], [step["loss"] for step in whole[STAGES[0] + 2:]]) <= 1e-6

"""Compiled layers compute what they do as they are written, are compiled once, and are refused where nothing could.

Liger's kernels need a GPU: what is shown here is what launcher asks of it."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from launcher.core.errors import UserError
from launcher.core.recipe_adapter import Adapter
from launcher.core.recipe_speed import Speed
from launcher.runtime import speed
from launcher.runtime.adapter import add_adapter
from launcher.runtime.alone import Alone
from launcher.runtime.batches import MicroBatch
from launcher.runtime.chunked_loss import HeadLosses
from launcher.runtime.engine import base_model
from launcher.runtime.losses import token_losses
from launcher.runtime.speed import Compiled, as_written, use_liger
from tests.runtime.test_arithmetic import Case
from tests.runtime.test_chunked_loss import ROWS, as_plain_pytorch, given, gradients, model_of

COMPILED = Speed(compile="torch")


@pytest.mark.campaign
@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["plain", "checkpointing", "adapter"])
def test_compiled_layers_have_the_same_losses_and_gradients_and_one_graph(how: str) -> None:
    model, (inputs, labels) = model_of(num_hidden_layers=4), given()
    if how == "checkpointing":
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if how == "adapter":
        model = add_adapter(model, Adapter(rank=2), 0)
    whole = token_losses(model(**inputs).logits, labels)
    expected, names = gradients(model, whole), [name for name, _ in model.named_parameters()]
    torch._dynamo.utils.counters.clear()
    compiled, head = Compiled(base_model(model), ROWS), HeadLosses(base_model(model))
    assert [name for name, _ in model.named_parameters()] == names
    alone = Alone(model.train(), torch.device("cpu"))
    for sources in (("sums",) * ROWS, ()):  # timed, and not
        alone.take(MicroBatch(labels, labels, labels, sources, 0))
        with compiled.training(ROWS), head.instead(labels):
            losses = model(**inputs).logits
            found = gradients(model, losses)
    assert alone.seconds(0.0, 1.0) > 0
    torch.testing.assert_close(losses, whole, rtol=1e-5, atol=1e-6)
    # A's gradients are zero at first, as B is.
    sizes = {name: float(expected[name].norm()) for name in found if expected[name].any()}
    assert sizes and max(float((found[name] - expected[name]).norm()) / sizes[name] for name in sizes) < 1e-5
    # Under an adapter the first layer is given what asks for no gradient, and the others what does.
    graphs = 2 if how == "adapter" else 1
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs, "each layer was compiled for itself"
    with compiled.training(1):
        fewer = token_losses(model(input_ids=inputs["input_ids"][:1], use_cache=False).logits, labels[:1])
        gradients(model, fewer)
    with as_written(), torch.no_grad():
        model.eval()(input_ids=inputs["input_ids"][:, :5])
    torch.testing.assert_close(fewer, whole[:1], rtol=1e-5, atol=1e-6)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs, "another shape was compiled"


@pytest.mark.campaign
@pytest.mark.timeout(400)
@pytest.mark.parametrize("case", [
    Case(2, 2, stage=2, speed=COMPILED), Case(1, 8, stage=1, checkpointing=True, speed=COMPILED),
    Case(2, 2, stage=2, tied=True, packed=False, speed=Speed(compile="torch", chunked_cross_entropy=True))], ids=str)
def test_compiled_workers_agree_with_plain_pytorch(case: Case, tmp_path: Path) -> None:
    as_plain_pytorch(case, tmp_path)


def test_without_a_compiler_a_worker_says_what_it_misses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match=r"model\.speed\.compile: .* no-such-compiler is not here; install them"):
        Compiled(model_of(), ROWS)


def test_a_model_without_layers_that_are_known_is_refused() -> None:
    model: Any = torch.nn.Linear(2, 2)
    model.config = model_of().config
    with pytest.raises(UserError, match="no decoder layers are known of a llama model"):
        Compiled(model, ROWS)


@pytest.fixture
def liger(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Stand in for the package, which imports Triton; return what it is asked for."""
    patches, asked = ModuleType("monkey_patch"), list[Any]()
    patches.MODEL_TYPE_TO_APPLY_LIGER_FN = {"llama": None}  # type: ignore[attr-defined]
    monkeypatch.setattr(speed, "find_spec", lambda _: True)
    monkeypatch.setattr(speed, "import_module", lambda _: patches)
    monkeypatch.setattr("transformers.integrations.liger.apply_liger_kernel", lambda *given: asked.append(given))
    return asked


def test_liger_is_asked_for_kernels_and_for_no_loss(liger: list[Any]) -> None:
    model = model_of()
    use_liger(model)
    assert liger == [(model, {"cross_entropy": False, "fused_linear_cross_entropy": False})]


def test_a_model_that_liger_would_leave_as_it_is_is_refused(liger: list[Any]) -> None:
    with pytest.raises(UserError, match=r"model\.speed\.liger: Liger has no kernels for a qwen3 model"):
        use_liger(model_of("qwen3"))
    assert not liger


def test_without_liger_a_worker_says_how_to_install_it() -> None:
    pytest.importorskip("torch")
    if speed.find_spec("liger_kernel") is None:
        with pytest.raises(UserError, match=r"install launcher\[liger\]"):
            use_liger(model_of())

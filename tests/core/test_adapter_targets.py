"""Which layers get adapters, and how many numbers that trains, before any model is at hand."""

import pytest

from launcher.core.adapter_targets import adapter_parameters, chosen, misfits
from launcher.core.architectures import KNOWN
from launcher.core.document import fingerprint
from launcher.core.recipe_adapter import Adapter

LLAMA, PHI = KNOWN["meta-llama/Llama-3.1-8B"].linears, KNOWN["microsoft/phi-4"].linears


def test_a_list_names_by_whole_names_or_last_parts_and_a_text_is_an_expression():
    assert len(chosen(Adapter(), LLAMA)) == 7 * 32
    assert len(chosen(Adapter(targets=("q_proj", "mlp.down_proj")), LLAMA)) == 2 * 32
    assert chosen(Adapter(targets=("model.layers.3.self_attn.v_proj",)), LLAMA) == ["model.layers.3.self_attn.v_proj"]
    assert chosen(Adapter(targets=("proj",)), LLAMA) == [], "a last part is whole"
    assert len(chosen(Adapter(targets=r".*\.(0|1)\.self_attn\..*"), LLAMA)) == 8
    assert chosen(Adapter(targets="q_proj"), LLAMA) == []
    assert len(chosen(Adapter(), PHI)) == 4 * 40


def test_what_is_trained_is_counted():
    # Published for Llama-3.1-8B: rank 16 on all linear layers, 41,943,040.
    assert adapter_parameters(Adapter(rank=16), LLAMA) == 41_943_040
    lengths = 32 * (4096 + 1024 + 1024 + 4096 + 2 * 14_336 + 4096)
    assert adapter_parameters(Adapter(kind="dora", rank=16), LLAMA) == 41_943_040 + lengths
    assert adapter_parameters(Adapter(rank=8, targets=("q_proj", "v_proj")), LLAMA) == 32 * 8 * (8192 + 5120)


@pytest.mark.parametrize(("adapter", "path", "told"), [
    (Adapter(targets=("q_proj", "v_porj")), ("adapter", "targets", 1), "is called v_porj; did you mean v_proj?"),
    (Adapter(targets=("layers.0.mlp.q_proj",)), ("adapter", "targets", 0), "did you mean model.layers.0."),
    (Adapter(targets="q_proj"), ("adapter", "targets"), "no linear layer's whole name matches 'q_proj'; they are"),
    (Adapter(rank=1025), ("adapter", "rank"), "1025 is more than model.layers.0.self_attn.k_proj can have, which "
                                              "makes 1024 numbers of 4096; use at most 1024"),
])  # fmt: skip
def test_what_does_not_fit_is_told(adapter, path, told):
    [(place, message)] = misfits(adapter, LLAMA)
    assert place == path and told in message
    assert not list(misfits(Adapter(rank=1024), LLAMA))


def test_a_run_that_began_before_a_field_existed_keeps_its_chain():
    before = {"kind": "lora", "rank": 16, "alpha": 32.0, "dropout": 0.0, "targets": "all-linear"}
    assert Adapter().model_dump(mode="json") == before and fingerprint(Adapter()) == fingerprint(before)
    changed = Adapter(rslora=True)
    assert changed.model_dump() == {**before, "rslora": True} and Adapter.from_json(changed.to_json()) == changed
    assert Adapter(per_stage="merged").model_dump() == {**before, "per_stage": "merged"}
    assert (Adapter(rank=16, alpha=32).scale, Adapter(rank=16, alpha=32, rslora=True).scale) == (2, 8)

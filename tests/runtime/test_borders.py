"""Documents in one row do not see each other, and an attention that lets them is refused."""

import pytest
import torch
from transformers import AutoConfig
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from launcher.core.errors import UserError
from launcher.runtime.borders import check_borders, leak

CPU = torch.device("cpu")
SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
         "num_key_value_heads": 2, "vocab_size": 99}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("architecture", ["llama", "qwen3", "mistral"])
def test_shipped_attentions_isolate(architecture: str, attention: str, dtype: torch.dtype) -> None:
    assert leak(AutoConfig.for_model(architecture, **SMALL), attention, dtype, CPU) == 0.0


def test_an_attention_that_leaks_is_refused() -> None:
    def causal_only(module, query, key, value, attention_mask, **_):  # type: ignore[no-untyped-def]
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        out = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return out.transpose(1, 2).contiguous(), None

    ALL_ATTENTION_FUNCTIONS.register("causal_only", causal_only)
    ALL_MASK_ATTENTION_FUNCTIONS.register("causal_only", ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    with pytest.raises(UserError, match=r"causal_only lets packed documents of a llama model see each other"):
        check_borders(AutoConfig.for_model("llama", **SMALL), "causal_only", torch.float32, CPU)


def test_the_check_leaves_the_generator_where_it_was() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    check_borders(AutoConfig.for_model("llama", **SMALL), "sdpa", torch.float32, CPU)
    assert torch.equal(torch.rand(3), expected)

"""What `model.init` may say: the architectures that new models are made of, and the fields of their configs.

transformers takes any keyword into a config in silence, so a misspelt field would change nothing and be believed; and
asking transformers itself costs seconds before a run. A test holds this table against the installed version.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from launcher.core.suggestions import did_you_mean

COMMON = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
          "max_position_embeddings", "initializer_range", "rms_norm_eps", "tie_word_embeddings", "rope_parameters",
          "attention_dropout", "vocab_size")
GEMMA = ("head_dim", "hidden_activation", "attention_bias", "query_pre_attn_scalar", "sliding_window", "layer_types",
         "final_logit_softcapping", "attn_logit_softcapping")
FIELDS: dict[str, tuple[str, ...]] = {
    "llama": (*COMMON, "hidden_act", "attention_bias", "mlp_bias", "head_dim"),
    "mistral": (*COMMON, "hidden_act", "head_dim", "sliding_window"),
    "qwen2": (*COMMON, "hidden_act", "use_sliding_window", "sliding_window", "max_window_layers", "layer_types"),
    "qwen3": (*COMMON, "hidden_act", "head_dim", "attention_bias", "use_sliding_window", "sliding_window",
              "max_window_layers", "layer_types"),
    "gemma2": (*COMMON, *GEMMA),
    "gemma3_text": (*COMMON, *GEMMA),
    "phi3": (*COMMON, "hidden_act", "resid_pdrop", "embd_pdrop", "original_max_position_embeddings", "sliding_window"),
    "olmo2": (*COMMON, "hidden_act", "attention_bias"),
    "granite": (*COMMON, "hidden_act", "attention_bias", "mlp_bias", "embedding_multiplier", "logits_scaling",
                "residual_multiplier", "attention_multiplier"),
}
ANY_ATTENTION = ("sdpa", "eager", "flash_attention_2")
EAGER_ONLY = ("eager", "flash_attention_2")
SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
         "max_position_embeddings", "vocab_size", "head_dim")
MOST_LAYERS, MOST = 10_000, 2**31 - 1
"""Far above any model; a plan names every layer, and tensors are no larger in any direction."""


def attentions(init: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the attention kernels that a new model's architecture works with."""
    return EAGER_ONLY if init.get("architecture") == "gemma2" else ANY_ATTENTION


def init_problems(init: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (field, what is wrong) for a new model's description; nothing when transformers will take it."""
    architecture = init.get("architecture")
    if not isinstance(architecture, str) or architecture not in FIELDS:
        hint = did_you_mean(str(architecture), FIELDS)
        yield "architecture", f"{architecture!r} is none that new models are made of; {hint}"
        return
    known = FIELDS[architecture]
    for name, value in init.items():
        if name != "architecture" and name not in known:
            yield name, f"{architecture} has no such field; {did_you_mean(name, known)}"
        elif name in SIZES and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            yield name, f"{value!r} is not a whole number of at least 1"
        elif name in SIZES and value > (most := MOST_LAYERS if name == "num_hidden_layers" else MOST):
            yield name, f"{value} is more than {most}, and so than any model has"
    yield from _shapes(init)


def _shapes(init: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what attention cannot be cut into. Fields that are not whole numbers were told already."""
    sizes = {name: init[name] for name in SIZES if type(init.get(name)) is int and init[name] > 0}
    hidden, heads = sizes.get("hidden_size"), sizes.get("num_attention_heads")
    if hidden and heads and "head_dim" not in init and hidden % heads:
        yield "hidden_size", f"{hidden} is not a multiple of num_attention_heads {heads}"
    key_value = sizes.get("num_key_value_heads")
    if heads and key_value and heads % key_value:
        yield "num_attention_heads", f"{heads} is not a multiple of num_key_value_heads {key_value}"

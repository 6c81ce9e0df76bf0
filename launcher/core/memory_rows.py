"""What the rows of a micro-batch leave in memory until their gradients are computed: activations and logits.

Counted tensor by tensor as autograd saves them in the decoder layers of transformers 5 (RMS norms in fp32, rotary
positions, gated feed-forward), in bytes of each token. Published working sets of a layer (performance notes of
Arctic's long-sequence training: 24 to 48 times 2 h a token) come out of the same count; a test compares.
"""

from collections.abc import Iterator

from launcher.core.architectures import ModelFacts
from launcher.core.memory_chunks import chunked_bytes
from launcher.core.memory_setting import FP32, Setting
from launcher.core.memory_use import Use

LOSS_COPIES = 3
"""Of fp32 logits at once (runtime/losses.py): the log-probabilities that are saved, their gradient, and that of the
logits, before anything of it is freed."""
ADAPTED = 7
"""Linear modules of a layer."""


def rows_in_work(setting: Setting) -> Iterator[Use]:
    """Yield activations and logits of one micro-batch."""
    logits = (chunked_bytes(setting) if setting.chunked else
              LOSS_COPIES * FP32 * setting.facts.vocab_size * setting.tokens)
    layers = setting.facts.layers * (setting.weight_bytes * setting.facts.hidden_size * setting.tokens
                                     if setting.checkpointing else saved_of_layer(setting))
    at_work = in_work_of_layer(setting) + (saved_of_layer(setting) if setting.checkpointing else 0)
    # The loss and the last layer are never in work at once.
    yield Use("activations", layers + _ends(setting) + max(0, at_work - logits), phase="backward")
    yield Use("logits", logits, phase="backward")


def saved_of_layer(setting: Setting) -> int:
    """Return what a layer saves for its way back, without gradient checkpointing."""
    facts, each = setting.facts, setting.weight_bytes
    queries, keys = facts.heads * facts.head_size, facts.kv_heads * facts.head_size
    widths = facts.norms_per_layer * facts.hidden_size + (facts.qk_norm or facts.wide_qk_norm) * (queries + keys)
    # What enters the two blocks, and silu's argument, its value, the other factor and their product.
    a_token = norm(setting, widths) + 2 * each * facts.hidden_size + 4 * each * facts.intermediate_size
    adapters = ADAPTED * each * setting.adapter_rank * setting.adapters_at_work
    return setting.tokens * (a_token + adapters + attention_of_token(setting))


def in_work_of_layer(setting: Setting) -> int:
    """Return what is computed with on a layer's way back, and gone afterwards."""
    facts, each = setting.facts, setting.weight_bytes
    way_back = each * (facts.intermediate_size + facts.hidden_size)
    scores = facts.heads * setting.length * (2 * FP32 + each) if setting.attention == "eager" else 0
    return setting.tokens * max(way_back, scores)


def norm(setting: Setting, width: int) -> int:
    """Return what an RMS norm saves of a token: its argument in fp32, and what it multiplies the weights with."""
    return (FP32 + (FP32 if setting.facts.fp32_norms else setting.weight_bytes)) * width


def attention_of_token(setting: Setting) -> int:
    """Return what attention saves of a token: queries, keys, values and the result; and what is quadratic in rows."""
    facts, each = setting.facts, setting.weight_bytes
    queries, keys = facts.heads * facts.head_size, facts.kv_heads * facts.head_size
    if setting.attention == "flash_attention_2":
        return each * 2 * (queries + keys) + FP32 * facts.heads
    # Others are given keys and values repeated for all heads.
    lines = each * 4 * queries
    if setting.attention == "sdpa":
        # A mask of document borders as a bias for each layer.
        return lines + FP32 * facts.heads + each * setting.length
    # Eager: softmax's result in fp32, and rounded where the model computes in less.
    scores = FP32 + (each if each != FP32 else 0) + each * facts.softcap
    return lines + facts.heads * setting.length * scores


def _ends(setting: Setting) -> int:
    """Return what the embedding and the last norm save."""
    facts: ModelFacts = setting.facts
    return setting.tokens * (norm(setting, facts.hidden_size) + 2 * setting.weight_bytes * facts.hidden_size)

"""What a loss by chunks holds in memory, as torch 2.13 computes it (nn/modules/linear_cross_entropy.py).

Decides nothing: torch chooses its chunks by these sizes, and evaluation takes the same.
"""

from launcher.core.memory_setting import FP32, Setting

HALVED = 2
"""torch's usual choice is half of what is as large as the hidden states ("aspect_ratio:2")."""


def chunk_of(tokens: int, hidden: int, vocabulary: int, parts: int = HALVED) -> int:
    """Return the tokens of a chunk: about so many that their logits are as large as the hidden states of all."""
    share = -(-tokens // -(-vocabulary // hidden))
    return max(1, min((1 << (share - 1).bit_length()) // parts, tokens))


def chunked_bytes(setting: Setting) -> int:
    """Return what the way back of the loss by chunks takes: logits of a chunk in fp32, and what is computed from them.
    """
    facts, narrow = setting.facts, setting.weight_bytes != FP32
    if setting.device == "cpu" and narrow:
        # There torch computes in fp32 ("accurate"): the head's weights and the sum of their gradients once more.
        size = chunk_of(setting.tokens, facts.hidden_size, facts.vocab_size, 1)
        heads = 2 * FP32 * facts.vocab_size * facts.hidden_size
        return heads + FP32 * size * facts.vocab_size
    size = chunk_of(setting.tokens, facts.hidden_size, facts.vocab_size)
    # Rounded once more for the products with weights, where these are narrower.
    return (FP32 + (setting.weight_bytes if narrow else 0)) * size * facts.vocab_size

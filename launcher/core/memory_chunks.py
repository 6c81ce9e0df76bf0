"""How many tokens the loss by chunks computes at a time, and what that holds in memory.

Decides the chunks. What is computed with them is torch's (2.13, nn/modules/linear_cross_entropy.py), in `runtime.
chunked_loss`.
"""

from launcher.core.memory_setting import FP32, Setting

LEAST = 256
"""Tokens. Each chunk reads the head and adds to its gradient once: on a CPU, 512 hidden units and 32,000 words take 3.0
times the whole loss's time by 16 tokens, which is torch's own choice there, 1.2 times by 128 and 1.1 times by 256."""
PARTS = 4
"""A chunk is at most a quarter of the tokens, however few these are."""

CPU_HEADS = 4
"""As large as the head in fp32, which a loss of bf16 on a CPU holds at once; benchmarks/speed_head.py counts."""


def chunk_of(tokens: int, hidden: int, vocabulary: int) -> int:
    """Return the tokens of a chunk: so many that their logits are about half as large as all hidden states, as torch
    chooses, or LEAST."""
    share = -(-tokens // -(-vocabulary // hidden))
    return max(1, min(max((1 << (share - 1).bit_length()) // 2, LEAST), -(-tokens // PARTS)))


def chunked_bytes(setting: Setting) -> int:
    """Return what the way back of the loss by chunks takes: logits of a chunk in fp32, and what is computed from them.
    """
    facts, narrow = setting.facts, setting.weight_bytes != FP32
    logits = FP32 * chunk_of(setting.tokens, facts.hidden_size, facts.vocab_size) * facts.vocab_size
    if not narrow:
        return logits
    if setting.device == "cpu":
        # There torch computes in fp32 ("accurate"), with the head's weights and sums of their gradients in it.
        return logits + CPU_HEADS * FP32 * facts.vocab_size * facts.hidden_size
    # Rounded once more for the products with weights.
    return logits + logits // FP32 * setting.weight_bytes

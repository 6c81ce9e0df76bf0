"""Losses of tokens from the last hidden states, some at a time: logits of all tokens are never in memory.

The head itself is made to return losses in place of logits while it is asked to, so that its weights are where they
always are when it computes, and nowhere else: gathered once under ZeRO-3, in slices again afterwards, with gradients
that arrive as any other module's. torch does the training pass; which makes that possible is `core.speed_checks`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from math import sqrt
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from transformers import AutoModelForCausalLM, PretrainedConfig

from launcher.core.errors import UserError
from launcher.core.memory_chunks import chunk_of
from launcher.core.speed_checks import CHUNKED, NO_TORCH, has_chunks, on_head
from launcher.core.yaml_tree import dotted
from launcher.runtime.batches import IGNORED
from launcher.runtime.borders import small_config
from launcher.runtime.losses import right_tokens, token_losses

NAME = dotted(CHUNKED)
LARGE = 40.0
"""Standard deviation of the logits on which a head is tried: caps show where logits are large."""
NEAR = 0.05
"""Of the largest loss there; bf16 rounds logits of that size by a hundredth. A cap or a scale changes all of it."""


class HeadLosses:
    """A model's head, which returns losses in place of logits while it is asked to."""

    def __init__(self, model: Any) -> None:
        """Take a model of transformers, without adapters around it. Raises UserError for a head that does not do."""
        if not has_chunks(torch.__version__):
            raise UserError(f"{NAME}: {NO_TORCH.format(torch.__version__)}")
        head = model.get_output_embeddings()
        if not isinstance(head, nn.Linear) or hasattr(head, "base_layer"):
            raise UserError(f"{NAME}: {on_head()}" if hasattr(head, "base_layer") else
                            f"{NAME}: a {model.config.model_type} model has no linear head; remove it")
        self._head, self._logits, self._labels = head, head.forward, None
        # The module stays what it is, hooks and all; only what it computes is another thing.
        head.forward = self._forward

    @contextmanager
    def instead(self, labels: torch.Tensor) -> Iterator[None]:
        """Have forward passes return, as logits, the losses [rows, length] of these labels; without gradients also
        which tokens are right, [rows, length, 2]."""
        self._labels = labels
        try:
            yield
        finally:
            self._labels = None

    def _forward(self, input: torch.Tensor) -> torch.Tensor:
        if self._labels is None:
            return self._logits(input)
        rows, labels = input.flatten(0, -2), self._labels
        found = self._train(rows, labels.flatten()) if torch.is_grad_enabled() else self._try(rows, labels.flatten())
        return found.view(*labels.shape, *found.shape[1:])

    def _train(self, rows: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        # Each token's loss, and no sum: losses are told by source, and what they are divided by differs from step to
        # step. In the model's precision, from logits in fp32.
        options = nn.LinearCrossEntropyOptions(batch_chunk_size=self._size(rows))
        return F.linear_cross_entropy(rows, self._head.weight, labels, linear_bias=self._head.bias, reduction="none",
                                      ignore_index=IGNORED, options=options).float()

    def _try(self, rows: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        size, found = self._size(rows), list[torch.Tensor]()
        for some, wanted in zip(rows.split(size), labels.split(size), strict=True):
            logits = self._logits(some)[None]
            each = token_losses(logits, wanted[None]), right_tokens(logits, wanted[None])
            found.append(torch.stack(each, -1)[0])
        return torch.cat(found)

    def _size(self, rows: torch.Tensor) -> int:
        return chunk_of(len(rows), self._head.in_features, self._head.out_features)


def check_head(config: PretrainedConfig, attention: str, dtype: torch.dtype, device: torch.device) -> None:
    """Raise UserError if a model of this make computes with logits before the loss: chunks would leave that out.

    Tried on two layers with a small vocabulary, as borders between documents are.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), device, torch.no_grad():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(small_config(config), dtype=dtype, attn_implementation=attention)
        model.eval()
        ids, labels = torch.randint(1, 64, (2, 1, 24))
        losses = HeadLosses(model)
        head: Any = model.get_output_embeddings()
        nn.init.normal_(head.weight, std=LARGE / sqrt(head.in_features))
        given: dict[str, Any] = {"input_ids": ids, "position_ids": torch.arange(24)[None], "use_cache": False}
        whole = token_losses(model(**given).logits, labels)
        with losses.instead(labels):
            chunked = model(**given).logits[..., 0]
    if not torch.allclose(chunked.float(), whole, rtol=0, atol=NEAR * float(whole.max())):
        raise UserError(f"{NAME}: a {config.model_type} model computes with logits between its head and the loss, "
                        "which chunks leave out; remove it")

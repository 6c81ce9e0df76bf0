"""The part of a recipe about speed: what libraries offer to compute the same faster or in less memory.

Decides what may be asked for. What cannot be is `core.speed_checks`; the libraries are called in `runtime.chunked_loss`
and `runtime.speed`.
"""

from typing import Literal

from pydantic import Field

from launcher.core.document import Document


class Speed(Document):
    """Options of torch and other libraries. All are off unless they are asked for: each needs something of the model
    or of the machines."""

    chunked_cross_entropy: bool = False
    """Compute the loss for some tokens at a time (torch.nn.functional.linear_cross_entropy, torch 2.13): logits of all
    tokens over the vocabulary are never in memory. The head is multiplied once more, on the way back."""
    compile: Literal["torch", "deepcompile"] | None = None
    """torch: compile each decoder layer (torch.compile); the first steps take minutes longer. deepcompile: DeepSpeed's
    own compiler, which is refused."""
    liger: bool = False
    """Triton kernels for norms, rotary positions and feed-forward layers (Liger, arXiv 2410.10989), on GPUs. Needs
    launcher[liger]."""
    sequence_parallel: int = Field(default=1, ge=1)
    """Workers that share each row (DeepSpeed-Ulysses, arXiv 2309.14509). More than 1 is refused."""

"""The options for speed in `launcher plan`: what is on, and what it costs. Prints only; which may be is
`core.speed_checks`."""

from collections.abc import Iterator

from launcher.cli.plan_table import labelled
from launcher.core.run_plan import RunPlan


def speed_lines(made: RunPlan) -> Iterator[str]:
    """Yield a line for each option that is on."""
    speed = made.model.speed
    said = [
        (speed.chunked_cross_entropy, "chunked cross-entropy: logits of all tokens are never in memory, and the head "
                                      "is multiplied once more on the way back"),
        (speed.compile == "torch", "torch.compile of each layer, for full micro-batches: rows are filled up to one "
                                   "length, the first step takes longer, and times below do not know of it"),
        (speed.liger, "Liger kernels for norms, rotary positions and feed-forward layers; times below do not "
                      "know of it"),
    ]
    for label, text in zip(("speed", "", ""), (text for on, text in said if on), strict=False):
        yield labelled(label, text)

"""How long this rank takes by itself: the part of a step in which it waits for no other rank.

Under ZeRO-3 every layer begins with an all-gather, forward and backward, so the time of a step is the same on all
ranks, and so is when each arrives at the step's end. The process's own CPU time leaves out what makes a rank slow most
often: a core that it shares, a process that is held. What no collective interrupts is the inside of a layer without
layers in it: its parameters are there before its forward begins, and it calls nobody. So the largest of these are timed
there, between DeepSpeed's hook that gathers and the one that lets go, and the time that it takes to get the step's rows
ready is added, which is over before the first collective. It is a sample, and the same one on all ranks.

Seen this way: slow or throttled GPUs and cores, neighbours on the same cores, processes that are held, slow reading of
rows. Not seen: a slow network, which is slow for all, and what only the backward pass or the optimizer suffers from.

CPU cores are timed by the clock. GPUs compute later than they are told to, so events in their own queue are timed, and
read once the step's losses have been, when all are over: nothing waits for them. Who is too slow is `core.straggler`.
"""

import time
from math import nan
from typing import Any, Protocol

import torch
from torch import nn

from launcher.runtime.batches import MicroBatch

LARGEST = 32
"""Layers that are timed. Each costs some microseconds, where a layer worth timing takes hundreds."""
MICRO_BATCHES = 8
"""Of a step, the first that have rows."""


class Clock(Protocol):
    """Adds up spans."""

    def begin(self) -> None: ...  # noqa: D102
    def end(self) -> None: ...  # noqa: D102
    def total(self) -> float: ...  # noqa: D102


class HostClock:
    """Times what this process computes at once."""

    def __init__(self) -> None:
        self._began, self._seconds = 0.0, 0.0

    def begin(self) -> None:
        """Begin a span."""
        self._began = time.perf_counter()

    def end(self) -> None:
        """End it."""
        self._seconds += time.perf_counter() - self._began

    def total(self) -> float:
        """Return the seconds since the last call."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds


class DeviceClock:
    """Times what a GPU computes later: by events in the queue that the layers are put into."""

    def __init__(self) -> None:
        self._free, self._spans = list[Any](), list[tuple[Any, Any]]()
        self._began: Any = None

    def begin(self) -> None:
        """Begin a span."""
        self._began = self._mark()

    def end(self) -> None:
        """End it."""
        self._spans.append((self._began, self._mark()))

    def total(self) -> float:
        """Return the seconds since the last call, as far as the GPU has got."""
        spans, self._spans = self._spans, []
        seconds = sum(begin.elapsed_time(end) for begin, end in spans if end.query()) / 1000
        self._free += [event for span in spans for event in span]
        return seconds

    def _mark(self) -> Any:
        event: Any = self._free.pop() if self._free else torch.cuda.Event(enable_timing=True)
        event.record()
        return event


class Alone:
    """Times the largest layers of a model that DeepSpeed has taken over."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self._clock: Clock = DeviceClock() if device.type == "cuda" else HostClock()
        self._timing, self._batches, self._tokens = False, 0, 0
        for layer in largest(model):
            # Last and first: after the hook that gathers, before the one that lets go.
            layer.register_forward_pre_hook(self._enter)
            layer.register_forward_hook(self._leave, prepend=True)

    def take(self, batch: MicroBatch) -> None:
        """Begin a micro-batch of the step. Rows of weight zero, which only some ranks have, say nothing."""
        self._timing = bool(batch.sources) and self._batches < MICRO_BATCHES
        if self._timing:
            self._batches += 1
            self._tokens += batch.input_ids.numel()

    def seconds(self, loading: float, share: float) -> float:
        """Return this rank's own time in the step whose losses were just read; NaN if it had no rows.

        `loading`: seconds until its rows were ready. `share`: tokens that stand for the step of any rank, since ranks
        that have a row more are not slower.
        """
        spent, tokens = self._clock.total(), self._tokens
        self._timing, self._batches, self._tokens = False, 0, 0
        return loading + spent / tokens * share if tokens and spent else nan

    def _enter(self, layer: nn.Module, _given: Any) -> None:
        if self._timing and layer.training:
            self._clock.begin()

    def _leave(self, layer: nn.Module, _given: Any, _made: Any) -> None:
        if self._timing and layer.training:
            self._clock.end()


def largest(model: nn.Module) -> list[nn.Module]:
    """Return the largest layers that have no layers in them, the same on all ranks.

    What is compiled is left as it is: a hook in there would be compiled too, and again each time that timing begins or
    ends. The head and the embeddings are left to be timed then.
    """
    compiled = {below for module in model.modules() if module._compiled_call_impl is not None
                for below in module.modules()}
    sizes = {module: sum(getattr(parameter, "ds_numel", parameter.numel()) for parameter in module.parameters(False))
             for module in model.modules() if module not in compiled and not any(True for _ in module.children())}
    return sorted((module for module, size in sizes.items() if size), key=lambda module: -sizes[module])[:LARGEST]

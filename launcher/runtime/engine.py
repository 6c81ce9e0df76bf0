"""The one place that talks to DeepSpeed's engine: forward, backward and update with the arithmetic of the loss.

A micro-batch's loss is its summed token loss times ranks over N, N being the step's global number of supervised
tokens. DeepSpeed then averages over ranks once, and nothing else scales: neither accumulation nor prescaling.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import nan
from typing import Any

import deepspeed
import torch
from torch import nn

from launcher.core.attempt import AttemptPlan
from launcher.core.recipe import Optimizer
from launcher.core.run_plan import RunPlan
from launcher.core.source_index import TokenizerFacts
from launcher.runtime.alone import Alone
from launcher.runtime.batches import MicroBatch
from launcher.runtime.chunked_loss import HeadLosses
from launcher.runtime.environment import seed_everything
from launcher.runtime.losses import by_source, right_tokens, token_losses
from launcher.runtime.optimizer import ALIKE, make_optimizer, set_step
from launcher.runtime.speed import Compiled, as_written


@dataclass(frozen=True, slots=True)
class Update:
    """What became of an optimizer step, the same on all ranks."""

    grad_norm: float | None
    """Global, before clipping; None when it was not finite."""
    applied: bool


NO_UPDATE = Update(None, applied=False)
"""Of a step that is left out."""


class TrainEngine:
    """A DeepSpeed engine for one segment."""

    def __init__(self, model: nn.Module, plan: RunPlan, attempt: AttemptPlan, device: torch.device,
                 apart: Mapping[str, tuple[int, int]] = ALIKE) -> None:
        """Take a model whose frozen parameters ask for no gradient; `apart` as for `optimizer.parameter_groups`."""
        self._plan, self._attempt = plan, attempt
        self._order = {source: position for position, source in enumerate(plan.sources)}
        zero = attempt.ds_config["zero_optimization"]
        offloaded = zero.get("offload_optimizer", {}).get("device", "none") == "cpu"
        self._keeps = "logits_to_keep" in inspect.signature(base_model(model).forward).parameters
        self._head = HeadLosses(base_model(model)) if plan.model.speed.chunked_cross_entropy else None
        optimizer = make_optimizer(model, plan.stages[0].optimizer, device, offloaded=offloaded, apart=apart)
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        initialized = deepspeed.initialize(model=model, optimizer=optimizer, config=attempt.ds_config,
                                           dist_init_required=False)
        # After DeepSpeed's hooks are on: what they do is part of what a layer does.
        self._compiled = Compiled(base_model(model), attempt.micro_batch) if plan.model.speed.compile else None
        self._engine: Any = initialized[0]  # its attributes are set at run time and have no useful types
        _restore_buffers(self._engine.module, buffers)
        # Off by default outside fp16: a NaN norm would be applied, and every weight become NaN.
        self._engine.optimizer.check_grad_overflow = True
        self.alone = Alone(self._engine.module, device)
        """Asked how long this rank takes by itself; told here of each micro-batch."""

    @property
    def deepspeed(self) -> Any:
        """Return DeepSpeed's own engine, for `runtime.checkpoint`."""
        return self._engine

    def stops(self, tokenizer: TokenizerFacts) -> frozenset[int]:
        """Return the tokens that end an answer: the tokenizer's, and those that the model comes with."""
        model = base_model(self._engine.module)
        known = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
        own = known if isinstance(known, list) else [known]
        return frozenset(token for token in (tokenizer.eos, tokenizer.turn_end, *own) if token is not None)

    def settled_module(self) -> nn.Module:
        """Return the model inside with every parameter in slices: gathers begun ahead of need are waited for.

        ZeRO-3 fetches what it expects next, and a parameter in flight can neither be gathered nor read.
        """
        self._engine.empty_partition_cache()
        return self._engine.module

    def accumulate(self, batches: Sequence[MicroBatch], supervised_tokens: int) -> torch.Tensor:
        """Add up a step's gradients over this rank's micro-batches; return its summed losses, float64 [sources].

        Called by all ranks with equally many micro-batches, and followed by `update`.
        """
        engine = self._engine
        if not engine.module.training:
            engine.train()
        scale = self._attempt.data_parallel / max(supervised_tokens, 1)
        sums = torch.zeros(len(self._order), dtype=torch.float64, device=batches[0].input_ids.device)
        for number, batch in enumerate(batches, 1):
            seed_everything(self._plan.seed, batch.first_row)
            self.alone.take(batch)
            # Set for each micro-batch: DeepSpeed's own count would shift all borders after a partial step.
            engine.set_gradient_accumulation_boundary(number == len(batches))
            with self._training(batch):
                losses = self._losses(batch)
            sums += by_source(losses, batch, self._order)
            total = losses.sum()
            # A loss that is not finite may have gradients that are: the norm must tell it on all ranks.
            with self._training(batch):
                engine.backward(total * torch.where(total.isfinite(), scale, nan), scale_wrt_gas=False)
            if number < len(batches):
                engine.step()
        return sums

    def update(self, learning_rate: float, settings: Optimizer) -> Update:
        """Let the optimizer use the gradients that were accumulated."""
        engine = self._engine
        set_step(engine.optimizer.param_groups, settings, learning_rate)
        engine.optimizer.clip_grad = settings.clip
        engine.step()
        applied = bool(engine.was_step_applied())
        # After a skipped step DeepSpeed still answers with the norm of the step before.
        return Update(float(engine.get_global_grad_norm()) if applied else None, applied)

    @torch.no_grad()
    def evaluate(self, batches: Sequence[MicroBatch], progress: Callable[[], None]) -> torch.Tensor:
        """Return this rank's summed token losses and its right tokens by source, float64 [2, sources]; changes no
        training state. Calls `progress` after each batch.
        """
        self._engine.eval()
        sums = torch.zeros(2, len(self._order), dtype=torch.float64, device=batches[0].input_ids.device)
        for batch in batches:
            with self._as_written():
                losses, right = self._measured(batch)
            sums[0] += by_source(losses, batch, self._order)
            sums[1] += by_source(right, batch, self._order)
            progress()
        return sums

    @torch.no_grad()
    def infer(self, keep: int, **inputs: Any) -> Any:
        """Return the model's output on documents that are not packed, with the last `keep` logits of each row at least;
        changes no training state. Called by all ranks."""
        self._engine.eval()
        if self._keeps:
            # Logits of a whole prompt over a large vocabulary may take more memory than the model.
            inputs["logits_to_keep"] = keep
        with self._as_written():
            return self._engine(**inputs)

    def _training(self, batch: MicroBatch) -> AbstractContextManager[Any]:
        """Return where a micro-batch is computed in, forward and back: gradient checkpointing computes again there."""
        return nullcontext() if self._compiled is None else self._compiled.training(len(batch.sources))

    def _as_written(self) -> AbstractContextManager[Any]:
        return nullcontext() if self._compiled is None else as_written()

    def _losses(self, batch: MicroBatch) -> torch.Tensor:
        if self._head is None:
            return token_losses(self._logits(batch), batch.labels)
        with self._head.instead(batch.labels):
            return self._logits(batch)

    def _measured(self, batch: MicroBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return losses and which tokens are right, without gradients."""
        if self._head is None:
            logits = self._logits(batch)
            return token_losses(logits, batch.labels), right_tokens(logits, batch.labels)
        with self._head.instead(batch.labels):
            losses, right = self._logits(batch).unbind(-1)
        return losses, right

    def _logits(self, batch: MicroBatch) -> torch.Tensor:
        # Borders between documents hold only without a mask, without a cache and with restarting positions.
        return self._engine(input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False).logits


def base_model(model: Any) -> Any:
    """Return the model of transformers, with adapters or without."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _restore_buffers(module: nn.Module, buffers: dict[str, torch.Tensor]) -> None:
    """Put fp32 buffers back: DeepSpeed casts the whole module to bf16 under ZeRO 1 and 2, rotary frequencies too."""
    for name, buffer in module.named_buffers():
        if buffer.dtype != buffers[name].dtype:
            buffer.data = buffers[name].to(buffer.device)


def join_deepspeed() -> None:
    """Let DeepSpeed use the process group that exists. Call before zero.Init, which else believes in a world of one.

    Its shared-memory all-reduce stays out: training never calls it, and building it takes 30 to 50 s on a new machine.
    """
    compatible: dict[str, Any] = deepspeed.ops.__compatible_ops__
    compatible["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist_init_required=False, verbose=False)

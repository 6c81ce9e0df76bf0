"""A plain PyTorch training loop, the yardstick of the arithmetic: no DeepSpeed, no launcher code but the rows.

One process, one model, the whole batch of a step one row at a time, gradients summed and divided by the step's number
of supervised tokens once, clipped by torch, updated by torch's AdamW.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from launcher.core.mixing import locate
from launcher.core.run_plan import RunPlan, StagePlan
from launcher.data.packed import PackedRow, PackedSplit


@dataclass
class PlainResult:
    losses: list[float]
    norms: list[float]
    weights: dict[str, torch.Tensor]


def row_loss(model: torch.nn.Module, row: PackedRow) -> torch.Tensor:
    """Return the summed loss of a row, each document computed alone: packing is thereby part of what is checked."""
    starts = [index for index, position in enumerate(row.positions) if position == 0] + [len(row.tokens)]
    total = torch.zeros(())
    for begin, end in pairwise(starts):
        tokens = torch.from_numpy(row.tokens[begin:end]).long()
        learnt = torch.from_numpy(row.supervised[begin:end])
        logits = model(input_ids=tokens[None]).logits[0, :-1].float()
        chosen = torch.log_softmax(logits, -1).gather(1, tokens[1:, None])[:, 0]
        total = total - chosen[learnt[1:]].sum()
    return total


def rate(stage: StagePlan, step: int) -> float:
    """Return the learning rate by the words of the documentation: linear warm-up, then cosine to the minimum."""
    done, warmup = step - stage.first_step + 1, math.ceil(stage.schedule.warmup * stage.steps)
    if done <= warmup:
        return stage.learning_rate * done / warmup
    progress = (done - warmup) / max(stage.steps - warmup, 1)
    low = stage.schedule.minimum
    return stage.learning_rate * (low + (1 - low) * (1 + math.cos(math.pi * progress)) / 2)


def step_rows(plan: RunPlan, splits: dict[str, PackedSplit], step: int) -> list[PackedRow]:
    stage, lengths = plan.stage_of(step), {name: split.rows for name, split in splits.items()}
    addresses = [locate(stage, row, lengths, plan.seed) for row in plan.rows_of(step)]
    return [splits[address.source].row(address.index) for address in addresses]


def train_plainly(plan: RunPlan, splits: dict[str, PackedSplit], folder: Path, dtype: torch.dtype) -> PlainResult:
    return train_this(AutoModelForCausalLM.from_pretrained(folder, dtype=dtype), plan, splits)


def train_this(model: torch.nn.Module, plan: RunPlan, splits: dict[str, PackedSplit],
               steps: range | None = None) -> PlainResult:
    """Train what of a model is to be trained, in all steps or some, with an optimizer that begins anew."""
    model.train()
    settings = plan.stages[0].optimizer
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups: Sequence[dict[str, object]] = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=settings.betas, eps=settings.epsilon)
    losses, norms = [], []
    for step in steps or range(1, plan.steps + 1):
        rows = step_rows(plan, splits, step)
        count = sum(int(row.supervised.sum()) for row in rows)
        total = 0.0
        for row in rows:
            loss = row_loss(model, row)
            (loss / count).backward()
            total += loss.item()
        losses.append(total / count)
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip or math.inf)))
        for group in optimizer.param_groups:
            group["lr"] = rate(plan.stage_of(step), step)
        optimizer.step()
        optimizer.zero_grad()
    return PlainResult(losses, norms, dict(model.named_parameters()))

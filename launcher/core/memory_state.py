"""Weights, gradients and optimizer of one worker, as DeepSpeed 0.19.8 and torch allocate them.

The paper's 16 bytes a parameter (ZeRO, arXiv 1910.02054, section 3.1) are where these come from; what is more stands at
each line with the place in DeepSpeed's source. Everything is for each worker; a slice is its share of the parameters.
"""

from collections.abc import Iterator

from launcher.core.memory_setting import FP32, Setting
from launcher.core.memory_use import Use, placed

MOMENTS = 2 * FP32
"""Adam's, in fp32 whatever computes."""
NORM = 8
"""Norms of gradients are summed in fp64, from a copy of one tensor at a time (zero/utils.py, get_norm_dtype)."""
FOUR_BITS = 4.127 / 8
"""Bytes of a weight in NF4, its quantized scales included (QLoRA, arXiv 2305.14314, section 3)."""
TORCH_ADAMW_COPIES = 2
"""torch's AdamW for CPUs holds a root and its quotient of all second moments at once (torch/optim/adam.py,
_single_tensor_adam); the fused one on GPUs and DeepSpeed's for offload hold none."""
CHECKPOINT_SETS = 2
"""Copies of masters and moments in the host's memory: one is written while the next is filled (runtime/checkpoint)."""


def state(setting: Setting) -> Iterator[Use]:
    """Yield what weights, gradients and optimizer take."""
    yield _weights(setting)
    yield from _gradients(setting)
    yield from _optimizer(setting)
    yield from _update(setting)
    copied = FP32 * setting.slice
    yield Use("checkpoint copies", host=CHECKPOINT_SETS * 3 * (
        copied if setting.zero.optimizer_away else _pinned(setting, copied)))
    # It does not change, so a checkpoint is written from where it lies.
    yield Use("earlier adapters", host=(FP32 + MOMENTS) * -(-setting.parked // setting.workers))


def _weights(setting: Setting) -> Use:
    zero, whole = setting.zero, setting.trained + setting.frozen
    kept = -(-whole // setting.workers) if zero.stage == 3 else whole
    # Under stage 3 a base of 4 bits is refused, so what is kept is whole.
    size = setting.weight_bytes * (kept - setting.four_bits) + round(FOUR_BITS * setting.four_bits)
    return placed("weights", _pinned(setting, size) if zero.parameters_away else size, away=zero.parameters_away)


def _optimizer(setting: Setting) -> Iterator[Use]:
    zero, kept = setting.zero, setting.slice
    # A copy in fp32 even of fp32 weights: stage 3 would train those in place, but compares a device with its name
    # (_create_fp32_partitions), which are never equal.
    yield placed("optimizer", (FP32 + MOMENTS) * kept, away=zero.optimizer_away)
    if zero.optimizer_away and zero.stage < 3:
        # The way back to the device goes through one more copy (param_buffer_of_bit16_for_cpu_offload_groups), and
        # gradients of the largest tensor have a place on either side (temp_grad_buffer_for_*_offload).
        yield Use("optimizer", host=_pinned(setting, setting.weight_bytes * kept))
        yield Use("gradients", setting.weight_bytes * setting.largest, setting.weight_bytes * setting.largest)


def _gradients(setting: Setting) -> Iterator[Use]:
    zero, kept = setting.zero, setting.slice
    if zero.stage == 3:
        # Summed in grad_partitions_flat_buffer; with offload that is on the host, beside the fp32 gradient of each
        # group (initialize_optimizer_states).
        size = zero.gradient_bytes * kept
        yield placed("gradients", _pinned(setting, size) if zero.optimizer_away else size, away=zero.optimizer_away)
    elif zero.stage == 2:
        yield from _partitioned_gradients(setting)
    else:
        yield from _whole_gradients(setting)
    if zero.optimizer_away:
        yield Use("gradients", host=_pinned(setting, FP32 * kept))


def _whole_gradients(setting: Setting) -> Iterator[Use]:
    """Yield the gradients of stage 1: all of them on each worker, and its slice of the sums.

    fp32 sums of bf16 gradients lie beside these (grad_accum), and until the next pass; measured as twice their size.
    """
    size, kept = setting.zero.gradient_bytes * setting.trained, setting.zero.gradient_bytes * setting.slice
    yield Use("gradients", (2 if in_one_buffer(setting) else 1) * size + kept, phase="backward")
    if in_one_buffer(setting):
        yield Use("gradients", size, phase="update")


def _partitioned_gradients(setting: Setting) -> Iterator[Use]:
    """Yield the gradients of stage 2: fp32 sums of bf16 ones lie in one buffer of a slice, others in two by turns."""
    zero, kept = setting.zero, setting.slice
    turns = 1 if in_one_buffer(setting) or setting.accumulation == 1 else 2
    if zero.optimizer_away and not in_one_buffer(setting):
        yield Use("gradients", host=setting.weight_bytes * kept * (setting.accumulation > 1), phase="backward")
        return
    yield Use("gradients", turns * zero.gradient_bytes * kept, phase="backward")


def in_one_buffer(setting: Setting) -> bool:
    """Return whether stages 1 and 2 sum gradients in one flat buffer (_use_compact_grad_partition_buffer)."""
    return setting.zero.gradient_bytes == FP32 and setting.weight_bytes != FP32


def _update(setting: Setting) -> Iterator[Use]:
    """Yield what the optimizer's step takes besides: the gradients it is given, and what it computes with."""
    zero, kept = setting.zero, setting.slice
    group = min(kept, zero.sub_group) if zero.stage == 3 else kept
    copies = TORCH_ADAMW_COPIES if setting.device == "cpu" else 0
    if zero.optimizer_away:
        yield Use("update", host=copies * FP32 * group, phase="update")
        return
    norm = NORM * min(setting.largest, kept)
    if zero.stage == 3:
        # One flat copy of a sub-group's gradients (_prepare_fp32_grad_for_sub_group).
        norm //= setting.workers
        yield Use("update", max(norm, (1 + copies) * FP32 * group), phase="update")
        return
    given, flat = zero.gradient_bytes * kept, 0 if in_one_buffer(setting) else FP32 * kept
    yield Use("update", given + max(norm, flat + copies * FP32 * kept), phase="update")


def _pinned(setting: Setting, size: int) -> int:
    """Return what page-locked memory of a size takes: torch rounds it up to a power of two (CachingHostAllocator)."""
    return size if setting.device == "cpu" or not size else 1 << (size - 1).bit_length()

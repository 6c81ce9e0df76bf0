"""The model of a worker: its configuration, its parameters partitioned as they are made, and their first values.

A new model is initialised module by module with generators keyed by (seed, module name), by the architecture's own
rule; so the weights are the same on any number of ranks. Weights that exist are read by `runtime.weights`.
"""

from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import ExitStack
from hashlib import blake2b
from typing import Any

import deepspeed
import torch
import torch.distributed as dist
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.initialization import no_init_weights

from launcher.core.errors import UserError
from launcher.core.run_plan import RunPlan
from launcher.data.model_files import model_folder, weight_sources
from launcher.runtime.partitions import gathered
from launcher.runtime.process_group import Exchange, new_group
from launcher.runtime.speed import use_liger
from launcher.runtime.weights import load_weights, shared_folder

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def model_config(plan: RunPlan) -> PretrainedConfig:
    """Return the configuration of the plan's model. Raises UserError on fields the architecture does not have."""
    choice, tokenizer = plan.model, plan.tokenizer
    assert tokenizer is not None, "a plan in estimated grade is never run"
    if choice.path is not None:
        config = AutoConfig.from_pretrained(model_folder(choice.path, weights=True))
        _check_attention(config, choice.attention)
        return config
    fields: dict[str, Any] = dict(choice.init or {})
    architecture = fields.pop("architecture")
    ids = {"bos_token_id": tokenizer.bos, "eos_token_id": tokenizer.eos, "pad_token_id": tokenizer.pad}
    try:
        return AutoConfig.for_model(architecture, **{"vocab_size": tokenizer.vocab_size, **ids, **fields})
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"model.init: {error}") from None


def _check_attention(config: PretrainedConfig, attention: str) -> None:
    """Refuse by name what transformers refuses with a traceback; for new models planning has done so."""
    made = AutoModelForCausalLM._model_mapping.get(type(config), None)
    if attention == "sdpa" and not getattr(made, "_supports_sdpa", True):
        raise UserError(f"model.attention: sdpa does not compute what a {config.model_type} model needs; use eager or "
                        "flash_attention_2")


def build_model(plan: RunPlan, ds_config: dict[str, Any], device: torch.device, rank: int,
                held: Callable[[Sequence[str]], Container[str]]) -> PreTrainedModel:
    """Return the model with its base weights. Under ZeRO-3 no rank ever holds more than its slices and one module.

    Called by all ranks. What a checkpoint has `held`, of all parameters' names, is not read from the base.
    """
    config = model_config(plan)
    _check_vocabulary(plan, config)
    model = _empty_model(config, plan, ds_config, device)
    model.tie_weights()
    _fill_buffers(model)
    if plan.model.path is None:
        _initialise(model, plan.seed)
    else:
        ranks = dist.get_world_size()
        folder = shared_folder(plan.model.path, weight_sources(plan.model.path), Exchange(new_group(), rank, ranks),
                               rank, ranks)
        load_weights(model, folder, held([name for name, _ in model.named_parameters()]))
    _refuse_running_statistics(model)
    if plan.model.speed.liger:
        use_liger(model)
    if plan.model.gradient_checkpointing:
        # Re-entrant checkpointing loses gradients where inputs are frozen, as they are under adapters.
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return model


def _empty_model(config: PretrainedConfig, plan: RunPlan, ds_config: dict[str, Any],
                 device: torch.device) -> PreTrainedModel:
    with ExitStack() as stack:
        stack.enter_context(no_init_weights())
        if ds_config["zero_optimization"]["stage"] == 3:
            stack.enter_context(deepspeed.zero.Init(config_dict_or_path=ds_config))
        else:
            stack.enter_context(device)
        return AutoModelForCausalLM.from_config(config, dtype=DTYPES[plan.model.precision],
                                                attn_implementation=plan.model.attention)


def _refuse_running_statistics(model: nn.Module) -> None:
    """Refuse buffers that training changes: checkpoints hold parameters, all other buffers follow from the config."""
    for name, module in model.named_modules():
        if getattr(module, "track_running_stats", False):
            raise UserError(f"model: {name} keeps running statistics, which checkpoints do not hold; take a model "
                            "without batch normalisation")


def _check_vocabulary(plan: RunPlan, config: PretrainedConfig) -> None:
    assert plan.tokenizer is not None
    rows = config.get_text_config().vocab_size
    if plan.tokenizer.vocab_size > rows:
        raise UserError(f"the tokenizer has {plan.tokenizer.vocab_size} entries, the model's embedding {rows} rows; "
                        "take the model's own tokenizer, or a model whose embedding was extended")


def _fill_buffers(model: PreTrainedModel) -> None:
    """Compute buffers such as rotary frequencies anew: zero.Init makes their `arange` in the parameters' type."""
    for module in model.modules():
        own = (next(module.parameters(recurse=False), None), next(module.buffers(recurse=False), None))
        if own[0] is None and own[1] is not None:
            model._init_weights(module)


def _own_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Module, list[nn.Parameter]]]:
    for name, module in model.named_modules():
        if parameters := list(module.parameters(recurse=False)):
            yield name, module, parameters


def _initialise(model: PreTrainedModel, seed: int) -> None:
    for name, module, parameters in _own_parameters(model):
        with gathered(parameters, write=True), torch.no_grad():
            torch.manual_seed(keyed_seed(seed, name))
            model._init_weights(module)
    # A tied head was drawn after the embedding it shares; draw the embedding last so that names alone decide.
    embedding = model.get_input_embeddings()
    if model.config.get_text_config().tie_word_embeddings:
        with gathered(list(embedding.parameters()), write=True), torch.no_grad():
            torch.manual_seed(keyed_seed(seed, "tied embedding"))
            model._init_weights(embedding)


def keyed_seed(seed: int, name: str) -> int:
    """Return a seed for one named thing, independent of all others."""
    return int.from_bytes(blake2b(f"{seed}:{name}".encode(), digest_size=7).digest())

"""Which DeepSpeed templates are refused, and what "auto" becomes."""

import ast
import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from launcher.core.ds_config import AUTO, REFUSALS, ZERO_FIELDS, fill, problems
from launcher.storage.shipped import shipped, shipped_names

SHIPPED = shipped_names("ds_configs", ".json")


def template(name="zero3.json"):
    path = shipped("ds_configs", name)
    assert path is not None
    return json.loads(path.read_text())


def with_field(path, value):
    config = template()
    *parents, last = path.split(".")
    section = config
    for name in parents:
        section = section.setdefault(name, {})
    section[last] = value
    return config


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_templates_are_accepted(name):
    assert problems(template(name), name) == []


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_nothing_is_left_auto_and_the_batch_adds_up(name, precision):
    config = fill(template(name), micro_batch=2, accumulation=3, world_size=4, precision=precision, clip=0.5)
    assert f'"{AUTO}"' not in json.dumps(config)
    assert config["train_batch_size"] == 24 and config["gradient_clipping"] == 0.5
    assert config["bf16"]["enabled"] == (precision == "bf16") and config["prescale_gradients"] is False


def test_bf16_reduces_and_accumulates_in_fp32_unless_the_template_says_otherwise():
    given = {"zero_optimization": {"stage": 3}}
    sizes = {"micro_batch": 1, "accumulation": 1, "world_size": 1, "clip": 1.0}
    config = fill(given, precision="bf16", **sizes)
    assert (config["communication_data_type"], config["data_types"]["grad_accum_dtype"]) == ("fp32", "fp32")
    config = fill({**given, "communication_data_type": "bf16"}, precision="bf16", **sizes)
    assert config["communication_data_type"] == "bf16"
    assert "communication_data_type" not in fill(given, precision="fp32", **sizes)


def test_a_template_is_not_changed_by_filling():
    given = template()
    before = json.dumps(given)
    fill(given, micro_batch=1, accumulation=1, world_size=1, precision="bf16", clip=1.0, hidden_size=64)
    assert json.dumps(given) == before


def test_small_models_get_small_buffers():
    config = fill(template(), micro_batch=1, accumulation=1, world_size=1, precision="fp32", clip=1.0, hidden_size=96)
    assert config["zero_optimization"]["reduce_bucket_size"] == 2**18
    assert config["zero_optimization"]["stage3_param_persistence_threshold"] == 960


@pytest.mark.parametrize(("path", "value"), [
    ("zero_optimization.stage", 0), ("zero_optimization.stage", 4), ("zero_optimization.stage", True),
    ("zero_optimization.offload_optimizer", {"device": "nvme"}), ("zero_optimization.offload_param.device", "nvme"),
    ("zero_optimization.offload_optimizer.ratio", 0.5), ("zero_optimization.mics_shard_size", 8),
    ("zero_optimization.zero_quantized_weights", True), ("zero_optimization.zero_quantized_gradients", True),
    ("zero_optimization.zero_hpz_partition_size", 8),
    ("zero_optimization.stage3_use_all_reduce_for_fetch_params", True),
    ("pipeline", {"stages": 2}), ("optimizer", {"type": "AdamW"}), ("scheduler", {"type": "WarmupLR"}),
    ("fp16.enabled", True), ("train_batch_size", 32), ("gradient_clipping", 1.0), ("bf16.enabled", True),
    ("gradient_predivide_factor", 2.0), ("wall_clock_breakdown", "auto"),
])  # fmt: skip
def test_what_cannot_work_is_refused_by_name(path, value):
    (problem, *_) = problems(with_field(path, value), "mine.json")
    assert problem.where == "mine.json" and problem.path.startswith(path) and problem.message


def test_unknown_fields_get_the_nearest_name():
    (problem,) = problems(with_field("zero_optimization.reduce_bucketsize", 1), "mine.json")
    assert "did you mean reduce_bucket_size" in problem.message
    assert problems({}, "mine.json")[0].path == "zero_optimization"


def test_all_problems_are_told_at_once():
    given = with_field("optimizer", {"type": "Adam"})
    given["zero_optimization"]["stage"] = 0
    assert {problem.path for problem in problems(given, "x")} == {"optimizer", "zero_optimization.stage"}


def test_names_are_those_of_the_installed_deepspeed():
    spec = find_spec("deepspeed")
    assert spec is not None and spec.submodule_search_locations
    # Read, not imported: importing deepspeed takes seconds.
    source = (Path(spec.submodule_search_locations[0]) / "runtime/zero/config.py").read_text()
    (fields,) = (node.body for node in ast.parse(source).body
                 if isinstance(node, ast.ClassDef) and node.name == "DeepSpeedZeroConfig")
    names = set()
    for node in fields:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            keywords = {k.arg: k.value for k in node.value.keywords} if isinstance(node.value, ast.Call) else {}
            alias = keywords.get("alias")
            names.add(alias.value if isinstance(alias, ast.Constant) else node.target.id)
    assert names >= ZERO_FIELDS
    refused = {rule.path.split(".")[1] for rule in REFUSALS if rule.path.startswith("zero_optimization.")}
    assert refused - {"mics_shard_size"} <= names

"""What `launcher plan` and `launcher schema` print."""

import json
import sys

import pytest

from launcher.cli.main import main
from launcher.cli.plan import facts_of, plan_of, show_plan
from launcher.cli.plan_time import Asked, this_device, versions
from launcher.core.calibration import CPU_START, Calibration, cpu_hardware, key_of, probes
from launcher.core.errors import Unplannable
from launcher.core.hardware import GPUS
from launcher.core.outlook import Machines, geometry
from launcher.core.run_plan import RunPlan
from launcher.core.step_time import step_time
from launcher.core.step_work import shape_of
from launcher.storage.recipes import load_recipe
from launcher.storage.shipped import shipped_names
from launcher.storage.store import open_store


@pytest.fixture
def launch(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["launcher", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code in (0, None)
        return capsys.readouterr().out

    return command


def test_a_plan_says_its_grade_and_fits_80_columns(launch):
    said = launch("plan", "cardiology")
    assert "estimated plan" in said and "8.03B parameters" in said and "next     launcher run cardiology" in said
    assert max(len(line) for line in said.splitlines()) <= 80
    assert [line.split()[0] for line in said.splitlines() if line].count("medicine") == 4 and "\nmeasure  " in said


def test_a_plan_shows_mixes_that_change_limits_and_the_run_as_a_whole(launch):
    said = launch("plan", "gradually", "--set", "stages.0.length={tokens: 190M}", "--set",
                  "stages.1.mix=[medicine, chat]")
    assert max(len(line) for line in said.splitlines()) <= 80
    assert "in all" in said and "mix      turning goes from first to last row: chat 85.5% to " in said
    assert "limits   in turning, of 23,296 rows, are used up: protocols after " in said
    (medicine,) = [line.split() for line in said.split("in all")[1].splitlines() if line.split()[:1] == ["medicine"]]
    assert medicine[-1] == "3.00", "its max_epochs over the whole run"


def test_json_is_the_plan_with_what_it_comes_to(launch):
    found = json.loads(launch("plan", "cardiology", "--cluster", "4x8xH100-80", "--json"))
    assert found["cluster"] == {"world_size": 32, "micro_batch": 1, "empty": 0, "idle": 0, "nearest_batch": 32}
    assert found["forecast"]["steps"] == found["steps"] == sum(stage["steps"] for stage in found["stages"])
    assert found["parameters"] == 8_030_261_248
    RunPlan.model_validate({name: value for name, value in found.items() if name in RunPlan.model_fields})


def test_an_uneven_number_of_workers_is_told_with_the_nearest_batch(launch):
    said = launch("plan", "cardiology", "--cluster", "3x8")
    assert "24 workers" in said and "33% of their time is idle, with batch.rows 24 none" in said


def test_of_more_nodes_than_the_recipe_wants_so_many_are_planned_for(launch):
    larger, as_wanted = (launch("plan", "cardiology", "--cluster", f"{nodes}x8xH100-80") for nodes in (8, 4))
    assert larger == as_wanted and "a step on 4 x 8 H100-80" in larger


def test_a_cluster_that_is_not_what_the_recipe_wants_is_refused_with_how_to_plan_for_it(launch):
    with pytest.raises(Unplannable, match=r"2 nodes are needed and 1 present\n.*--set cluster=\{\} plans for all"):
        show_plan("cardiology", [], Asked("1x8xH100-80"), as_json=False)
    assert "a step on 8 H100-80" in launch("plan", "cardiology", "--cluster", "1x8xH100-80", "--set", "cluster={}")


def test_memory_is_told_part_by_part_with_whether_it_fits(launch):
    said = launch("plan", "cardiology", "--cluster", "4x8xH100-80")
    assert max(len(line) for line in said.splitlines()) <= 80
    table = said.partition("memory ")[2].partition("fits ")[0]
    for part in ("weights", "gradients", "optimizer", "activations", "logits", "gathered weights", "at the peak"):
        assert part in table
    assert "fits     yes in 80.0 GiB of a GPU, with micro-batches of 1" in said
    assert "faster   deepspeed: zero2 fits, too" in said


def test_what_does_not_fit_is_told_with_the_smallest_change_that_does(launch):
    said = launch("plan", "cardiology", "--cluster", "2x8xA100-40", "--set", "model.gradient_checkpointing=false")
    assert max(len(line) for line in said.splitlines()) <= 80
    words = " ".join(said.split())
    assert "fits no in 40.0 GiB of a GPU; the smallest change that does is model.gradient_checkpointing: true" in words
    found = json.loads(launch("plan", "cardiology", "--cluster", "2x8xA100-40", "--json", "--set",
                              "model.gradient_checkpointing=false"))["memory"]
    assert found["fits"] is False and found["changes"][0] == "model.gradient_checkpointing: true"
    assert found["memory"]["gpu_bytes"] == sum(part["gpu"] for part in found["memory"]["parts"])


def test_memory_of_a_local_model_is_told_by_its_config(launch, tmp_path):
    fields = {"model_type": "qwen3", "hidden_size": 1024, "num_hidden_layers": 28, "num_attention_heads": 16,
              "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 3072, "vocab_size": 151_936,
              "tie_word_embeddings": True}
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text(json.dumps(fields))
    found = json.loads(launch("plan", "cardiology", "--json", "--set", f"model.path={tmp_path}/model"))
    assert found["parameters"] == 596_049_920 and found["memory"]["fits"] is None
    assert found["memory"]["memory"]["gpu_bytes"] > 2**30


def test_where_memory_is_not_known_the_reason_is_told(launch):
    said = launch("plan", "cardiology", "--cluster", "4x8xH100-80", "--set", "model.path=some/model")
    assert "memory not known: the shape of some/model is not in launcher's table" in " ".join(said.split())


def test_overrides_change_the_plan(launch):
    found = json.loads(launch("plan", "cardiology", "--json", "--set", "stages.0.length.steps=7"))
    assert found["stages"][0]["steps"] == 7


def test_the_schema_describes_every_field(launch):
    schema = json.loads(launch("schema"))
    stage = schema["$defs"]["Stage"]["properties"]
    assert "against forgetting" in stage["replay"]["description"]
    assert schema["additionalProperties"] is False and "extends" in schema["properties"]


def test_a_plan_leaves_no_cache_behind(launch, tmp_path):
    assert "estimated plan" in launch("plan", "quickstart", "--cache", str(tmp_path / "cache"))
    assert not (tmp_path / "cache").exists()


def test_time_and_cost_are_told_for_machines_that_are_not_there(launch):
    said = launch("plan", "cardiology", "--cluster", "4x8xH100-80")
    assert max(len(line) for line in said.splitlines()) <= 80
    assert " a step on 4 x 8 H100-80: " in said and "MFU" in said and "published" in said and "assumed" not in said
    told = json.loads(launch("plan", "cardiology", "--cluster", "4x8xH100-80", "--json"))["outlook"]
    assert told["gpu_hours"] == pytest.approx(32 * told["hours"]) and told["basis"] == "published"
    assert told["dollars"] == pytest.approx(6.88 * told["gpu_hours"]) and "AWS" in told["price_source"]
    assert told["checkpoint_bytes"] == 12 * 8_030_261_248
    assert told["save_seconds"] == pytest.approx(told["checkpoint_bytes"] / 4 / 2e9)
    assert 100 * told["checkpoint_bytes"] / 32 / 55e9 <= told["save_every"] < 3600


def test_price_network_and_disk_are_the_persons_own(launch):
    def told(*more):
        found = json.loads(launch("plan", "cardiology", "--cluster", "4x8xH100-80", "--json", *more))["outlook"]
        return found["dollars"], found["step"]["seconds"], found["save_seconds"], found["price_source"]

    usual, own = told(), told("--price", "2", "--network", "100", "--disk", "0.5")
    assert own[0] == pytest.approx(usual[0] * 2 / 6.88 * own[1] / usual[1]) and own[1] > usual[1] + 1
    assert own[2] == pytest.approx(4 * usual[2]) and own[3] is None


@pytest.mark.parametrize("wrong", [("--price", "-1"), ("--network", "0"), ("--disk", "nan"), ("--cluster", "4x8x80")])
def test_machines_and_prices_that_cannot_be_are_refused(wrong, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["launcher", "plan", "cardiology", *wrong])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and wrong[0] in said and "Traceback" not in said


def test_gpus_that_nobody_names_are_assumed_and_unknown_ones_told(launch):
    said = launch("plan", "cardiology")
    assert "4 x 8 H100-80" in said and "GPUs are assumed" in said
    said = launch("plan", "cardiology", "--cluster", "4x8xMI300X-192")
    assert "time     not known for these GPUs" in said and "next     launcher run" in said
    assert max(len(line) for line in said.splitlines()) <= 80


def test_every_shipped_recipe_has_a_time(launch):
    for recipe, gpu in zip(shipped_names("recipes", ".yaml"), GPUS, strict=False):
        told = json.loads(launch("plan", recipe.removesuffix(".yaml"), "--cluster", f"4x8x{gpu}", "--json"))
        assert told["outlook"]["step"]["seconds"] > 0, (recipe, gpu)


def test_what_was_measured_here_is_used_and_named_as_long_as_the_versions_stay(launch, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    cache = tmp_path / "cache"
    said = launch("plan", "quickstart", "--cache", str(cache), "--workers", "2")
    assert "time     not known here: launcher plan" in said and not cache.exists()
    one_thread = ("--workers", "2", "--set", "cluster.threads=1")
    device, known = this_device().name, versions()
    made = Calibration(device=device, ranks=2, nodes=1, threads=1, precision="fp32", versions=known,
                       measured="2026-11-22", hardware=cpu_hardware(1), coefficients=CPU_START, probes=())
    cache.mkdir()
    open_store(str(cache)).put(key_of(device, 1, "fp32", known), made.to_json().encode())
    said = launch("plan", "quickstart", "--cache", str(cache), *one_thread)
    assert "of this machine's workers (as measured 2026-11-22 on 2)" in " ".join(said.split())
    assert "tokens/s a worker" in said
    assert "MFU" not in said and "GPU" not in said and max(len(line) for line in said.splitlines()) <= 80
    assert "not known" in launch("plan", "quickstart", "--cache", str(cache), *one_thread, "--set",
                                 "model.precision=bf16")
    monkeypatch.setattr("launcher.cli.plan_time.versions", lambda: {**known, "torch": "9.9"})
    assert "not known" in launch("plan", "quickstart", "--cache", str(cache), *one_thread)


@pytest.mark.parametrize(("more", "why"), [
    ((), "flash_attention_2 needs a GPU"), (("--set", "model.attention=sdpa"), "calibrate on the machines"),
    (("--set", "model.path=nobody/knows-it"), "shape is known")])
def test_what_cannot_be_measured_here_is_refused_at_once(more, why, monkeypatch, capsys):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(sys, "argv", ["launcher", "plan", "cardiology", "--calibrate", *more])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and why in said and "Traceback" not in said


MACHINE = CPU_START.model_copy(update={"matmul": 1.5, "launches": 40, "update": 2})
"""How long things take on the machine that stands for this one."""


def on_the_machine(made, micro_batch):
    """Return what a plan's step takes there, on two workers of one thread."""
    shape = shape_of(facts_of(made), facts_of(made).adapter_parameters(made.adapter) if made.adapter else None)
    two = Machines(cpu_hardware(1), 1, 2, micro_batch, MACHINE, "measured", "two")
    return step_time(shape, geometry(made, two), two.hardware, MACHINE).seconds


class Quick:
    """Stands for a drill whose run takes no time: it reads the probe's recipe, and tells steps of the machine."""

    def __init__(self, folder, recipe, options):
        self.loaded = load_recipe(recipe, [])

    def unbroken(self, name):
        self.loaded.require_data()
        made = plan_of(self.loaded, None)
        assert made.steps > 8 and self.loaded.recipe.cluster.workers == 2
        took = on_the_machine(made, self.loaded.recipe.micro_batch)
        # A stranger's work made one step longer.
        return [{"event": "step", "seconds": took * (1 + 9 * (step == 7))} for step in range(made.steps)]

    def forget(self, name):
        pass


LORA = ("model.path=Qwen/Qwen2.5-0.5B", "model.precision=fp32", "model.attention=sdpa", "sequence_length=64",
        "micro_batch=1", "batch={rows: 4}", "cluster={workers: 2, threads: 1}",
        "sources.maths.score={kind: exact_match, max_new_tokens: 8}")


@pytest.mark.parametrize(("recipe", "more"), [
    ("quickstart", ("cluster.threads=1",)), ("quickstart", ("cluster.threads=1", "deepspeed=zero2")),
    ("quickstart", ("cluster.threads=1", "model.gradient_checkpointing=true")), ("assistant_lora", LORA)])
def test_probes_are_recipes_that_can_run_and_what_they_tell_is_kept(recipe, more, launch, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr("launcher.cli.calibrate.Drill", Quick)
    cache = str(tmp_path / "cache")
    sets = [word for each in more for word in ("--set", each)]
    found = json.loads(launch("plan", recipe, "--cache", cache, "--calibrate", "--json", *sets))["outlook"]
    assert found["basis"] == "measured" and not found["gpus"]
    own = load_recipe(recipe, more)
    true = on_the_machine(plan_of(own, None), 4 if own.recipe.micro_batch == "auto" else own.recipe.micro_batch)
    assert found["step"]["seconds"] == pytest.approx(true, rel=0.1)
    (key,) = open_store(cache).list("calibrations/")
    made = Calibration.from_json(open_store(cache).get(key))
    assert len(made.probes) == 6 and made.spread == 0.0


def test_what_was_measured_on_a_busy_machine_is_said_to_be(launch, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    quiet = Quick.unbroken
    monkeypatch.setattr(Quick, "unbroken", lambda self, name: [
        {**event, "seconds": event["seconds"] * (1 + number % 3)} for number, event in enumerate(quiet(self, name))])
    monkeypatch.setattr("launcher.cli.calibrate.Drill", Quick)
    said = launch("plan", "quickstart", "--cache", str(tmp_path / "cache"), "--calibrate")
    assert "steps varied much" in " ".join(said.split())


@pytest.mark.slow
def test_a_calibration_measures_keeps_and_is_used(launch, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    # Two of the six probes, briefly: what they tell is not judged here.
    monkeypatch.setattr("launcher.cli.calibrate.probes", lambda *shape: probes(*shape)[:4:3])
    monkeypatch.setattr("launcher.core.calibration.PROBE_S", 0.5)
    cache = str(tmp_path / "cache")
    said = launch("plan", "quickstart", "--cache", cache, "--calibrate")
    assert " of this machine's workers (as measured " in " ".join(said.split())
    (key,) = open_store(cache).list("calibrations/")
    made = Calibration.from_json(open_store(cache).get(key))
    assert len(made.probes) == 2 and all(probe.told == pytest.approx(probe.seconds, rel=0.1) for probe in made.probes)
    assert "as measured" in " ".join(launch("plan", "quickstart", "--cache", cache).split())
    assert "probe" not in " ".join(path.name for path in tmp_path.iterdir())

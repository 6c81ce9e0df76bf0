"""`launcher submit`: what would be submitted, what a job is given, and what is said where nothing can be."""

import json
import os
import shutil
import stat
import sys
from pathlib import Path

import pytest
from rich.console import Console

import launcher
from launcher.cli.preparing import data_of
from launcher.cli.submission import SubmitOptions
from launcher.cli.submit import submit
from launcher.core.errors import DataInvalid, PlatformError, ProblemsError, Unplannable, UserError
from launcher.data.cache import cache_store
from launcher.platforms.site_file import CODE, PYTHON, SITE
from launcher.storage import submitting
from launcher.storage.lock import take_lease
from launcher.storage.own_code import own_code
from launcher.storage.recipes import load_recipe
from launcher.storage.run_dir import RunDir

SBATCH = f"""#!{sys.executable}
import json, os, sys
with open("told", "w") as file:
    json.dump([sys.argv[1:], dict(os.environ)], file)
if "--test-only" in sys.argv:
    sys.stderr.write("sbatch: Job 78 to start at 2030-01-02T03:04:05 using 2 processors on nodes node[1-2]\\n")
elif os.environ.get("REFUSED"):
    sys.exit("sbatch: error: " + os.environ["REFUSED"])
else:
    print(77)
"""
RECIPE = """
name: small
model:
  init: {architecture: llama, hidden_size: 16, intermediate_size: 16, num_hidden_layers: 1, num_attention_heads: 2}
  tokenizer: {train: {vocab_size: 300}}
  chat_template: own.jinja
deepspeed: own.json
sequence_length: 64
sources: {texts: {path: texts.jsonl}}
stages: [{name: only, length: {steps: 3}, mix: {texts: 1}}]
batch: {rows: 2}
learning_rate: 1e-3
"""


@pytest.fixture(autouse=True)
def desk(tmp_path, monkeypatch):
    """Sit in an empty folder, on a machine whose sbatch only writes down what it is told."""
    monkeypatch.chdir(tmp_path)
    for name in (PYTHON, SITE, CODE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LAUNCHER_CACHE", "cache")
    monkeypatch.setattr(submitting, "own_code", lambda: ({"launcher/__init__.py": Path(launcher.__file__)}, []))
    put("bin/sbatch", SBATCH).chmod(0o755)
    put("bin/sinfo", "#!/bin/sh\nprintf 'node1\\nnode2\\n'\n").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


@pytest.fixture
def recipe():
    """Write a recipe that names files of every kind, in a folder of its own."""
    put("mine/own.json", '{"zero_optimization": {"stage": 2}, "train_micro_batch_size_per_gpu": "auto"}')
    put("mine/own.jinja", "{% for message in messages %}{{ message.content }}<|end|>{% endfor %}")
    put("mine/texts.jsonl", "".join(json.dumps({"text": f"{number} follows {number - 1}. " * 9}) + "\n"
                                    for number in range(40)))
    return put("mine/small.yaml", RECIPE)


def put(name, text):
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def told():
    arguments, environment = json.loads(Path("told").read_text())
    return arguments, environment


def script_arguments():
    arguments = told()[0]
    return arguments[next(at for at, word in enumerate(arguments) if word.endswith("train.sbatch")) + 1:]


def test_a_dry_run_tells_everything_but_a_secret_and_leaves_nothing(capsys, monkeypatch, recipe):
    monkeypatch.setenv("HF_TOKEN", "hf_planted")
    options = SubmitOptions(nodes=2, workers=4, overrides=("slurm.partition=long",))
    assert submit([str(recipe)], options, dry_run=True) == 0
    printed = capsys.readouterr().out
    assert "--nodes=2 --partition=long" in printed and "--workers 4" in printed and "#SBATCH --requeue" in printed
    assert "HF_TOKEN" in printed and "hf_planted" not in printed
    for name in ("mine/small.yaml", "mine/own.json", "mine/own.jinja", "launcher's own code, "):
        assert name in printed
    assert "estimated plan: 3 steps" in printed and "would be prepared here" in printed
    assert "start    Job 78 to start at 2030-01-02T03:04:05 using 2 processors on nodes node[1-2]" in printed
    assert not Path("runs").exists() and not Path("cache").exists()


def test_where_there_is_no_slurm_a_dry_run_says_so(capsys, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert submit(["quickstart"], SubmitOptions(), dry_run=True) == 0
    assert "start    not known: sbatch: no such command here" in capsys.readouterr().out


def test_a_job_gets_a_log_and_copies_in_the_run_directory_and_the_next_command_is_told(capsys, monkeypatch):
    monkeypatch.setattr(submitting, "own_code", own_code)
    assert submit(["quickstart"], SubmitOptions(run_dir="mine", prepare=False), dry_run=False) == 0
    arguments, environment = told()
    assert {f"--output={Path('mine').absolute()}/slurm-%j.out", f"--chdir={Path('mine').absolute()}"} <= set(arguments)
    copy, *rest = script_arguments()
    assert Path(copy).read_bytes() == load_recipe("quickstart").text
    assert rest == ["--run-dir", str(Path("mine").absolute()), "--cache", str(Path("cache").absolute())]
    assert environment[PYTHON] == sys.executable and environment[CODE] == str(Path(copy).parent / "code")
    assert (Path(environment[CODE]) / "launcher/cli/main.py").is_file()
    printed = capsys.readouterr().out
    assert printed.startswith("job 77 is submitted\nlog    mine/slurm-77.out\n") and "launcher status mine" in printed


def test_data_is_prepared_before_and_the_job_asks_nobody_for_it(capsys, recipe):
    submit([str(recipe)], SubmitOptions(), dry_run=False)
    assert "exact plan: 3 steps" in capsys.readouterr().err and list(Path("cache/prepared").iterdir())
    environment = told()[1]
    assert environment["HF_HUB_OFFLINE"] == environment["HF_DATASETS_OFFLINE"] == "1"
    # The data's own files may be gone by then, and its place unreachable.
    for file in ("mine/texts.jsonl", "mine/own.jinja"):
        Path(file).unlink()
    loaded = load_recipe(script_arguments()[0], ["cluster.nodes=2"])
    loaded.require_data()
    assert loaded.prepared is not None and loaded.prepared.sources["texts"].read == 40
    assert data_of(loaded, cache_store(None), Console(stderr=True)) is loaded.prepared
    assert load_recipe(script_arguments()[0], ["sources.texts.holdout=3"]).prepared is None, "it is other data"
    shutil.rmtree("cache")
    with pytest.raises(DataInvalid, match="no such file"):
        data_of(loaded, cache_store(None), Console(stderr=True))
    assert "not in the cache here" in capsys.readouterr().err


def test_a_job_that_is_to_prepare_by_itself_is_told_of_and_is_not_cut_off(capsys, monkeypatch, recipe):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    submit([str(recipe)], SubmitOptions(prepare=False), dry_run=False)
    assert "on its first node" in capsys.readouterr().err and not Path("cache").exists()
    assert "HF_HUB_OFFLINE" not in told()[1]
    assert load_recipe(script_arguments()[0]).prepared is None


def test_a_machine_that_cannot_prepare_leaves_it_to_the_job(capsys, monkeypatch, recipe):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    submit([str(recipe)], SubmitOptions(), dry_run=False)
    assert "cannot be prepared here (import of tokenizers" in capsys.readouterr().err
    assert load_recipe(script_arguments()[0]).prepared is None


def test_a_model_that_cannot_be_fetched_is_told_before_anything_waits_in_a_queue(monkeypatch, recipe):
    def fetch(path, *, weights):
        raise UserError(f"{path} is fetched {'with' if weights else 'without'} weights")

    monkeypatch.setattr("launcher.cli.submission.model_folder", fetch)
    options = SubmitOptions(overrides=("model={path: owner/name}",))
    with pytest.raises(UserError, match="owner/name is fetched with weights"):
        submit([str(recipe)], options, dry_run=False)
    assert not Path("told").exists()


def test_a_queued_job_runs_what_was_submitted_whatever_becomes_of_the_files(recipe):
    before = load_recipe(str(recipe))
    submit([str(recipe)], SubmitOptions(), dry_run=False)
    copy = script_arguments()[0]
    put("mine/small.yaml", RECIPE.replace("steps: 3", "steps: 300").replace("texts.jsonl", "nowhere.jsonl"))
    put("mine/own.json", "{}")
    put("mine/own.jinja", "")
    queued = load_recipe(copy)
    assert (queued.recipe, queued.ds_template, queued.text) == (before.recipe, before.ds_template, before.text)
    assert Path(queued.as_read().model.chat_template or "").read_text().startswith("{% for")
    assert queued.where(("stages",)).startswith(str(recipe.absolute()))


def test_a_copy_is_made_once_and_another_one_of_what_has_changed(recipe):
    def submitted():
        submit([str(recipe)], SubmitOptions(prepare=False), dry_run=False)
        return Path(script_arguments()[0]).parent

    first = submitted()
    assert submitted() == first
    assert not any(file.stat().st_mode & stat.S_IWUSR for file in first.rglob("*.*") if file.suffix != ".pyc" and file.is_file())
    put("mine/own.json", '{"zero_optimization": {"stage": 1}}')
    assert submitted() != first and first.is_dir()


def test_what_is_too_large_to_copy_is_refused(monkeypatch, recipe):
    monkeypatch.setattr("launcher.storage.submitting.LARGEST", 500)
    with pytest.raises(UserError, match="more than"):
        submit([str(recipe)], SubmitOptions(prepare=False), dry_run=False)
    assert not Path("told").exists()


def test_what_cannot_be_run_is_refused_before_it_waits_in_a_queue(recipe):
    with pytest.raises(Unplannable):
        submit([str(recipe)], SubmitOptions(overrides=("stages.0.length={epochs: 0.0001}",)), dry_run=False)
    assert not Path("told").exists() and not Path("runs").exists()


def test_a_submission_that_slurm_refuses_leaves_nothing(monkeypatch, recipe):
    monkeypatch.setenv("REFUSED", "invalid partition")
    with pytest.raises(PlatformError, match="invalid partition"):
        submit([str(recipe)], SubmitOptions(), dry_run=False)
    assert not Path("runs/small").exists()


def test_a_run_that_somebody_works_on_is_not_submitted_again():
    lease = take_lease(RunDir("runs/quickstart"))
    with pytest.raises(UserError, match="being worked on"):
        submit(["quickstart"], SubmitOptions(), dry_run=False)
    lease.release()
    assert not Path("told").exists()


def test_without_a_slurm_there_is_one_message(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(PlatformError, match="sbatch: no such command"):
        submit(["quickstart"], SubmitOptions(prepare=False), dry_run=False)


def test_nodes_that_failed_a_run_too_often_are_left_out_if_slurm_knows_them(capsys, recipe):
    def failed(node):
        cause = {"kind": "node_loss", "node": node, "step": 1, "message": "gone", "raised": False}
        return json.dumps({"event": "decision", "time": 1.0, "attempt": 1, "decision": "retry", "reason": "",
                           "cause": cause}) + "\n"

    put("runs/small/journal.jsonl", 2 * failed("node2") + 2 * failed("laptop") + failed("node1"))
    submit([str(recipe)], SubmitOptions(overrides=("slurm.exclude=node9",), prepare=False), dry_run=False)
    assert "--exclude=node9,node2" in told()[0] and "left   node2: failed" in capsys.readouterr().out


def test_a_site_gives_sbatch_its_defaults_and_the_job_its_file(recipe):
    put("sites/here.env", "SBATCH_PARTITION=long\nLAUNCHER_CACHE=/shared/cache\nNCCL_SOCKET_IFNAME='ib0'\n")
    submit([str(recipe)], SubmitOptions(site="sites/here.env", prepare=False), dry_run=False)
    environment = told()[1]
    assert environment["SBATCH_PARTITION"] == "long" and "NCCL_SOCKET_IFNAME" not in environment
    assert Path(environment[SITE]).read_text() == Path("sites/here.env").read_text()
    assert Path(environment[SITE]).parent == Path(script_arguments()[0]).parent
    assert script_arguments()[-2:] == ["--cache", "/shared/cache"]


def test_a_recipes_site_lies_beside_it_and_one_that_is_missing_is_told_with_its_place(recipe):
    put("mine/here.env", "SBATCH_QOS=high\n")
    put("mine/small.yaml", f"{RECIPE}slurm: {{site: here.env}}\n")
    submit([str(recipe)], SubmitOptions(prepare=False), dry_run=False)
    assert told()[1]["SBATCH_QOS"] == "high"
    put("mine/small.yaml", f"{RECIPE}slurm: {{site: there}}\n")
    with pytest.raises(ProblemsError, match=r"small.yaml:\d+:\d+: no file .*/mine/there, .* known here: example"):
        submit([str(recipe)], SubmitOptions(prepare=False), dry_run=False)


def test_several_recipes_are_one_array_with_a_run_each(capsys, recipe):
    other = put("mine/other.yaml", "extends: small.yaml\nname: other\nseed: 7\n")
    options = SubmitOptions(array=True, overrides=("seed=3",))
    assert submit([str(recipe), str(other)], options, dry_run=False) == 0
    arguments = told()[0]
    assert {"--array=0-1", f"--output={Path('runs/small').absolute()}/slurm-%A_%a.out"} <= set(arguments)
    first, second, *rest = script_arguments()
    assert "--run-dir" not in rest and rest[-2:] == ["--set", "seed=3"]
    assert [Path(copy).parents[2] for copy in (first, second)] == [Path("runs/small").absolute(),
                                                                   Path("runs/other").absolute()]
    assert load_recipe(second).recipe.name == "other"
    printed = capsys.readouterr().out
    assert "runs/other/slurm-*.out, task 1" in printed and "mine/other.yaml" in printed and "mine/small.yaml" in printed


@pytest.mark.parametrize("text,options,words", [
    ("extends: small.yaml\nname: other\n", {}, "add --array"),
    ("extends: small.yaml\n", {"array": True}, "have the name small"),
    ("extends: small.yaml\nname: other\nslurm: {qos: high}\n", {"array": True}, "submit them one by one"),
    ("extends: small.yaml\nname: other\n", {"array": True, "run_dir": "x"}, "--run-dir is for one run")])
def test_recipes_that_cannot_be_one_array_are_refused(recipe, text, options, words):
    other = put("mine/other.yaml", text)
    with pytest.raises(UserError, match=words):
        submit([str(recipe), str(other)], SubmitOptions(**options), dry_run=False)
    assert not Path("told").exists()

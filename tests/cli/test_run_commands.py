"""run, resume, status, logs and ls as a person types them, with real data and plans and fake workers without Ray."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE_S = 90.0
"""For a machine that does much else at the same time; nothing here waits that long on a quiet one."""
RECIPE = """
name: tiny
model:
  init: {architecture: llama, hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 32}
  tokenizer: {train: {vocab_size: 300}}
  precision: fp32
sequence_length: 64
sources:
  echo: {path: echo.jsonl}
stages:
  - {name: one, length: {steps: 3}, mix: {echo: 1}, learning_rate: 1e-3}
batch: {rows: 2}
cluster: {workers: 2}
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


class Desk:
    """A folder with a recipe, and a person at the command line in it."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[str]] = []
        rows = [json.dumps({"prompt": f"say {number}", "completion": f"{number} it is"}) for number in range(60)]
        (folder / "echo.jsonl").write_text("\n".join(rows))
        (folder / "tiny.yaml").write_text(RECIPE)
        self.environment = {**os.environ, "LAUNCHER_CACHE": str(cache), "OMP_NUM_THREADS": "1",
                            "PYTHONPATH": f"{ROOT / 'tests/fakes'}:{ROOT}"}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "launcher.cli.main", *arguments]
        self.started.append(subprocess.Popen(command, cwd=self.folder, env=self.environment, text=True,
                                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
        return self.started[-1]

    def type(self, *arguments: str) -> tuple[int, str]:
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=PATIENCE_S)
        return process.returncode, output

    def status(self) -> dict:
        return json.loads(self.type("status", "tiny", "--json")[1])

    def wait_for(self, event: str) -> None:
        journal, deadline = self.folder / "runs/tiny/journal.jsonl", time.monotonic() + PATIENCE_S
        while not (journal.exists() and f'"event": "{event}"' in journal.read_text()):
            assert self.started[-1].poll() is None, self.started[-1].communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.fixture
def desk(tmp_path, cache):
    desk = Desk(tmp_path, cache)
    yield desk
    for process in desk.started:
        process.kill()
        process.communicate()


def test_a_run_from_the_recipe_to_the_summary_and_all_questions_after_it(desk):
    code, output = desk.type("run", "tiny.yaml", "--without-ray")
    assert code == 0, output
    assert "tiny finished: 3 steps, 1 stage" in output
    assert "runs/tiny/model" in output
    assert desk.status()["state"] == "finished"
    assert (desk.folder / "runs/tiny/recipe.yaml").read_text() == RECIPE
    code, output = desk.type("run", "tiny.yaml", "--without-ray")
    assert code == 0
    assert "finished already" in output
    code, output = desk.type("run", "tiny.yaml", "--without-ray", "--set", "stages.0.length.steps=4")
    assert code == 2
    assert "stages.0.steps: was 3, is now 4" in output
    assert "3/3" in desk.type("ls")[1]
    assert desk.type("logs", "tiny", "--rank", "9")[0] == 2
    (desk.folder / "runs/tiny/attempts/001/rank-001.log").write_text("")
    assert "the worker printed nothing" in desk.type("logs", "tiny", "--rank", "1")[1]


@pytest.mark.slow
def test_ctrl_c_and_stop_yield_and_resume_goes_on_from_the_directory_alone(desk):
    desk.environment["LAUNCHER_FAKE_STEP_S"] = "0.05"
    process = desk.start("run", "tiny.yaml", "--without-ray", "--set", "stages.0.length.steps=2000")
    desk.wait_for("step")
    assert desk.status()["state"] == "running"
    code, output = desk.type("run", "tiny.yaml", "--without-ray", "--set", "stages.0.length.steps=2000")
    assert code == 2
    assert "being worked on by process" in output
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 75
    assert "begins again at step 1" in output
    assert desk.status()["state"] == "yielded"
    (desk.folder / "tiny.yaml").unlink()
    process = desk.start("resume", "tiny", "--without-ray")
    while desk.status()["attempt"] != 2 or desk.status()["step"] == 0:
        assert process.poll() is None
    code, output = desk.type("stop", "tiny")
    assert code == 0, output
    assert "tiny stopped as asked after" in output
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 75


@pytest.mark.slow
def test_a_changed_recipe_is_refused_with_the_difference(desk):
    desk.environment["LAUNCHER_FAKE"] = json.dumps({"1": {"at": 2, "do": "crash"}})
    code, output = desk.type("run", "tiny.yaml", "--without-ray")
    assert code == 1, output
    assert "worker_crash on rank 1" in output
    code, output = desk.type("run", "tiny.yaml", "--without-ray", "--set", "seed=7")
    assert code == 2
    assert "seed: was 0, is now 7" in output
    assert "Traceback" not in output


def test_a_refusal_leaves_no_run_behind(desk):
    code, output = desk.type("run", "tiny.yaml", "--without-ray", "--set", "cluster={nodes: 4, gpus_per_node: 8}")
    assert code == 2, output
    assert "4 nodes are needed" in output
    assert not (desk.folder / "runs").exists()


def test_a_run_nobody_knows(desk):
    code, output = desk.type("status", "tony")
    assert code == 2
    assert "no run here" in output


@pytest.mark.parametrize(("option", "expected", "message"), [
    ("--run-dir", 76, "launcher: /proc/nowhere"), ("--cache", 2, "the cache /proc/nowhere cannot be a folder")])
def test_a_folder_that_cannot_be_written_is_one_message(desk, option, expected, message):
    code, told = desk.type("run", "tiny.yaml", "--without-ray", option, "/proc/nowhere")
    assert (code, "Traceback" in told) == (expected, False)
    assert message in told.splitlines()[-1]

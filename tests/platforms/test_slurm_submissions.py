"""Submitted jobs on a real Slurm of simulated machines: what was submitted is what runs, as tasks of one array, with a
site's module, virtual environment and container.

The container is a stand-in for `apptainer` that runs its command here, and the module one for the shell function; what
pyxis is told is tested as text alone.
"""

import json
import os
import shutil
import site
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.storage.shipped import PACKAGE, TOP_FOLDERS
from tests.platforms.a_slurm import PATH, Slurm, why_not

pytestmark = [pytest.mark.skipif(bool(why_not()), reason=why_not() or "it is possible"), pytest.mark.timeout(600)]

RECIPE = """
name: first
model:
  init: {architecture: llama, hidden_size: 16, intermediate_size: 16, num_hidden_layers: 1, num_attention_heads: 2}
  tokenizer: {train: {vocab_size: 300}}
  precision: fp32
sequence_length: 64
sources: {texts: {path: texts.jsonl}}
stages: [{name: only, length: {steps: 3}, mix: {texts: 1}}]
batch: {rows: 2}
learning_rate: 1e-3
cluster: {workers: 1, threads: 1}
"""
MODULE = '() { echo "module $*"; export TOY_MODULE=loaded; }'
APPTAINER = """#!/bin/bash
echo "$TOY_MODULE: $*" >> "$(dirname "$0")/told"
shift
while [[ $1 == --* ]]; do shift 2; done
shift
exec "$@"
"""
PATIENCE_S = 240.0


class Desk:
    """A person at the cluster's command line with a checkout of launcher of their own."""

    def __init__(self, slurm: Slurm, folder: Path) -> None:
        self.slurm, self.folder, self.checkout = slurm, folder, folder / "checkout"
        for name in ("launcher", *TOP_FOLDERS):
            source = (PACKAGE if name == "launcher" else PACKAGE.parent / name)
            shutil.copytree(source, self.checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
        texts = [json.dumps({"text": f"{number} follows {number - 1}. " * 9}) for number in range(40)]
        self.put("recipes/texts.jsonl", "\n".join(texts))
        self.put("recipes/first.yaml", RECIPE)
        self.put("recipes/second.yaml", "extends: first.yaml\nname: second\nseed: 7\n")
        self.put("bin/apptainer", APPTAINER).chmod(0o755)
        venv.create(folder / "venv", with_pip=False, symlinks=True)
        packages = next((folder / "venv/lib").glob("python*/site-packages"))
        (packages / "all.pth").write_text("\n".join((sysconfig.get_path("purelib"), *site.getsitepackages())))

    def put(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def submit(self, *arguments: str) -> str:
        environment = {"LAUNCHER_CACHE": str(self.folder / "cache"), "CUDA_VISIBLE_DEVICES": "",
                       "BASH_FUNC_module%%": MODULE, "PYTHONPATH": str(self.checkout),
                       "PATH": f"{self.folder / 'bin'}{os.pathsep}{PATH}"}
        # In the checkout, which Python would look into first.
        return self.slurm.done(sys.executable, "-m", "launcher.cli.main", "submit", *arguments, "--on", "slurm",
                               "--set", "slurm.extra.hold=true", cwd=self.checkout, **environment)

    def run(self, name: str) -> Path:
        return self.checkout / "runs" / name


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("submissions")
    with Slurm(nodes=2) as slurm:
        yield Desk(slurm, folder)
        slurm.cancel_all()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_queued_tasks_of_an_array_run_what_was_submitted_by_their_sites_environment(desk: Desk) -> None:
    python = desk.folder / "venv/bin/python"
    here = desk.put("here.env", f"LAUNCHER_MODULES=toy/1\nLAUNCHER_PYTHON={python}\nSBATCH_PARTITION=high\n"
                    f"LAUNCHER_CONTAINER=l.sif\nLAUNCHER_CONTAINER_BY=apptainer\nLAUNCHER_CONTAINER_PYTHON={python}\n")
    recipes = [str(desk.folder / f"recipes/{name}.yaml") for name in ("first", "second")]
    wanted = [*recipes, "--array", "--site", str(here)]
    assert " to start at " in desk.submit(*wanted, "--dry-run")
    array = int(desk.submit(*wanted).split()[1])
    # While it waits, all that it was made of changes or goes.
    desk.put("recipes/first.yaml", RECIPE.replace("steps: 3", "steps: 3000"))
    desk.put("checkout/launcher/__init__.py", "raise SystemExit('this is not what was submitted')\n")
    for gone in (desk.folder / "recipes/texts.jsonl", here):
        gone.unlink()
    desk.slurm.done("scontrol", "release", array)
    for task, (name, seed) in enumerate((("first", 0), ("second", 7))):
        job = desk.slurm.await_state(f"{array}_{task}", patience_s=PATIENCE_S)  # pyright: ignore[reportArgumentType]
        output = "\n".join(path.read_text() for path in desk.checkout.rglob("slurm-*.out"))
        assert (job["JobState"], job["Partition"]) == ("COMPLETED", "high"), output
        plan = json.loads((desk.run(name) / "plan.json").read_text())
        assert (plan["steps"], plan["seed"]) == (3, seed)
        assert (desk.run(name) / "model/model.safetensors").is_file()
        assert f"run {desk.run(name)}" in (desk.run(name) / f"slurm-{array}_{task}.out").read_text()
    assert "module load toy/1" in output
    told = (desk.folder / "bin/told").read_text().splitlines()
    assert len(told) == 4 and all(line.startswith("loaded: exec --bind /tmp:/tmp,") for line in told)

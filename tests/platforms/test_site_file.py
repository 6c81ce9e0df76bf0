"""Site files: what is read of them, that a shell reads the same, and what is refused with its place."""

import os
import subprocess
from pathlib import Path

import pytest

from launcher.core.errors import ProblemsError
from launcher.platforms.site_file import find_site, settings
from launcher.storage.shipped import shipped

TEXT = """# a cluster
LAUNCHER_MODULES='cuda/12.6 gcc/13'   # in this order
  LAUNCHER_PYTHON=/shared/envs/launcher/bin/python

SBATCH_ACCOUNT="my project"
NCCL_SOCKET_IFNAME=
"""


def test_a_site_file_means_what_a_shell_makes_of_it(tmp_path):
    file = tmp_path / "x.env"
    file.write_text(TEXT)
    read = subprocess.run(["bash", "-c", 'set -a; . "$0"; env', str(file)], capture_output=True, text=True, check=True,
                          env={"PATH": os.environ["PATH"]}).stdout
    found = settings(TEXT, "x.env")
    assert found == {"LAUNCHER_MODULES": "cuda/12.6 gcc/13", "LAUNCHER_PYTHON": "/shared/envs/launcher/bin/python",
                     "SBATCH_ACCOUNT": "my project", "NCCL_SOCKET_IFNAME": ""}
    assert {f"{name}={value}" for name, value in found.items()} <= set(read.splitlines())


@pytest.mark.parametrize("line", ["A=$(id)", "A=`id`", 'A="$HOME/x"', "A=two words", "A = 1", "module load cuda",
                                  "A=~/x", "A=1; id", "A='1\\r", "export A=1", "A=1\r", "1A=1", "A=a*"])
def test_a_line_that_a_shell_would_make_more_of_is_refused_with_its_place(line):
    with pytest.raises(ProblemsError, match=r"x\.env:2:1: is not plain"):
        settings(f"# first\n{line}\n", "x.env")


@pytest.mark.parametrize("line,words", [
    ("HF_TOKEN=x", "looks like a secret"), ("WANDB_API_KEY=x", "looks like a secret"),
    ("LAUNCHER_MODULE=x", "did you mean LAUNCHER_MODULES"), ("PYTHONPATH=/x", "would hide the code"),
    ("LAUNCHER_CONTAINER=x.sqsh", "needs LAUNCHER_CONTAINER_BY: one of pyxis, apptainer")])
def test_what_would_leak_or_do_nothing_is_refused(line, words):
    with pytest.raises(ProblemsError, match=words):
        settings(line, "x.env")


@pytest.mark.parametrize("line", ["LAUNCHER_ORPHAN_GRACE=120", "LAUNCHER_CONTAINER_OPTIONS=\"it's\""])
def test_what_a_job_would_stumble_over_is_refused_before_it_is_submitted(line):
    with pytest.raises(ProblemsError, match=r"needs a unit of time|No closing quotation"):
        settings(line, "mine.env")


def test_all_lines_of_the_example_are_good_without_their_marks():
    example = shipped("slurm", "sites/example.env")
    assert example is not None and settings(example.read_text(), "example.env") == {}
    marked = [line for line in example.read_text().splitlines() if line.startswith("#")]
    lines = [line[1:] for line in marked if not line.startswith("# ") and line != "#"]
    found = settings("\n".join(lines), "example.env")
    assert {"LAUNCHER_MODULES", "LAUNCHER_PYTHON", "SBATCH_ACCOUNT", "LAUNCHER_CONTAINER"} <= set(found)


def test_a_site_is_a_file_or_a_shipped_name(tmp_path):
    (tmp_path / "own.env").write_text("SBATCH_QOS=high\nOTHER=1\nLAUNCHER_MODULES=cuda\n")
    own = find_site("own.env", tmp_path, "--site own.env")
    assert (own.file, own.variables) == (tmp_path / "own.env", {"SBATCH_QOS": "high", "OTHER": "1"})
    assert find_site("example", tmp_path, "--site").file == shipped("slurm", "sites/example.env")
    with pytest.raises(ProblemsError, match=r"--site exampel: no file .*did you mean example"):
        find_site("exampel", Path(), "--site exampel")

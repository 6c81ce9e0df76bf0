"""How the steps of a job are told of a container, and that nothing is added without one."""

import os
import sys
from pathlib import Path

from launcher.platforms.slurm_container import Container, container, mounted
from launcher.platforms.slurm_steps import controller_command, nodes_command
from launcher.storage.run_dir import RunDir

PYXIS = {"LAUNCHER_CONTAINER": "/images/l.sqsh", "LAUNCHER_CONTAINER_BY": "pyxis",
         "LAUNCHER_CONTAINER_MOUNTS": "/shared, /scratch:/data:ro", "LAUNCHER_CONTAINER_OPTIONS": "--a 'b c'"}
APPTAINER = {"LAUNCHER_CONTAINER": "/images/l.sif", "LAUNCHER_CONTAINER_BY": "apptainer",
             "LAUNCHER_CONTAINER_PYTHON": "/opt/python", "SLURM_GPUS_ON_NODE": "8"}


def test_without_a_container_steps_run_by_this_python():
    assert container({}, "/run") == Container((), (), sys.executable)
    assert nodes_command(2, container({}, "/run"))[-3:] == [sys.executable, "-m", "launcher.platforms.slurm_node"]


def test_pyxis_is_told_by_options_of_srun():
    assert "/runs/other:/runs/other" in container(PYXIS, "/runs/r", "/runs/other").srun[1], "an array's other task"
    where = container(PYXIS, "/runs/r")
    assert where == Container(("--container-image=/images/l.sqsh",
                               "--container-mounts=/tmp:/tmp,/runs/r:/runs/r,/shared:/shared,/scratch:/data:ro",
                               "--container-workdir=/runs/r", "--a", "b c"), (), "python")
    for command in (nodes_command(2, where), controller_command("node1", ["python", "-m", "x"], where)):
        assert command.index("--container-image=/images/l.sqsh") < command.index("python") and command[0] == "srun"


def test_apptainer_stands_before_the_command_and_shows_gpus_where_there_are_any():
    where = container(APPTAINER, "/runs/r")
    words = ("apptainer", "exec", "--nv", "--bind", "/tmp:/tmp,/runs/r:/runs/r", "--pwd", "/runs/r", "/images/l.sif")
    assert where == Container((), words, "/opt/python")
    assert nodes_command(2, where)[-11:] == [*words, "/opt/python", "-m", "launcher.platforms.slurm_node"]
    assert controller_command("node1", ["/opt/python", "-m", "x"], where)[-11:-3] == list(words)
    assert "--nv" not in container(APPTAINER | {"SLURM_GPUS_ON_NODE": "0"}, "/runs/r").inside


def test_a_container_sees_a_runs_folder_or_the_place_for_copies_of_one_in_a_store(tmp_path: Path) -> None:
    remote = RunDir(f"memory://{os.getpid()}/x")
    assert mounted(RunDir(tmp_path), {}) == [str(tmp_path)] and mounted(remote, {}) == []
    assert mounted(remote, {"LAUNCHER_SCRATCH": "/local"}) == ["/local"]

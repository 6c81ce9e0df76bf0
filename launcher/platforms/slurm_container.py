"""The container in which a job's steps run, if its site has one. Pure.

Decides how srun (pyxis) or the command in front (apptainer) is told. The batch script's process itself stays outside,
where Slurm's commands are. A node's Ray and the controller meet in /tmp and see the run under the same path, so these
are mounted in any case.
"""

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from launcher.platforms.slurm_environment import GPUS
from launcher.storage.node_folder import NAME as SCRATCH
from launcher.storage.run_dir import RunDir

IMAGE, BY, MOUNTS = "LAUNCHER_CONTAINER", "LAUNCHER_CONTAINER_BY", "LAUNCHER_CONTAINER_MOUNTS"
OPTIONS, PYTHON_INSIDE = "LAUNCHER_CONTAINER_OPTIONS", "LAUNCHER_CONTAINER_PYTHON"
PYXIS = "pyxis"
PROGRAMS = (PYXIS, "apptainer", "singularity")
SHARED = "/tmp"


@dataclass(frozen=True, slots=True)
class Container:
    """What is put around a step's command."""

    srun: tuple[str, ...] = ()
    """Options of srun."""
    inside: tuple[str, ...] = ()
    """Words before the command."""
    python: str = sys.executable
    """The Python of the command."""


def container(environment: Mapping[str, str], folder: str, *mounted: str) -> Container:
    """Return the container that a job's environment names, with `folder` as its working directory; by default none.

    `mounted` are folders that are to be seen in it besides that one.
    """
    image = environment.get(IMAGE)
    if not image:
        return Container()
    python, mounts = environment.get(PYTHON_INSIDE) or "python", _mounts(environment.get(MOUNTS, ""), folder, *mounted)
    more = shlex.split(environment.get(OPTIONS, ""))
    if (program := environment.get(BY)) in (None, PYXIS):
        return Container((f"--container-image={image}", f"--container-mounts={mounts}",
                          f"--container-workdir={folder}", *more), (), python)
    gpus = ["--nv"] if int(environment.get(GPUS) or 0) else []
    return Container((), (str(program), "exec", *gpus, "--bind", mounts, "--pwd", folder, *more, image), python)


def _mounts(said: str, *own: str) -> str:
    """Return mounts as both kinds take them: each under its own path unless another is said."""
    wanted = dict.fromkeys([SHARED, *own, *filter(None, (each.strip() for each in said.split(",")))])
    return ",".join(each if ":" in each else f"{each}:{each}" for each in wanted)


def mounted(run: RunDir, environment: Mapping[str, str]) -> list[str]:
    """Return what the containers of a job's steps must see besides the folder it works in: the run's directory, or of
    a run in an object store the place for its copies, if one was said."""
    if not run.remote:
        return [str(run.path.absolute())]
    return [environment[SCRATCH]] if environment.get(SCRATCH) else []

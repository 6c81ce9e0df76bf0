"""Site files: what a cluster needs besides the recipe, as NAME=VALUE lines that the batch script reads with the shell.

Decides which of a shell's lines are plain enough to mean the same here and there, and where a site's name is looked up.
The example file says what each name does; what a container makes of a job's steps is `slurm_container`.
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from launcher.core.errors import Problem, ProblemsError, UserError
from launcher.core.recipe_checks import SECRET_NAME
from launcher.core.suggestions import did_you_mean
from launcher.platforms.slurm_container import BY, IMAGE, MOUNTS, OPTIONS, PROGRAMS, PYTHON_INSIDE
from launcher.storage.node_folder import NAME as SCRATCH
from launcher.storage.orphan_grace import NAME as ORPHAN_GRACE
from launcher.storage.orphan_grace import orphan_grace_s
from launcher.storage.shipped import shipped, shipped_names
from launcher.storage.typed_paths import is_file, typed_path

SITE, MODULES, PYTHON, CODE = "LAUNCHER_SITE", "LAUNCHER_MODULES", "LAUNCHER_PYTHON", "LAUNCHER_CODE"
"""What the batch script reads: the site file, modules to load, which Python to take, and the code to run with it."""
OWN = (MODULES, PYTHON, IMAGE, BY, MOUNTS, OPTIONS, PYTHON_INSIDE, ORPHAN_GRACE, SCRATCH, "LAUNCHER_CACHE")
"""Names of launcher's that a site may set; any other variable is the site's."""
PREFIX = "LAUNCHER_"
LINE = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)=(.*)")
VALUE = re.compile(r"""(?:'([^']*)'|"([^"$`\\]*)"|([\w./:,@%+=-]*))\s*(?:\s\#.*)?""", re.ASCII)
"""What a shell takes as one word without looking into it."""


@dataclass(frozen=True, slots=True)
class Site:
    """A site file that was read."""

    file: Path
    settings: Mapping[str, str]

    @property
    def variables(self) -> dict[str, str]:
        """Return what holds where a job is submitted, too: sbatch reads defaults of its flags from its environment, and
        the hub's client where its cache is."""
        return {name: value for name, value in self.settings.items() if not name.startswith(PREFIX)}


def find_site(name: str, folder: Path, place: str) -> Site:
    """Return a site by the path of its file or by its name among the shipped ones. `place` is where it is named.

    Raises ProblemsError.
    """
    file = typed_path(name, folder)
    if not is_file(file):
        found = shipped("slurm", f"sites/{name.removesuffix('.env')}.env")
        if found is None:
            known = [each.removesuffix(".env") for each in shipped_names("slurm/sites", ".env")]
            reason = f"no file {file}, and no site of this name in slurm/sites; {did_you_mean(name, known)}"
            raise ProblemsError([Problem(place, "", reason)])
        file = found
    return Site(file.absolute(), settings(file.read_text(encoding="utf-8", errors="replace"), str(file)))


def settings(text: str, file: str) -> dict[str, str]:
    """Return what a site file sets. Raises ProblemsError with every line that is not plain."""
    found, problems = dict[str, str](), list[Problem]()
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = LINE.fullmatch(line)
        value = VALUE.fullmatch(match[2]) if match else None
        reason = _problem(match[1]) if match and value and "\r" not in line else (
            "is not plain: write NAME=VALUE or NAME='VALUE WITH BLANKS', with nothing that a shell would expand")
        if reason:
            problems.append(Problem(f"{file}:{number}:1", "", reason))
        elif match and value:
            found[match[1]] = next((group for group in value.groups() if group is not None), "")
    if problems := problems or [*_container_problems(found, file), *_value_problems(found, file)]:
        raise ProblemsError(problems)
    return found


def _value_problems(found: Mapping[str, str], file: str) -> Iterator[Problem]:
    """Yield what a job would stumble over once it has begun."""
    try:
        orphan_grace_s(found)
    except UserError as error:
        yield Problem(file, "", str(error))
    try:
        shlex.split(found.get(OPTIONS, ""))
    except ValueError as error:
        yield Problem(file, "", f"{OPTIONS}={found[OPTIONS]}: {error}")


def _problem(name: str) -> str:
    if SECRET_NAME.search(name.lower()):
        return f"{name} looks like a secret, and the file is copied into run directories; export it where you submit"
    if name.startswith(PREFIX) and name not in OWN:
        return f"{name} means nothing to launcher; {did_you_mean(name, OWN)}"
    if name == "PYTHONPATH":
        return "PYTHONPATH would hide the code that was submitted; install into the Python that LAUNCHER_PYTHON names"
    return ""


def _container_problems(found: Mapping[str, str], file: str) -> list[Problem]:
    if found.get(IMAGE) and found.get(BY) not in PROGRAMS:
        return [Problem(file, "", f"{IMAGE} needs {BY}: one of {', '.join(PROGRAMS)}")]
    return []

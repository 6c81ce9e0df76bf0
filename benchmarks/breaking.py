"""Runs whose workers break from inside, and what must hold of them afterwards.

How workers are broken is `inside/sitecustomize.py`, which their interpreters import first; commands are given and
compared by `launcher.orchestration.drill`. What to break, and how often, is the campaign's.
"""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launcher.core.pace import STEP, Usual, timed_as
from launcher.core.stacks import main_frames
from launcher.orchestration.drill import Drill
from launcher.orchestration.drilled_command import HERE, Command, Ground, NotRight
from launcher.storage.journal import read_journal
from launcher.storage.run_dir import RunDir

INSIDE = Path(__file__).parent / "inside"
DISK = "64m"
"""Room for six checkpoints of the quickstart."""
FLOOR_S, FACTOR = 10.0, 5.0
"""A hang is found within the first, or so many times what is usual."""
MOMENT = re.compile(r" (over the data of|in forward and backward of|in|evaluating after|saving after) step \d+"
                    r"| while [a-z]+")
"""Where a rank was, as a failure's page says it."""

Fault = dict[str, Any]


@dataclass(slots=True)
class Broken:
    """What became of a run whose workers broke."""

    fired: list[dict[str, Any]] = field(default_factory=list)
    """What happened, and when."""
    exit_codes: list[int] = field(default_factory=list)
    """Of the commands that were given, one after the other."""
    found_s: float | None = None
    """Until a hang was found."""
    limit_s: float | None = None
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the runs of a recipe are, and how it is shortened."""

    folder: Path
    recipe: str
    options: tuple[str, ...] = ()

    def drill(self, *, ray: bool = False) -> Drill:
        """Return a drill in which nothing breaks from inside."""
        return self._drill(HERE, ray=ray)

    def broken(self, name: str, faults: Sequence[Fault], *more: str, ray: bool = False) -> Drill:
        """Return a drill in whose run of this name these faults happen, with more options for its command."""
        folder = self._faults(name)
        folder.mkdir()
        (folder / "faults.json").write_text(json.dumps(list(faults)))
        path = os.pathsep.join([str(INSIDE), *filter(None, [os.environ.get("PYTHONPATH")])])
        # `env` becomes the command, under the same pid.
        return self._drill(Ground(("env", f"PYTHONPATH={path}", f"BREAKING={folder}")), *more, ray=ray)

    def fired(self, name: str) -> list[dict[str, Any]]:
        """Return what happened in a run, in order; of a fault that happens always, the first time."""
        return [json.loads(file.read_text().splitlines()[0]) for file in sorted(self._faults(name).glob("fired-*"))]

    def _drill(self, ground: Ground, *more: str, ray: bool) -> Drill:
        return Drill(self.folder, self.recipe, [*self.options, *more, *([] if ray else ["--without-ray"])], ground)

    def _faults(self, name: str) -> Path:
        return self.folder / f"{name}-faults"


def finish(command: Command, expected: tuple[int, ...] = (0,)) -> int:
    """Wait for a command's end and for everything of it to be gone; return its exit code. Raises NotRight."""
    command.until(lambda: command.exit_code() is not None, "the end of the command", may_end=True)
    code = command.exit_code()
    if code not in expected:
        raise NotRight(f"the command ended with {code}: {command.said()}")
    if left := command.left():
        raise NotRight("; ".join(left))
    if "Traceback" in command.said() and code != 0:
        raise NotRight(f"the command's last words are a traceback: {command.said()}")
    assert code is not None, "it has ended"
    return code


def stalls(run: RunDir) -> list[dict[str, Any]]:
    """Return the first failure of every attempt that hung."""
    found = [event for event in read_journal(run) if event["event"] == "failure" and event["kind"] == "stall"]
    return list({event["attempt"]: event for event in reversed(found)}.values())[::-1]


def hang_problems(run: RunDir, victim: int, *, mute: bool) -> list[str]:
    """Return what is missing of what must be told of a hang: the rank, where it was, and stacks of who can answer.

    A `mute` rank, stopped by a signal, cannot.
    """
    told = stalls(run)
    if len(told) != 1:
        return [f"{len(told)} attempts ended as hangs, of which there was one"]
    attempt = told[0]["attempt"]
    page = run.path / run.attempt_key(attempt, "failure.txt")
    first = page.read_text().splitlines()[0:3] if page.exists() else []
    # The page is wrapped at 80 columns.
    line = re.sub(r"\s+", " ", " ".join(first))
    problems = [] if re.search(rf"stall on ranks? [0-9, -]*{victim}\b", line) and MOMENT.search(line) else [
        f"the page does not say which rank hung where: {line}"]
    ranks = [rank for rank in range(2) if not (mute and rank == victim)]
    return problems + [f"no stacks of rank {rank}" for rank in ranks if not main_frames(run.read_stacks(attempt, rank))]


def limit_s(whole: RunDir, phase: str) -> float:
    """Return within how many seconds a hang in a phase must be found, by how long it usually takes."""
    name, usual = "step" if timed_as(phase) == STEP else "evaluation", Usual()
    for event in read_journal(whole):
        if event["event"] == name and event.get("seconds"):
            usual = usual.add(event["seconds"])
    return max(FLOOR_S, FACTOR * usual.p99)


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """Give a file system of its own to a folder; its user is root. What fills it is the file that is given."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(place)], check=True)
    try:
        yield place / "filler"
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def keep_full(filler: Path, condition: Callable[[], bool]) -> Callable[[], bool]:
    """Return a condition that leaves no room while it is waited for: what a run deletes is taken too."""

    def look() -> bool:
        fill(filler)
        return condition()

    return look


def fill(filler: Path) -> None:
    """Leave no byte of room on a disk."""
    with suppress(OSError), filler.open("ab", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2

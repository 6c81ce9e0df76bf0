"""How a failed attempt is told: many ranks, one page of 80 columns.

Pure. What failures mean is `core.failure_report`; collecting the evidence is `storage.evidence`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from textwrap import fill

from launcher.core.events import Decision
from launcher.core.failure import FailureKind, WorkerFailure
from launcher.core.failure_report import causes, ranges
from launcher.core.stacks import short

WIDTH = 80
FRAMES = 8
"""Innermost frames that are told; the rest is in the log or the file of stacks."""
NODES = 4
"""Names of nodes that are told."""
LONG = 40
"""Lines of a traceback that are told whole."""
_AT_A_STEP = {"data": "over the data of", "forward": "in forward and backward of", "step": "in",
              "evaluating": "evaluating after", "saving": "saving after", "exporting": "exporting after"}
"""Where a rank was; the other phases come before all steps."""
_FILE = re.compile(r'^  File "([^"]*)"')


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a failed attempt beside what its workers said."""

    log: str
    """Path of the log of the rank that failed first."""
    decision: str = ""
    """What is done about it."""
    stacks: str = ""
    """Path of the stacks of that rank, or of the one that is told."""
    rank: int = 0
    """The rank whose stacks are told."""
    frames: tuple[str, ...] = ()
    """Where its main thread was, the innermost call first."""


def failure_page(attempt: int, step: int, failures: Sequence[WorkerFailure], evidence: Evidence) -> str:
    """Return the page that a person reads: each distinct failure, what is done, where to look, one traceback."""
    told = causes(failures)
    lines = [f"attempt {attempt} failed after step {step}: {_line(members)}" if index == 0
             else f"  and {_line(members)}" for index, members in enumerate(_alike(told))]
    echoes = {failure.rank for failure in failures} - {failure.rank for failure in told}
    if echoes:
        lines.append(f"  rank{'s' * (len(echoes) > 1)} {ranges(echoes)} then lost their peers")
    lines += [f"  decision: {evidence.decision}"] if evidence.decision else []
    wrapped = [fill(line, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
               for line in lines]
    wrapped += [f"  log: {evidence.log}"] + ([f"  stacks: {evidence.stacks}"] if evidence.stacks else [])
    traceback = next((failure.traceback for failure in told if failure.traceback), "")
    detail = _brief(traceback.rstrip()) if traceback else _frames(evidence)
    return "\n".join([*wrapped, "", *detail] if detail else wrapped)


def _alike(failures: Iterable[WorkerFailure]) -> list[list[WorkerFailure]]:
    """Return the failures by their (kind, message), in order of appearance."""
    groups: dict[tuple[str, str], list[WorkerFailure]] = {}
    for failure in failures:
        groups.setdefault((failure.kind, failure.message), []).append(failure)
    return list(groups.values())


def _line(members: Sequence[WorkerFailure]) -> str:
    first = members[0]
    if first.rank < 0:
        return f"{first.kind}: {first.message}"
    return f"{first.kind} on {_where(members)}{_moment(first)}: {first.message}"


def _where(members: Sequence[WorkerFailure]) -> str:
    first, nodes = members[0], sorted({failure.node for failure in members})
    if len(members) == 1:
        return f"rank {first.rank} (node {first.node})"
    # Ranks hang together, but one fails first.
    place = f"rank {first.rank} on node {first.node} first"
    if first.kind is FailureKind.STALL:
        place = f"node{'s' * (len(nodes) > 1)} {', '.join(nodes[:NODES])}{', ...' * (len(nodes) > NODES)}"
    return f"ranks {ranges(failure.rank for failure in members)} ({place})"


def _moment(failure: WorkerFailure) -> str:
    if failure.phase in _AT_A_STEP and failure.step is not None:
        return f" {_AT_A_STEP[failure.phase]} step {failure.step}"
    return f" while {failure.phase}" if failure.phase else f" of step {failure.step}" if failure.step else ""


def _frames(evidence: Evidence) -> list[str]:
    if not evidence.frames:
        return []
    first, rest = evidence.frames[:FRAMES], evidence.frames[FRAMES:]
    lines = [f"rank {evidence.rank} was here, the innermost call first:", *(f"  {_fitting(frame)}" for frame in first)]
    # Deep inside a library: what this package was about says more than the library's next frame.
    between = next((number for number, frame in enumerate(rest) if _ours(frame)), None)
    if between is None or any(map(_ours, first)):
        return lines
    return [*lines, *(["  ..."] if between else []), f"  {rest[between]}"]


def _fitting(frame: str) -> str:
    """Return a frame that fits the page: without its outer folders, if need be."""
    while len(frame) > WIDTH - 2 and "/" in frame:
        frame = frame.partition("/")[2]
    return frame


def _ours(frame: str) -> bool:
    return frame.startswith("launcher/")


def _brief(traceback: str) -> list[str]:
    """Return a traceback with short paths and, of many frames, the outermost and the last ones."""
    lines = [_FILE.sub(lambda found: f'  File "{short(found[1])}"', line) for line in traceback.splitlines()]
    starts = [number for number, line in enumerate(lines) if line.startswith('  File "')]
    if len(lines) <= LONG or len(starts) <= FRAMES + 1:
        return lines
    return [*lines[: starts[1]], f"  ... {len(starts) - FRAMES - 1} more, in the log", *lines[starts[-FRAMES] :]]


def decided(decision: Decision, message: str) -> str:
    """Return a decision about a failure in words, without the failure's own message."""
    wait = getattr(decision, "delay", None)
    when = "" if wait is None else f" in {wait:.0f} s" if wait >= 0.5 else " at once"
    return f"{decision.decision}{when}: {decision.reason.removesuffix(message).rstrip(': ')}"

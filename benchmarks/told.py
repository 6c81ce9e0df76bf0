"""What a peer's ranks append to a file, and the same as events of a run.

The one thing that launcher's journal and a peer have in common for whoever measures: `attempt_started` and `step`
with `attempt` and `time`. Imported by the peers' scripts, so it must cost nothing.
"""

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Event = dict[str, Any]


def tell(path: str | Path, event: str, **fields: object) -> None:
    """Append a line: `rank` when a rank's process begins, `step` by rank 0 when a step is done."""
    line = json.dumps({"event": event, "time": time.time(), "pid": os.getpid(), **fields}) + "\n"
    with Path(path).open("a") as file:  # One write of a short line, appended: ranks do not tear each other's.
        file.write(line)


def as_events(lines: Iterable[str]) -> list[Event]:
    """Return what was told as events of attempts: each begins with a new process of a rank that is there already."""
    events: list[Event] = []
    ranks: dict[int, int] = {}
    attempt = 0
    for told in (json.loads(line) for line in lines if line.endswith("\n")):
        if told["event"] == "rank":
            if not ranks or told["rank"] in ranks:
                attempt, ranks = attempt + 1, {}
                events.append({"event": "attempt_started", "attempt": attempt, "time": told["time"], "workers": ranks})
            ranks[told["rank"]] = told["pid"]
        else:
            events.append({"event": "step", "attempt": attempt, "time": told["time"], "step": told["step"]})
    return events

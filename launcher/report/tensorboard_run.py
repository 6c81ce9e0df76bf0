"""One run of TensorBoard, over any number of lives of the tracker. It imports the library.

Each life has a file of its own in one folder, which TensorBoard shows as one run. Its axis is the run's own `step`.
Where a verdict lets the run go back, readers are told to forget what they have from there on.
"""

import time
from collections.abc import Mapping
from typing import Any

from tensorboard.summary.writer.event_file_writer import EventFileWriter

from launcher.core.settled import Sent
from launcher.report.tensorboard_log import forgetting_event, markdown, read_rows, told_event
from launcher.report.told import later
from launcher.report.tracked import Table
from launcher.storage.tracking import TrackingFolder

FLUSH_S = 1
"""What stands in the file is what is known to be told after a crash."""
AXIS = "step"


class TensorboardRun:
    """One life."""

    def __init__(self, folder: TrackingFolder, config: Mapping[str, Any]) -> None:
        self.sent, self.path = Sent(), str(folder.events)
        for path in folder.event_files():
            self.sent = later(self.sent, read_rows(path))
        self._back, self._last = self.sent.back, max(self.sent.step, 0)
        self._summary: dict[str, Any] = {}
        self._writer = EventFileWriter(self.path, flush_secs=FLUSH_S)
        if self.sent == Sent():
            self._tell(0, time.time(), {}, {"run": _table(config)})

    def row(self, values: Mapping[str, Any], tables: Mapping[str, Table], moment: float) -> None:
        """Tell a step, and when it was done."""
        step = int(values[AXIS])
        if (back := int(values.get("gone_back", 0))) > self._back:
            # The step that the run goes back to stays, also where it is only measured again.
            self._writer.add_event(forgetting_event(step if "applied" in values else step + 1, moment))
            self._back = back
        numbers = {name: float(value) for name, value in values.items()
                   if name != AXIS and isinstance(value, int | float)}
        self._tell(step, moment, numbers, {name: markdown(table.columns, table.rows) for name, table in tables.items()})
        self._last = step

    def summary(self, values: Mapping[str, Any]) -> None:
        """Take where the run stands; it is told with the end."""
        self._summary |= values

    def finish(self, exit_code: int, *, goes_on: bool) -> None:
        """End this life. `goes_on`: the run was interrupted and will be continued."""
        ended = {**self._summary, "exit_code": exit_code, "goes_on": goes_on}
        self._tell(self._last, time.time(), {}, {"stands": _table(ended)})
        self._writer.close()

    def _tell(self, step: int, moment: float, numbers: Mapping[str, float], texts: Mapping[str, str]) -> None:
        self._writer.add_event(told_event(step, moment, numbers, texts))


def _table(values: Mapping[str, Any]) -> str:
    return markdown(("name", "value"), values.items())

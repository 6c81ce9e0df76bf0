"""One run of Weights & Biases, over any number of lives of the tracker: the only module that knows the library.

Rows are numbered over all lives, so that they are one sequence once `wandb sync` has put the lives' logs together, in
the order in which they began; the axis of every chart is the run's own `step`.

Decides whether to go online: with a key, unless an earlier life was offline and is not synced, whose points would then
come after later ones. A server that does not answer makes a life offline.
"""

import logging
import netrc
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse

from launcher.core.recipe_tracking import WandbOptions
from launcher.core.settled import Sent
from launcher.report.told import later
from launcher.report.tracked import Table
from launcher.report.wandb_log import mend, read_log
from launcher.storage.tracking import TrackingFolder

log = logging.getLogger(__name__)

Mode = Literal["online", "offline"]
SERVER = "https://api.wandb.ai"
ANSWER_S = 30.0
"""For a server to take the run."""
QUIET = {"console": "off", "silent": True, "disable_git": True, "save_code": False, "x_disable_stats": True,
         "x_disable_meta": True, "x_disable_machine_info": True, "x_save_requirements": False,
         "disable_job_creation": True, "x_transaction_log_flush_interval": 1.0, "init_timeout": ANSWER_S}
"""Nothing but what is told: this process's own output, code and machine are not the run's. What stands in the log is
what is known to be sent after a crash, so it is written every second."""


@dataclass(frozen=True, slots=True)
class Before:
    """What earlier lives have told."""

    rows: int
    sent: Sent
    offline: bool
    """One of them was offline, and is not synced yet."""


def earlier(folder: TrackingFolder) -> Before:
    """Return what earlier lives have told, their logs mended; what came to nothing is removed."""
    rows, sent, offline = 0, Sent(), False
    for path in folder.logs():
        found = read_log(path)
        if not found.begun:
            folder.drop(path)
            continue
        mend(path, found)
        rows, sent = max(rows, found.rows), later(sent, found.history)
        synced = path.with_name(path.name + ".synced").exists()
        offline |= path.parent.name.startswith("offline-") and not synced
    return Before(rows, sent, offline)


def mode_of(options: WandbOptions, environment: Mapping[str, str]) -> Mode:
    """Return how the run is to be told: as the recipe or WANDB_MODE says, else online where there is a key."""
    wish = options.mode or environment.get("WANDB_MODE", "")
    if wish in ("online", "offline"):
        return "online" if wish == "online" else "offline"
    return "online" if environment.get("WANDB_API_KEY") or _in_netrc(environment) else "offline"


def _in_netrc(environment: Mapping[str, str]) -> bool:
    host = urlparse(environment.get("WANDB_BASE_URL") or SERVER).hostname or ""
    path = Path(environment.get("NETRC") or "~/.netrc").expanduser()
    try:
        return netrc.netrc(path).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


class WandbRun:
    """One life."""

    def __init__(self, folder: TrackingFolder, name: str, options: WandbOptions, config: Mapping[str, Any]) -> None:
        before = earlier(folder)
        self._rows, self.sent = before.rows, before.sent
        mode = mode_of(options, os.environ)
        if before.offline and mode == "online":
            log.warning("offline like the run before: `wandb sync %s/wandb/offline-run-*` sends it, then the next "
                        "start of the run is online", folder.path)
            mode = "offline"
        self._run = self._begin(folder, name, options, dict(config), mode)

    def _begin(self, folder: TrackingFolder, name: str, options: WandbOptions, config: dict[str, Any],
               mode: Mode) -> Any:
        import wandb

        known = {key: value for key, value in QUIET.items() if key in wandb.Settings.model_fields}
        said: dict[str, Any] = {"project": options.project or name, "entity": options.entity, "name": name,
                                "id": folder.identity(), "dir": str(folder.path), "config": config, "resume": "allow",
                                "settings": wandb.Settings(**known)}
        try:
            run = wandb.init(**said, mode=mode)
        except Exception as error:
            if mode == "offline":
                raise
            # Not for ever: the next life asks again, and what this one writes is synced by hand.
            log.warning("offline, since the server does not take the run: %s", error)
            wandb.teardown()
            run = wandb.init(**said, mode="offline")
        if not run.settings._offline:
            self._believe(run)
        run.define_metric("step")
        run.define_metric("*", step_metric="step")
        return run

    def _believe(self, run: Any) -> None:
        """Go on from what the server says that it has: what an earlier life wrote may not have reached it."""
        step, measured = run.summary.get("step"), run.summary.get("measured_step", -1)
        if run.step == 0:
            self._rows, self.sent = 0, Sent()
        elif isinstance(step, int | float):
            self._rows, self.sent = run.step, Sent(int(step), int(measured), int(run.summary.get("gone_back", 0)))

    @property
    def url(self) -> str:
        """Return where the run can be looked at; nothing offline."""
        return "" if self._run.settings._offline else str(self._run.url or "")

    def row(self, values: Mapping[str, Any], tables: Mapping[str, Table], _moment: float) -> None:
        """Append a row."""
        import wandb

        made = {name: wandb.Table(columns=list(table.columns), data=[list(row) for row in table.rows])
                for name, table in tables.items()}
        self._run.log({**values, **made}, step=self._rows, commit=True)
        self._rows += 1

    def summary(self, values: Mapping[str, Any]) -> None:
        """Replace values of the summary."""
        self._run.summary.update(dict(values))

    def finish(self, exit_code: int, *, goes_on: bool) -> None:
        """End this life. `goes_on`: the run was interrupted and will be continued."""
        if goes_on:
            self._run.mark_preempting()
        self._run.finish(exit_code=exit_code)

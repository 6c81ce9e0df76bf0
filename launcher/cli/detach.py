"""`launcher run --detach`: the same command again, in a session of its own, which no terminal's end reaches.

Decides when the run counts as begun: its workers have their orders. Until then what the command prints is passed on,
so that a refusal is read here, with its exit code. From then on it goes to `launcher.log` in the run directory.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from launcher.cli.holding import missing_folders, remove_empty
from launcher.report.words import plural
from launcher.storage.journal import JournalReader
from launcher.storage.run_dir import RunDir

POLL_S = 0.1
OPTION = "--detach"


def detach(run: RunDir, shown: str, arguments: Sequence[str], *, as_json: bool = False) -> int:
    """Start the command line again without its terminal; return 0 once the run has begun, else its exit code."""
    made = missing_folders(run.path)
    run.path.mkdir(parents=True, exist_ok=True)
    log, told = run.path / run.LOG, sys.stderr if as_json else sys.stdout
    reader = JournalReader(run)
    reader.new_events()
    with log.open("ab") as output, log.open("rb") as printed:
        printed.seek(0, os.SEEK_END)
        child = subprocess.Popen(_command(arguments), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                 start_new_session=True)
        try:
            begun = _begun(child, reader, printed, told)
        except KeyboardInterrupt:
            told.write(f"\nit goes on without this terminal; `kill {child.pid}` stops it\n")
            return 0
    if begun is None:
        _clear(log, made)
        return child.returncode
    _tell(run, shown, child.pid, begun, as_json=as_json)
    return 0


def _command(arguments: Sequence[str]) -> list[str]:
    kept = [argument for argument in arguments if argument not in (OPTION, "--json")]
    return [sys.executable, "-m", "launcher.cli.main", *kept]


def _begun(child: "subprocess.Popen[bytes]", reader: JournalReader, printed: BinaryIO,
           told: TextIO) -> dict[str, Any] | None:
    """Pass on what the command prints until its workers have their orders; None if it ended before."""
    while True:
        # Looked at first: what it printed before it ended is passed on below.
        ended = child.poll() is not None
        begun = [event for event in reader.new_events() if event["event"] == "attempt_started"]
        if begun:
            return begun[0]
        told.write(printed.read().decode(errors="replace"))
        told.flush()
        if ended:
            return None
        time.sleep(POLL_S)


def _clear(log: Path, made: list[Path]) -> None:
    """Remove what a refused run would leave behind; the folders are given from the innermost out."""
    if not made or any(path != log for path in made[0].iterdir()):
        return
    log.unlink()
    remove_empty(made)


def _tell(run: RunDir, shown: str, pid: int, begun: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        fields = {"run_dir": run.url, "pid": pid, "attempt": begun["attempt"], "workers": len(begun["workers"]),
                  "log": str(run.path / run.LOG)}
        sys.stdout.write(json.dumps(fields, indent=1) + "\n")
        return
    sys.stdout.write(f"attempt {begun['attempt']} goes on without this terminal: process {pid}, "
                     f"{plural(len(begun['workers']), 'worker')}\n"
                     f"run    {shown}\nlog    {shown}/{run.LOG}\n"
                     f"next   launcher status {shown} --watch    launcher stop {shown}\n")

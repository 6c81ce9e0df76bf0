"""Where the output of a run's job of Slurm lies, and what launcher said in it: why a job ended before its run began
stands nowhere else.

Decides which of its lines are launcher's own. Where Slurm itself says that the output is, is asked elsewhere.
"""

import os
import re
from contextlib import suppress
from pathlib import Path

from launcher.storage.jobs import JobRecord
from launcher.storage.run_dir import RunDir

TAIL = 64 * 1024
"""Bytes of the end in which words are looked for."""
_OWN = re.compile(r"(?:launcher: |(?:\d\d:\d\d:\d\d )?launcher on [^:\s]+: )(.*\S)")


def job_log(run: RunDir, record: JobRecord) -> Path | None:
    """Return the output of a job, in the run's directory or the folder that the job worked in; None if it is elsewhere.
    """
    if record.platform != "slurm":
        return None
    name = RunDir.SLURM_LOG.replace("%j", record.job)
    folders = [*([] if run.remote else [run.path]), *([Path(record.folder)] if record.folder else [])]
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def last_words(log: Path) -> str:
    """Return the last line of launcher's own in a job's output; nothing if there is none."""
    with suppress(OSError), log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
        lines = file.read().decode(errors="replace").splitlines()
        return next((found[1] for line in reversed(lines) if (found := _OWN.fullmatch(line))), "")
    return ""

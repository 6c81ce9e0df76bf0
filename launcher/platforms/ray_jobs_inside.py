"""Whether this process was started by a job of Ray, and what that job is: read from what its supervisor sets. Pure.

Ray's supervisor of a job gives its command RAY_ADDRESS, the cluster's own address, and the job's configuration. What
follows for a run is the command's (`cli.in_ray_job`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from launcher.platforms.ray_jobs import RUN_DIR
from launcher.platforms.ray_jobs_request import STOP_WAIT

CONFIGURATION, ADDRESS = "RAY_JOB_CONFIG_JSON_ENV_VAR", "RAY_ADDRESS"
"""What Ray's job supervisor sets for the command, as read in Ray 2.60's source."""
SUBMISSION = "job_submission_id"
"""In the configuration's metadata, of every job that was submitted."""
IN_PLACE = "local://"
"""How a working directory begins that was on the nodes before."""
DEFAULT_STOP_WAIT_S = 3


@dataclass(frozen=True, slots=True)
class Inside:
    """The job of Ray that this process belongs to."""

    address: str
    """Of the cluster, as HOST:PORT."""
    job: str
    """The submission id."""
    unpacked: bool
    """Whether the working directory was sent along, so that it goes with the cluster."""
    run_dir: str
    """Of the run that it was submitted for by `launcher submit`; empty where Ray's own command did it."""
    stop_wait_s: int
    """How long `ray job stop` waits before it kills."""


def inside(environment: Mapping[str, str]) -> Inside | None:
    """Return the job that set this environment; None if there is none."""
    address = environment.get(ADDRESS, "")
    try:
        configuration: Any = json.loads(environment.get(CONFIGURATION, ""))
        metadata: dict[str, str] = configuration["metadata"]
        job = metadata[SUBMISSION]
    except (ValueError, KeyError, TypeError):
        return None
    if not address or address == "auto" or "://" in address:
        return None
    working_dir = str((configuration.get("runtime_env") or {}).get("working_dir") or "")
    return Inside(address, job, bool(working_dir) and not working_dir.startswith(IN_PLACE),
                  metadata.get(RUN_DIR, ""), _seconds(environment.get(STOP_WAIT, "")))


def _seconds(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else DEFAULT_STOP_WAIT_S

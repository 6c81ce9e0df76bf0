"""Jobs of a Ray cluster, as its dashboard tells of them: what an answer means, what ids and addresses are like. Pure.

Asking is `ray_jobs_client`, what becomes of a run whose job has ended `ray_jobs_verdict`, what is sent
`ray_jobs_request`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from launcher.core.errors import UserError

RUN_DIR = "run_dir"
"""In a job's metadata: whose job it is."""
OVER = frozenset({"STOPPED", "SUCCEEDED", "FAILED"})
NAME_LENGTH = 100
"""Of an id's part that is the run's: ids become names of files and actors."""
_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9_-]+")
ADDRESSES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Where Ray's own commands look for the dashboard, in this order."""
EXAMPLE = "http://head:8265"


@dataclass(frozen=True, slots=True)
class RayJob:
    """A job, as the dashboard has it."""

    job: str
    """The submission id."""
    state: str
    """As Ray calls it: PENDING, RUNNING, STOPPED, SUCCEEDED, FAILED."""
    message: str = ""
    error: str = ""
    """Ray's word for what it could not do; empty where it was the command that failed."""
    driver_code: int | None = None
    """How the command ended; None where it has not, or was ended by Ray."""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    # What jobs of Slurm have too; nothing of it is known here.
    nodes: str = ""
    reason: str = ""
    folder: str = ""
    start: float | None = None
    left_s: float | None = None

    @property
    def waits(self) -> bool:
        """Return whether it has not begun."""
        return self.state == "PENDING"

    @property
    def live(self) -> bool:
        """Return whether it waits or is under way."""
        return self.state not in OVER


def ray_job(details: Any) -> RayJob | None:
    """Return a job from Ray's own description; None for a driver that nobody submitted."""
    if not details.submission_id:
        return None
    error = str(getattr(details.error_type, "value", details.error_type) or "")
    return RayJob(details.submission_id, str(getattr(details.status, "value", details.status)),
                  str(details.message or ""), "" if error == "JOB_ENTRYPOINT_COMMAND_ERROR" else error,
                  details.driver_exit_code, dict(details.metadata or {}))


def submission_id(name: str, number: int) -> str:
    """Return the id of a run's job. Ray takes an id once in a cluster's life."""
    return f"{id_name(name)}.a{number:03d}"


def id_name(name: str) -> str:
    """Return the part of ids that is the run's."""
    return _NOT_IN_IDS.sub("-", name)[:NAME_LENGTH].strip("-") or "run"


def next_number(name: str, used: Iterable[str]) -> int:
    """Return the number after those of a run's name that were used, by this run or by another of the same name."""
    pattern = re.compile(rf"{re.escape(id_name(name))}\.a(\d+)")
    numbers = [int(found[1]) for found in map(pattern.fullmatch, used) if found]
    return max(numbers, default=0) + 1


def living_job_of(run_dir: str, jobs: Iterable[RayJob]) -> RayJob | None:
    """Return the job of a run that is not over, whoever submitted it; None if there is none."""
    return next((job for job in jobs if job.live and job.metadata.get(RUN_DIR) == run_dir), None)


def dashboard_url(option: str | None, environment: Mapping[str, str]) -> str:
    """Return the dashboard's URL: as said, else as Ray's own commands find it. Raises UserError for what is none."""
    said = [(f"--address {option}", option)] if option else [
        (f"{name}={environment[name]}", environment[name]) for name in ADDRESSES if environment.get(name)]
    if not said:
        raise UserError(f"--on ray needs the cluster's dashboard: --address {EXAMPLE}, or {ADDRESSES[0]} in the "
                        "environment, as for `ray job submit`")
    where, text = said[0]
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"{where}: jobs are submitted to the cluster's dashboard; give its URL, for example {EXAMPLE}")
    if parts.username or parts.password:
        raise UserError(f"{_without_user(where, parts.netloc)}: has a name or a password in it, and addresses are "
                        "recorded with the run; use the cluster's token (RAY_AUTH_MODE=token)")
    return text.rstrip("/")


def _without_user(text: str, netloc: str) -> str:
    return text.replace(netloc, f"***@{netloc.rpartition('@')[2]}")

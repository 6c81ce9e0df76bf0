"""A Ray cluster's dashboard: submitting jobs to it, asking it about them. The one module that imports Ray's job client.

Decides how long anything may take, and which trouble is whose. What answers mean is `ray_jobs`.
"""

import logging
import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from launcher.core.errors import PlatformError
from launcher.platforms.ray_jobs import ADDRESSES, RayJob, ray_job
from launcher.platforms.ray_jobs_request import Request

LOOK_S = 3.0
"""For a person who looks at a run: its files tell most of it without Ray."""
CALL_S = 60.0
"""To submit: a package of 50 MiB goes along."""
UNKNOWN, USED = "status code 404", "already exists"
"""In what Ray's client raises for a job that the cluster does not know, and for an id that was used."""
Answer = TypeVar("Answer")


class Unsure(PlatformError):
    """Ray was asked for something and may have done it."""


class IdUsed(PlatformError):
    """A submission id was used before in the cluster's life."""


class Unknown(PlatformError):
    """The cluster does not know a job."""


class Dashboard:
    """The jobs of one cluster."""

    def __init__(self, address: str, patience_s: float = LOOK_S) -> None:
        """Find out whether anybody answers. Raises PlatformError."""
        self.address = address
        self._client = self._answer(lambda: _client(address, patience_s))

    def job(self, job: str) -> RayJob | None:
        """Return a job; None if the cluster does not know it. Raises PlatformError."""
        try:
            return ray_job(self._answer(lambda: self._client.get_job_info(job)))
        except Unknown:
            return None

    def jobs(self) -> list[RayJob]:
        """Return all jobs that were submitted in the cluster's life. Raises PlatformError."""
        return [job for details in self._answer(self._client.list_jobs) if (job := ray_job(details)) is not None]

    def logs(self, job: str) -> str:
        """Return what a job's command has printed; nothing if the cluster does not know it. Raises PlatformError."""
        try:
            return str(self._answer(lambda: self._client.get_job_logs(job)))
        except Unknown:
            return ""

    def stop(self, job: str) -> None:
        """Ask a job to end; Ray gives it the time that it was submitted with. Raises PlatformError."""
        try:
            self._answer(lambda: self._client.stop_job(job))
        except Unknown:
            return

    def submit(self, request: Request, package: Path) -> None:
        """Submit a job whose working directory is a package (a zip file). Raises IdUsed, Unsure or PlatformError."""
        # What is not to go along is not in the package: neither Ray's own list nor a .gitignore decides that.
        runtime_env = {"working_dir": str(package), "excludes": list[str](), "env_vars": dict(request.environment)}
        wanted: dict[str, Any] = {}
        if request.cpus:
            wanted["entrypoint_num_cpus"] = request.cpus
        if request.resources:
            wanted["entrypoint_resources"] = dict(request.resources)
        self._answer(lambda: self._client.submit_job(
            entrypoint=request.entrypoint, submission_id=request.submission_id, runtime_env=runtime_env,
            metadata=dict(request.metadata), **wanted), submitting=True)

    def _answer(self, ask: Callable[[], Answer], *, submitting: bool = False) -> Answer:
        """Return Ray's answer. Raises PlatformError in one line."""
        try:
            with _undirected():
                return ask()
        except Exception as error:
            # Its client raises RuntimeError, ConnectionError, what `requests` raises, and errors of its own.
            raise _trouble(self.address, error, submitting=submitting) from None


@lru_cache(maxsize=32)
def dashboard(address: str) -> Dashboard:
    """Return a cluster's dashboard for looking, the same for each question. Raises PlatformError if nobody answers."""
    return Dashboard(address)


def _client(address: str, patience_s: float) -> Any:
    """Return Ray's client with an end to each of its requests, which it gives none."""
    from ray.job_submission import JobSubmissionClient

    for name in ("dashboard_sdk", "job.sdk"):  # They tell of each upload, and set their own levels when imported.
        logging.getLogger(f"ray.dashboard.modules.{name}").setLevel(logging.WARNING)

    class Patient(JobSubmissionClient):
        def _do_request(self, *arguments: Any, **options: Any) -> Any:
            return super()._do_request(*arguments, **{"timeout": patience_s, **options})

    return Patient(address)


class _Undirected:
    """Takes away for a while the variables that Ray's client would heed rather than the address it is given. Clusters
    are asked side by side: the first to ask takes them away, the last to be answered puts them back."""

    def __init__(self) -> None:
        self._lock, self._asking, self._before = threading.Lock(), 0, dict[str, str]()

    @contextmanager
    def __call__(self) -> Generator[None]:
        """Ask without them."""
        with self._lock:
            self._asking += 1
            self._before |= {name: os.environ.pop(name) for name in ADDRESSES if name in os.environ}
        try:
            yield
        finally:
            with self._lock:
                self._asking -= 1
                if not self._asking:
                    os.environ.update(self._before)
                    self._before = {}


_undirected = _Undirected()


def _trouble(address: str, error: Exception, *, submitting: bool) -> PlatformError:
    """Return what a person is told of an error of Ray's client."""
    text, kind = str(error), type(error).__name__
    # Ray's client puts a full stop behind a traceback, in a line of its own.
    said = next((line.strip() for line in reversed(text.splitlines()) if line.strip(" .")), kind)[:300]
    if submitting and USED in text:
        return IdUsed(f"{address}: {said}")
    if UNKNOWN in text:
        return Unknown(f"{address}: {said}")
    if isinstance(error, ConnectionError) or kind == "ConnectionError" or "Timeout" in kind:
        # The one who does not answer may have understood.
        return (Unsure if submitting else PlatformError)(
            f"{address}: no answer. Is that the dashboard of a Ray cluster that runs, and may this machine reach it?")
    if kind == "AuthenticationError":
        return PlatformError(f"{address}: wants a token, and got none or another one (RAY_AUTH_MODE=token and "
                             "RAY_AUTH_TOKEN_PATH, as for `ray job list`)")
    return PlatformError(f"{address}: {said}")

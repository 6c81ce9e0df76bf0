"""What is submitted to a Ray cluster: one run, as a job whose working directory is a package of our own.

Decides what the job is given: the package, its command, its environment, its id. What of this is refused is
`platforms.ray_jobs_request` and `ray_places`; what is printed, and what follows the submission, is `cli.submit_ray`.
"""

import os
import tempfile
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from launcher import __version__
from launcher.cli.submission import Run, SubmitOptions
from launcher.core.errors import UserError
from launcher.data.cache import ENVIRONMENT
from launcher.platforms.ray_jobs import dashboard_url, living_job_of, next_number, submission_id
from launcher.platforms.ray_jobs_client import Dashboard, IdUsed, Unsure
from launcher.platforms.ray_jobs_request import Request, entrypoint, environment, metadata, refuse_secrets
from launcher.platforms.ray_places import Data, data_for, shared_cache, shared_run_dir
from launcher.platforms.slurm_told import told_by
from launcher.storage.jobs import JobRecord, jobs_of, reserve, withdraw
from launcher.storage.journal import read_journal
from launcher.storage.package import recipe_in, write_package
from launcher.storage.recipes import load_recipe
from launcher.storage.submitting import Snapshot, snapshot_of

IDS_TRIED = 20
"""Others may submit runs of the same name at this moment."""


@dataclass(frozen=True)
class RayOptions:
    """What the command line says besides the recipe."""

    address: str | None = None
    run_dir: str | None = None
    workers: int | None = None
    overrides: tuple[str, ...] = ()
    cache: str | None = None
    with_data: bool = False
    pass_env: tuple[str, ...] = ()
    cpus: float = 0.0
    resources: tuple[str, ...] = ()
    """NAME=AMOUNT, that the job's command takes of its node."""
    python: str = "python"
    wait: bool = True
    retry_forever: bool = False


@dataclass(frozen=True)
class RaySubmission:
    """One run, to be submitted any number of times."""

    run: Run
    options: RayOptions
    address: str
    """The dashboard's URL."""
    cache: str
    data: Data
    resources: dict[str, float]

    @classmethod
    def of(cls, recipe: str, options: RayOptions) -> Self:
        """Return what a recipe comes to. Raises UserError for what no cluster could do."""
        address = dashboard_url(options.address, os.environ)
        if options.retry_forever and not options.wait:
            raise UserError("--retry-forever and --no-wait exclude each other: whoever submits again has to wait")
        run_dir = shared_run_dir(options.run_dir, load_recipe(recipe, options.overrides).recipe.name)
        run = Run.of(recipe, SubmitOptions(run_dir=run_dir, overrides=options.overrides, prepare=False))
        data = data_for(run.loaded, run_dir, with_data=options.with_data)
        cache = shared_cache(options.cache, os.environ.get(ENVIRONMENT), run_dir)
        return cls(run, options, address, cache, data, amounts(options.resources))

    @cached_property
    def snapshot(self) -> Snapshot:
        """Return what goes along."""
        return snapshot_of(self.run.loaded, self.options.overrides, self.run.loaded.prepared, self.data.copied)

    def request(self, job: str) -> Request:
        """Return the job under an id. Raises UserError, by names alone, if a secret would go along."""
        run, options = self.run, self.options
        given = ["run", recipe_in(self.snapshot), "--run-dir", run.shown, "--cache", self.cache]
        given += ["--workers", str(options.workers)] if options.workers else []
        given += [word for each in options.overrides for word in ("--set", each)]
        made = Request(job, entrypoint(options.python, given),
                       environment(told_by(read_journal(run.directory)), os.environ, options.pass_env),
                       metadata(run.name, run.directory.url, run.loaded.named[0].name, __version__),
                       options.cpus, self.resources)
        copies = ((f"the copy of {self.snapshot.described.origins.get(name, name)}", content.decode(errors="replace"))
                  for name, content in self.snapshot.contents.items())
        refuse_secrets(os.environ, [*made.texts(), *copies])
        return made

    def next_id(self, known: list[str]) -> str:
        """Return an id that neither this run has used nor any of these jobs has."""
        used = [*known, *(record.job for record in jobs_of(self.run.directory) if record.platform == "ray")]
        return submission_id(self.run.directory.name, next_number(self.run.directory.name, used))

    def submit(self, board: Dashboard) -> JobRecord:
        """Submit a job and return what is recorded of it. Raises UserError if a job of the run lives, Unsure where it
        may have been submitted, PlatformError where it was not."""
        jobs = board.jobs()
        if (living := living_job_of(self.run.directory.url, jobs)) is not None:
            raise UserError(f"{self.run.shown}: job {living.job} of it is {living.state} on the cluster at "
                            f"{self.address}, and a run has one job. `launcher stop {self.run.shown}` stops it.")
        used = [job.job for job in jobs]
        for _ in range(IDS_TRIED):
            record = JobRecord(job=self.next_id(used), time=time.time(), platform="ray", address=self.address)
            used.append(record.job)
            try:
                # Before the job is there: it looks for the record, and two of us must not take one id.
                if reserve(self.run.directory, record):
                    self._send(board, record)
                    return record
            except IdUsed:
                withdraw(self.run.directory, record)
        raise UserError(f"{self.run.shown}: no free submission id up to {used[-1]}; give the run another name")

    def _send(self, board: Dashboard, record: JobRecord) -> None:
        try:
            with tempfile.TemporaryDirectory() as folder:
                package = Path(folder) / "package.zip"
                write_package(self.snapshot, package)
                board.submit(self.request(record.job), package)
        except (Unsure, IdUsed):
            raise
        except BaseException:
            withdraw(self.run.directory, record)
            raise


def amounts(resources: tuple[str, ...]) -> dict[str, float]:
    """Return resources by name. Raises UserError for what is not NAME=AMOUNT."""
    found: dict[str, float] = {}
    for each in resources:
        name, _, amount = each.partition("=")
        try:
            found[name] = float(amount)
        except ValueError:
            found[name] = 0.0
        if not name or not 0 < found[name] < float("inf"):
            raise UserError(f"--entrypoint-resource {each}: write NAME=AMOUNT, for example head=0.01")
    return found

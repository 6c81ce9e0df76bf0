"""`launcher resume RUN --on slurm|ray`: a run goes on as a job, wherever it has been until now.

Decides from what its directory has recorded: the recipe, and where its prepared data is. What is submitted, and what of
it is refused, is `cli.submission` and `cli.ray_submission`, as for a recipe.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from launcher.cli import submit, submit_ray
from launcher.cli.find_run import find_run
from launcher.cli.preparing import no_data, not_here
from launcher.cli.ray_submission import RayOptions
from launcher.cli.submission import SubmitOptions
from launcher.core.errors import DataInvalid, UserError
from launcher.core.source_index import Prepared
from launcher.data.cache import cache_store
from launcher.data.prepare import as_planned
from launcher.storage.recorded import earlier_overrides, write_recorded
from launcher.storage.run_dir import RunDir
from launcher.storage.run_start import Submission, last_end, read_plan, read_submission
from launcher.storage.typed_paths import is_folder


@dataclass(frozen=True)
class Recorded:
    """What a run's directory tells."""

    run: RunDir
    shown: str
    submission: Submission
    cache: str | None
    """Where the data is, if that is known: as said, or as recorded if it can be asked from here."""
    prepared: Prepared | None
    """What the plan was made of, if that is there."""

    @classmethod
    def of(cls, argument: str, cache: str | None) -> "Recorded":
        """Return what is recorded of a run. Raises UserError for one that has not begun."""
        run, shown = find_run(argument)
        if not run.store.exists(run.PLAN):
            raise UserError(f"{shown}: has not begun, so there is nothing to go on from; `launcher submit RECIPE "
                            f"--run-dir {shown}` submits it")
        submission = read_submission(run)
        known = submission.cache if "://" in submission.cache or is_folder(Path(submission.cache)) else None
        place = cache or known
        prepared = None if place is None else as_planned(read_plan(run), cache_store(place))
        return cls(run, shown, submission, place, prepared)

    def finished(self) -> bool:
        """Return whether there is nothing left to do."""
        ended = last_end(self.run)
        return ended is not None and ended.outcome == "finished"

    def require_data(self) -> None:
        """Raise DataInvalid if neither the data nor what was prepared of it is here."""
        if self.prepared is None and (missing := not_here(self.submission.recipe)):
            raise DataInvalid(no_data(missing, self.cache or self.submission.cache))

    def submit(self, submit_recipe: Callable[[str], int]) -> int:
        """Submit the recorded recipe, which is there for so long; return the exit code."""
        with TemporaryDirectory() as folder:
            return submit_recipe(str(write_recorded(self.run, Path(folder), self.prepared)))


def resume_on_slurm(argument: str, options: SubmitOptions, *, dry_run: bool) -> int:
    """Submit the rest of a run to Slurm, or with `dry_run` print what would be; return the exit code."""
    found = Recorded.of(argument, options.cache)
    if found.finished() and not options.overrides:
        return submit.told_ended(found.submission.recipe.name, found.shown)
    if options.prepare:
        found.require_data()
    overrides = (*earlier_overrides(found.submission), *_of_nodes(found, options.nodes), *options.overrides)
    asked = replace(options, run_dir=found.shown, cache=found.cache if found.prepared else options.cache,
                    overrides=overrides)
    return found.submit(lambda recipe: submit.submit([recipe], asked, dry_run=dry_run))


def resume_on_ray(argument: str, options: RayOptions, *, dry_run: bool) -> int:
    """Submit the rest of a run to a Ray cluster and follow it, or with `dry_run` print what would be; return the exit
    code."""
    found = Recorded.of(argument, options.cache)
    if found.finished() and not options.overrides:
        return submit.told_ended(found.submission.recipe.name, found.shown)
    cache = options.cache or seen_by_cluster(found.submission.cache, found.run)
    if cache != found.cache:
        found = replace(found, cache=cache, prepared=None)
    asked = replace(options, run_dir=found.run.url, cache=cache,
                    overrides=(*earlier_overrides(found.submission), *options.overrides))
    return found.submit(lambda recipe: submit_ray.submit(recipe, asked, dry_run=dry_run))


def seen_by_cluster(cache: str, run: RunDir) -> str | None:
    """Return the recorded cache if a cluster sees it that sees the run: a URL, or a folder of the run's directory."""
    return cache if "://" in cache or Path(cache).is_relative_to(run.path) else None


def _of_nodes(found: Recorded, nodes: int | None) -> list[str]:
    """Return what makes a run use more nodes than it was recorded with: there the number is what a job had."""
    wish = found.submission.recipe.cluster
    if nodes is None or wish.nodes is None or nodes <= wish.nodes + wish.spares:
        return []
    return [f"cluster.nodes={nodes - wish.spares}"]

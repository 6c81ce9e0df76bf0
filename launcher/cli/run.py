"""The bodies of `launcher run` and `launcher resume`: from a recipe to the word to go, then watching.

Starting is resuming from nothing: both come down to the same launch. The controller starts before the recipe is
planned, so that its imports overlap with preparing and planning; a refusal closes its input and it leaves.
"""

import os
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from rich.console import Console

from launcher.cli.find_run import find_run
from launcher.cli.holding import heeding, holding
from launcher.cli.in_ray_job import joined_address, nodes_may_come, outside_package, require_data, require_meant
from launcher.cli.packages import require_packages
from launcher.cli.preparing import data_of, data_of_run
from launcher.cli.tracking import missing, tracked
from launcher.cli.watch import leaving_on_signals, relaying, watch
from launcher.core.attempt import Cluster
from launcher.core.attempt_planning import plan_attempt, workers_wanted
from launcher.core.errors import PlatformError, UserError, Yielded
from launcher.core.known import Known, known_again
from launcher.core.not_yet import not_here
from launcher.core.planning import NOTHING_MORE, nowhere, plan
from launcher.core.recipe import Recipe
from launcher.core.recipe_running import ClusterWish
from launcher.core.run_plan import RunPlan
from launcher.core.scoring import scoring_of
from launcher.core.source_index import Prepared
from launcher.core.spot_notice import spot_of
from launcher.core.stage_rules import rules_of
from launcher.core.yaml_tree import FieldPath
from launcher.data.cache import cache_store
from launcher.data.prepare import as_planned
from launcher.orchestration.ray_address import require_answer
from launcher.orchestration.requests import Go
from launcher.orchestration.supervisor import Mode, Supervisor
from launcher.platforms.local import local_cluster
from launcher.storage.growing import adopt
from launcher.storage.lock import Lease, refuse_held
from launcher.storage.orphan_grace import orphan_grace_s
from launcher.storage.process_id import process_id
from launcher.storage.recipes import load_recipe
from launcher.storage.recorded import earlier_overrides, write_recorded
from launcher.storage.run_dir import RunDir, default_run_dir
from launcher.storage.run_start import (
    Submission,
    begin_run,
    change_of,
    last_end,
    next_attempt,
    read_plan,
    read_submission,
)
from launcher.storage.store import Store
from launcher.storage.typed_paths import is_file


@dataclass(frozen=True)
class RunOptions:
    """What the command line says besides the recipe."""

    run_dir: str | None = None
    workers: int | None = None
    overrides: tuple[str, ...] = ()
    cache: str | None = None
    address: str | None = None
    without_ray: bool = False

    @property
    def mode(self) -> Mode:
        """Return how workers are placed."""
        return "plain" if self.without_ray else "cluster" if self.address else "embedded"

    def require_place(self) -> None:
        """Raise UserError or PlatformError if workers can be placed nowhere as asked."""
        if self.without_ray and self.address:
            raise UserError("--without-ray and --address exclude each other: leave one of them out")
        if self.address:
            require_answer(self.address)


@dataclass
class Launch:
    """One start of a run."""

    run: RunDir
    shown: str
    """The run directory as the person knows it."""
    recipe: Recipe
    ds_template: dict[str, object]
    text: bytes
    submission: Submission
    options: RunOptions
    prepare: Callable[[Store, Console], Prepared]
    where: Callable[[FieldPath], str] = nowhere
    """`file:line:column` of a field, for what planning refuses."""
    known: Known = NOTHING_MORE
    """What else planning asks for."""
    typed: float = field(default_factory=lambda: process_id().began())
    phases: dict[str, tuple[float, float]] = field(default_factory=dict)

    def execute(self, console: Console) -> int:
        """Run to the end of the attempt and return the exit code."""
        told = f"{self.recipe.name} was stopped before it began; the same command starts it"
        with leaving_on_signals(told):
            ended = last_end(self.run)
            if ended is not None and ended.outcome == "finished" and not self._goes_on(console):
                console.print(f"{self.recipe.name} is finished already: the model is in {self.shown}/{RunDir.MODEL}\n"
                              f"next   launcher export {self.shown} OUT    launcher status {self.shown}",
                              highlight=False, soft_wrap=True)
                return 0
            orphan_grace_s(os.environ)
            spot_of(None, os.environ)
            refuse_held(self.run, partial(_note, console))
            self.options.require_place()
        if lacking := missing(self.recipe, self.where):
            raise UserError(lacking)
        for line in not_here(self.recipe, in_store=self.run.remote, on_cluster=self.options.mode == "cluster"):
            _note(console, line)
        wish, cluster = self._wish(), local_cluster(self._workers_here())
        device: Literal["cpu", "cuda"] = "cuda" if cluster.nodes[0].gpus else "cpu"
        if self.options.mode != "cluster":
            require_packages(self.recipe, device, self.where)
        slots = standbys(wish, cluster) if self.options.mode != "cluster" else 0
        threads = wish.threads or max(1, cluster.nodes[0].cores // max(1, slots))
        self._phase("cli", self.typed)
        supervisor = Supervisor(self.options.mode, slots=slots, threads=threads, device=device,
                                address=self.options.address or "")
        # The handlers last longer than the supervisor: a signal while it clears up must not end that.
        with relaying(supervisor), supervisor, holding(self.run, supervisor.process, partial(_note, console)) as lease:
            with leaving_on_signals(told), heeding(self.run, lease.token):
                if supervisor.asked:
                    raise Yielded(told)  # by a signal that came before these were taken
                go = self._plan(console, wish, None if self.options.mode == "cluster" else cluster, device)
            if (amendment := begin_run(self.run, go.plan, self.text, self.submission)) is not None:
                console.print(f"the plan is amended from step {amendment.from_step} on:\n{amendment.reason}",
                              highlight=False, markup=False, soft_wrap=True)
            go = go.model_copy(update={"attempt": next_attempt(self.run), "token": lease.token,
                                       "plan": read_plan(self.run)})
            if self.run.remote:
                adopt(self.run, self.run.JOURNAL)
                self.run.working = True
            supervisor.go(go)
            with tracked(self.run, self.recipe, partial(_note, console)):
                return watch(console, self.run, self.shown, supervisor, partial(self._revive, supervisor, lease, go))

    def _revive(self, supervisor: Supervisor, lease: Lease, go: Go, how: str) -> None:
        """Let another controller go on where one was lost; its attempt is the next. Raises PlatformError if another
        command works on the run by now."""
        if lease.lost():
            raise PlatformError(f"{self.shown}: another command took this run over while this one was not heard of; "
                                f"`launcher status {self.shown}` shows it")
        again = {"attempt": next_attempt(self.run), "plan": read_plan(self.run), "typed": time.time(), "phases": {},
                 "revived": f"the controller ended {how}"}
        supervisor.revive(go.model_copy(update=again))
        lease.renew(process_id(), supervisor.process)

    def _goes_on(self, console: Console) -> bool:
        """Return whether more is asked for now than has finished. Raises PlanChanged if something else is."""
        if self.recipe == read_submission(self.run).recipe:
            return False
        prepared = self.prepare(cache_store(self.submission.cache), console)
        return change_of(self.run, self._made(prepared)) is not None

    def _made(self, prepared: Prepared) -> RunPlan:
        return plan(self.recipe, prepared, self.ds_template, where=self.where, known=self.known)

    def _plan(self, console: Console, wish: ClusterWish, cluster: Cluster | None, device: Literal["cpu", "cuda"]) -> Go:
        """Prepare and plan; return the word to go. Raises UserError for whatever cannot be."""
        cache = cache_store(self.submission.cache)
        with self._measured("prepare"):
            prepared = self.prepare(cache, console)
        with self._measured("plan"):
            made = self._made(prepared)
            rules = rules_of(self.recipe, prepared, self.ds_template, where=self.where, known=self.known)
            attempt = next_attempt(self.run)
            placed = cluster and plan_attempt(made, wish, cluster, attempt=attempt, device=device, resume=None,
                                              micro_batch=self.recipe.micro_batch)
        may_come = cluster is None and nodes_may_come(attempt, os.environ)
        return Go(run_dir=self.run.url, cache=cache.url, plan=made, attempt=attempt, placed=placed, wish=wish,
                  nodes_may_come=may_come, micro_batch=self.recipe.micro_batch, checkpoint=self.recipe.checkpoint,
                  divergence=self.recipe.divergence, rules=rules, out_of_memory=self.recipe.out_of_memory,
                  typed=self.typed, scoring=scoring_of(self.recipe), phases=self.phases)

    def _wish(self) -> ClusterWish:
        """Return what is asked of the cluster; `--workers` stands for the recipe's nodes and workers."""
        wish = self.recipe.cluster
        own = ClusterWish(workers=self.options.workers, threads=wish.threads, spot=wish.spot)
        return own if self.options.workers else wish

    def _workers_here(self) -> int | None:
        return self.options.workers or self.recipe.cluster.workers

    def _phase(self, name: str, start: float) -> None:
        self.phases[name] = (round(start - self.typed, 3), round(time.time() - self.typed, 3))

    @contextmanager
    def _measured(self, name: str) -> Generator[None]:
        start = time.time()
        yield
        self._phase(name, start)


def standbys(wish: ClusterWish, cluster: Cluster) -> int:
    """Return how many workers to start ahead of the plan; none where the plan will be refused for its cluster."""
    unfit = (wish.min_nodes or wish.nodes or 1) > len(cluster.nodes)
    return 0 if unfit else workers_wanted(wish, cluster)


def run(argument: str, options: RunOptions) -> int:
    """Start a recipe's run, or continue it, and return the exit code."""
    loaded = load_recipe(argument, options.overrides)
    require_data(loaded)
    tell = partial(_note, console())
    options = _joining(options, tell)
    shown = outside_package(options.run_dir or default_run_dir(loaded.recipe.name), tell)
    require_meant(RunDir(shown))
    submission = Submission(file=str(loaded.file), overrides=options.overrides, recipe=loaded.recipe,
                            cache=cache_store(options.cache, shown).url, without_ray=options.without_ray,
                            origin=str(loaded.named[0]))
    return Launch(RunDir(shown), shown, loaded.recipe, loaded.ds_template, loaded.text, submission,
                  options, partial(data_of, loaded), loaded.where, loaded.known).execute(console())


def resume(argument: str, options: RunOptions) -> int:
    """Continue a run from its directory alone and return the exit code."""
    found, shown = find_run(argument)
    submission = read_submission(found)
    options = _joining(options, partial(_note, console()))
    if submission.without_ray and not options.address:
        options = replace(options, without_ray=True)
    if options.overrides:
        return run_again(found, shown, submission, options)
    if options.cache:
        submission = submission.model_copy(update={"cache": cache_store(options.cache).url})
    begun = read_plan(found)
    return Launch(found, shown, submission.recipe, begun.ds_template, found.store.get(found.RECIPE),
                  submission, options, partial(data_of_run, found, submission.recipe),
                  known=known_again(begun, submission.recipe)).execute(console())


def run_again(found: RunDir, shown: str, submission: Submission, options: RunOptions) -> int:
    """Continue a run with further overrides, which need the recipe's text again: as it was submitted, or where that is
    not on this machine, as it was recorded."""
    again = replace(options, run_dir=shown, cache=options.cache or submission.cache)
    if is_file(Path(submission.file)):
        return run(submission.file, replace(again, overrides=(*submission.overrides, *options.overrides)))
    with TemporaryDirectory() as folder:
        known = as_planned(read_plan(found), cache_store(again.cache))
        recipe = write_recorded(found, Path(folder), known)
        return run(str(recipe), replace(again, overrides=(*earlier_overrides(submission), *options.overrides)))


def _joining(options: RunOptions, tell: Callable[[str], None]) -> RunOptions:
    """Return options that say which cluster to join where this is the command of a job of Ray."""
    return options if options.without_ray else replace(options, address=joined_address(options.address, tell))


def _note(console: Console, line: str) -> None:
    console.print(f"note: {line}", style="yellow", highlight=False, markup=False, soft_wrap=True)


def console() -> Console:
    """Return the terminal; what a person reads of a run goes to standard output."""
    return Console(file=sys.stdout)

"""Runs as jobs of a real Slurm that lose slurmd, nodes or their permission to be queued again: what they come to.

Two workers, on as few nodes as a story needs; what an unbroken run is, a run without Slurm tells. Slurm
is told of a lost node at once, which it would find out in half a minute here and in five minutes elsewhere; the
campaign waits for that.
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.breaking import INSIDE
from launcher.core.drill import shortened
from launcher.orchestration.drill import Drill
from tests.platforms.a_slurm import Slurm, why_not
from tests.platforms.test_slurm_jobs import PATIENCE_S, SCRIPT, Cluster

pytestmark = [pytest.mark.skipif(bool(why_not()), reason=why_not() or "it is possible"), pytest.mark.timeout(600)]

STEPS, EVERY = 14, 4
"""Of each of the three stages, and between checkpoints."""
FIELDS = (*shortened(3, STEPS, EVERY), "cluster={nodes: 2, gpus_per_node: 1, min_nodes: 1, threads: 1}")
SPREAD = "cluster={workers: 2, threads: 1}"
LONG = (*FIELDS[:-1], "stages.2.length.steps=400", SPREAD)
WHOLE = "whole"


class Site(Cluster):
    """A person at the cluster's command line whose jobs have trouble."""

    def sbatch_as(self, run: str, *options: str, fields: tuple[str, ...] = FIELDS, **environment: str) -> int:
        """Submit the batch script by hand; return the job."""
        arguments = ("quickstart", "--run-dir", run, *sets(fields))
        printed = self.slurm.done("sbatch", "--parsable", *options, SCRIPT, *arguments, cwd=self.folder,
                                  **(self.environment | environment))
        return int(printed)

    def chain(self, run: str, links: int, **environment: str) -> list[int]:
        """Submit jobs that may not be queued again, each behind the one before."""
        fields = sets((*LONG, "slurm={extra: {no_requeue: true}}"))
        printed = self.slurm.done(sys.executable, "-m", "launcher.cli.main", "submit", "quickstart", "--on", "slurm",
                                  "--nodes", 1, "--chain", links, "--run-dir", run, *fields, cwd=self.folder,
                                  **(self.environment | environment))
        return [int(number) for number in re.findall(r"\d+", re.findall(r"jobs (.*) are submitted", printed)[0])]

    def ended(self, job: int) -> tuple[str, str, str]:
        """Wait for a job's end; return its state, exit code and how often it was queued again."""
        shown = self.slurm.await_state(job, patience_s=PATIENCE_S)
        return shown["JobState"], shown["ExitCode"], shown["Restarts"]

    def printed(self, job: int) -> str:
        """Return what a job has printed."""
        found = [*self.folder.rglob(f"slurm-{job}.out")]
        return found[0].read_text() if found else ""

    def last_step(self, run: str) -> int:
        """Return the last step that stands in the journal."""
        return self.events(run, "step")[-1]["step"]

    def drill_of(self, fields: tuple[str, ...] = FIELDS) -> Drill:
        """Return runs of the same recipe, without Slurm."""
        cache = ("--cache", str(self.folder / "cache"))
        return Drill(self.folder, "quickstart", [*cache, *sets((*fields[:-1], SPREAD)), "--without-ray"])

    def breaking(self, run: str, *faults: dict[str, object]) -> dict[str, str]:
        """Return the environment in which a run's workers break from inside."""
        folder = self.folder / f"{run}-faults"
        folder.mkdir()
        (folder / "faults.json").write_text(json.dumps(faults))
        return {"BREAKING": str(folder), "PYTHONPATH": os.pathsep.join((str(INSIDE), self.environment["PYTHONPATH"]))}


def sets(fields: tuple[str, ...]) -> list[str]:
    return [word for field in fields for word in ("--set", field)]


def folders() -> set[Path]:
    """Return the folders of jobs' Ray, which all machines keep in one place here."""
    return set(Path("/tmp").glob("lr[0-9]*-[0-9]"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    before = folders()
    with Slurm(nodes=4) as slurm:
        made = Site(slurm, tmp_path_factory.mktemp("site"))
        made.drill_of().unbroken(WHOLE)
        yield made
        slurm.cancel_all()
    assert folders() <= before
    shutil.rmtree(made.folder, ignore_errors=True)


@pytest.mark.slow
def test_slurmd_that_dies_costs_nothing_and_then_the_nodes_power_costs_that_node_alone(site: Site) -> None:
    job = site.sbatch_as("hurt", "--nodes=2", "--no-kill")
    site.await_step("hurt", job, attempt=1, step=2)
    first, second = site.slurm.nodes_of(job)
    site.slurm.lose_slurmd(second)
    site.slurm.give_up(second)
    assert site.slurm.nodes_of(job) == [first]
    site.await_step("hurt", job, attempt=1, step=site.last_step("hurt") + 2)
    site.slurm.machines.lose_power(site.slurm.machine(second))
    # Its own disk would go with it.
    shutil.rmtree(f"/tmp/lr{job}-1")
    assert site.ended(job) == ("COMPLETED", "0:0", "0"), site.output()
    assert [(event["kind"], event["node"]) for event in site.events("hurt", "failure")] == [("node_loss", second)]
    assert [event["world_size"] for event in site.events("hurt", "attempt_started")] == [2, 1]
    assert site.drill_of().compared(WHOLE, "hurt") == []


@pytest.mark.slow
def test_a_chain_goes_on_from_link_to_link_until_the_run_fails_for_good_and_a_second_job_leaves(site: Site) -> None:
    # From the second link's first step on, at each attempt.
    marked = {"do": "note", "place": "loading", "rank": 0, "step": 1}
    always = {"do": "raise", "place": "forward", "rank": 0, "step": 1, "always": True, "after": 0}
    first, second, third = site.chain("chain", 3, **site.breaking("chain", marked, always))
    site.await_step("chain", first, attempt=1, step=2)
    other = site.sbatch_as("chain", "--nodes=1", fields=LONG)
    assert site.ended(other) == ("FAILED", "2:0", "0")
    assert "being worked on by process" in site.printed(other) and "Ray is up" not in site.printed(other)
    site.slurm.done("scancel", "--batch", "--signal=USR1", first)
    assert site.ended(first) == ("FAILED", "75:0", "0"), site.printed(first)
    saved = site.saved("chain")
    assert saved == site.last_step("chain") and not site.events("chain", "failure")
    assert site.ended(second) == ("FAILED", "1:0", "0"), site.printed(second)
    assert [event["resume"] for event in site.events("chain", "attempt_started")] == [None, saved, saved]
    assert "the same error at the same step, 2 times" in site.events("chain", "decision")[-1]["reason"]
    assert site.ended(third) == ("FAILED", "1:0", "0")
    assert "has failed since this job was submitted" in site.printed(third) and "Ray is up" not in site.printed(third)

"""What an issue counts of runs as jobs: ten preemptions out of ten, and each way in which a job loses its nodes.

Quick forms of the first are in `test_slurm_jobs`, of a node that the run can do without in `test_slurm_survival`.
"""

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.core.drill import shortened
from launcher.platforms.slurm_steps import NODE_MODULE
from launcher.storage.process_id import command_line
from tests.platforms.a_slurm import Slurm, why_not
from tests.platforms.test_slurm_jobs import PATIENCE_S
from tests.platforms.test_slurm_survival import LONG as ENDLESS
from tests.platforms.test_slurm_survival import WHOLE, Site, folders

pytestmark = [pytest.mark.skipif(bool(why_not()), reason=why_not() or "it is possible"), pytest.mark.campaign,
              pytest.mark.timeout(3600)]

PREEMPTIONS = 10
FIELDS = (*shortened(3, 14, 4), "cluster={nodes: 2, gpus_per_node: 1, threads: 1}")
"""All of the nodes are needed."""
LONG = (*shortened(3, 80, 1000), FIELDS[-1])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    before = folders()
    with Slurm(nodes=6) as slurm:
        made = Site(slurm, tmp_path_factory.mktemp("site"))
        made.drill_of(FIELDS).unbroken(WHOLE)
        yield made
        slurm.cancel_all()
    assert folders() <= before
    shutil.rmtree(made.folder, ignore_errors=True)


def go_on(site: Site, run: str, job: int) -> None:
    """Start a job that is queued again, and expect it to end as the unbroken run did."""
    site.slurm.start_again(job)
    assert site.ended(job) == ("COMPLETED", "0:0", "1"), site.output()
    assert site.drill_of(FIELDS).compared(WHOLE, run) == []


def test_ten_preemptions_of_ten_lose_no_step_and_do_none_twice(site: Site) -> None:
    drill = site.drill_of(LONG)
    drill.unbroken("long")
    job = site.sbatch_as("preempted", "--nodes=2", "--partition=graced", fields=LONG)
    for number in range(1, PREEMPTIONS + 1):
        done = site.last_step("preempted") if number > 1 else 0
        site.await_step("preempted", job, attempt=number, step=done + 2)
        urgent = int(site.slurm.done("sbatch", "--parsable", "--partition=high", "--nodes=6", "--output=/dev/null",
                                     "--wrap", "true"))
        assert site.slurm.await_state(urgent, patience_s=PATIENCE_S)["JobState"] == "COMPLETED"
        # Of the last step only the checkpoint may tell, until the next attempt journals it.
        assert site.saved("preempted") >= site.last_step("preempted") > done, site.printed(job)
        site.slurm.start_again(job)
    assert site.ended(job) == ("COMPLETED", "0:0", str(PREEMPTIONS)), site.printed(job)
    times = Counter(event["step"] for event in site.events("preempted", "step"))
    assert set(times.values()) == {1}, f"done again: {[step for step, count in times.items() if count > 1]}"
    assert not site.events("preempted", "failure")
    assert drill.compared("long", "preempted") == []


@pytest.mark.parametrize(("lost", "reasons"), [(1, ["node_loss"]), (0, [])], ids=["one that is needed", "the first"])
def test_a_lost_node_sends_the_job_back_into_the_queue_also_if_it_takes_the_batch_script_along(
        site: Site, lost: int, reasons: list[str]) -> None:
    run = f"lost-{lost}"
    job = site.sbatch_as(run, "--nodes=2", "--no-kill", fields=FIELDS)
    site.await_step(run, job, attempt=1, step=6)
    name = site.slurm.nodes_of(job)[lost]
    site.slurm.lose_power(name)
    site.slurm.give_up(name)
    site.slurm.await_state(job, ("PENDING",), PATIENCE_S)
    assert [event["reason"] for event in site.events(run, "stop_requested")] == reasons
    go_on(site, run, job)


def test_a_lost_node_that_slurm_finds_out_itself_ends_the_allocation_and_the_job_begins_again(site: Site) -> None:
    job = site.sbatch_as("found", "--nodes=2", fields=FIELDS)
    site.await_step("found", job, attempt=1, step=6)
    site.slurm.lose_power(site.slurm.nodes_of(job)[1])
    site.slurm.await_state(job, ("PENDING",), PATIENCE_S)
    go_on(site, "found", job)


def test_a_nodes_task_that_is_killed_costs_nothing_and_leaves_nothing_behind(site: Site) -> None:
    """What it had started goes on, as when slurmd dies, until the job ends."""
    job = site.sbatch_as("killed", "--nodes=2", fields=(*shortened(3, 60, 20), FIELDS[-1]))
    site.await_step("killed", job, attempt=1, step=2)
    machine = site.slurm.machine(site.slurm.nodes_of(job)[1])
    task, = (process for process in machine.processes() if NODE_MODULE in command_line(process))
    task.kill()
    assert site.ended(job) == ("COMPLETED", "0:0", "0"), site.printed(job)
    assert site.events("killed", "failure") == [] and len(site.events("killed", "attempt_started")) == 1
    assert not any("ray" in command_line(process) for process in machine.processes())
    assert not list(Path("/tmp").glob(f"lr{job}-*"))


def test_a_stop_saves_and_ends_the_job_without_another_turn_and_its_chain(site: Site) -> None:
    first, second = site.chain("stopped", 2)
    site.await_step("stopped", first, attempt=1, step=2)
    site.launcher("stop", "stopped")
    assert site.ended(first) == ("FAILED", "75:0", "0"), site.printed(first)
    assert [event["reason"] for event in site.events("stopped", "stop_requested")] == ["stop_command"]
    assert site.saved("stopped") == site.last_step("stopped")
    assert site.ended(second)[0] == "CANCELLED", "a link that waits is taken out of the queue"
    again = site.sbatch_as("stopped", "--nodes=1", fields=ENDLESS)
    site.await_step("stopped", again, attempt=2, step=site.saved("stopped") + 1)
    site.launcher("stop", "stopped")
    assert site.ended(again) == ("FAILED", "75:0", "0"), "it may be queued again, and is not"

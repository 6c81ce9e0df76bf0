"""`launcher doctor` on a real Slurm of two simulated machines: a good site, two real defects, and no room for a job.

The defects are a shared folder that one machine has not mounted, and a range of ports that one machine cannot reach.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.platforms.ports import FIRST, LAST
from tests.platforms.a_slurm import KILL_WAIT_S, Slurm, awaited, why_not

pytestmark = [pytest.mark.skipif(bool(why_not()), reason=why_not() or "it is possible"), pytest.mark.timeout(300),
              pytest.mark.slow]


class Desk:
    """A person at the cluster's command line, in a folder that all machines see."""

    def __init__(self, slurm: Slurm, folder: Path) -> None:
        self.slurm, self.folder, self.shared = slurm, folder, folder / "shared"
        self.shared.mkdir()

    def doctor(self, *options: object, code: int) -> dict[str, Any]:
        environment = {"LAUNCHER_CACHE": str(self.folder / "cache"), "CUDA_VISIBLE_DEVICES": "",
                       "PYTHONPATH": str(Path(__file__).parents[2])}
        done = self.slurm.type(sys.executable, "-m", "launcher.cli.main", "doctor", "--on", "slurm", "--json",
                               "--shared", self.shared, *options, cwd=self.folder, **environment)
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout)

    def nothing_left(self) -> bool:
        return not list(self.shared.iterdir()) and "launcher-doctor" not in self.slurm.done("squeue", "--format=%j")


def bad(told: dict[str, Any]) -> list[str]:
    return [finding["what"] for finding in told["findings"] if finding["level"] == "bad"]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with Slurm(nodes=2) as slurm:
        made = Desk(slurm, tmp_path_factory.mktemp("site"))
        yield made
    shutil.rmtree(made.folder, ignore_errors=True)


def test_a_good_site_is_measured_and_learnt_and_nothing_is_left(desk: Desk) -> None:
    told = desk.doctor("--learn", "site.env", code=0)
    assert told["bad"] == 0 and bad(told) == []
    rules, job = told["facts"]["rules"], told["facts"]["jobs"][0]
    assert (rules["requeue"], rules["kill_wait_s"], rules["preempts"]) == (True, KILL_WAIT_S, "partition")
    assert job["names"] == desk.slurm.names and set(job["machines"]) == set(desk.slurm.names) and job["silent"] == {}
    # One clock for all machines: what is measured is the way.
    assert all(abs(clock["ahead_s"]) <= clock["uncertain_s"] < 2.0 for clock in job["clocks"].values())
    assert {way["to"] for ways in job["ways"].values() for way in ways} == set(desk.slurm.names)
    assert all(found["right"] and found["interface"] == "eth0" for each in job["reductions"].values() for found in each)
    assert [len(each) for each in job["reductions"].values()] == [1, 1]
    learnt = (desk.folder / "site.env").read_text()
    settings = dict(line.split("=", 1) for line in learnt.splitlines() if re.match("[A-Z]", line))
    assert settings["SBATCH_PARTITION"] == "low" and "over eth0" in learnt
    assert settings["LAUNCHER_PYTHON"] == sys.executable
    assert desk.nothing_left()


def test_a_machine_without_the_shared_folder_and_one_behind_a_wall_are_named(desk: Desk) -> None:
    walled, unmounted = desk.slurm.machines.live[1:]
    rule = ["ipproto", "tcp", "dport", f"{FIRST}-{LAST}", "prohibit"]
    subprocess.run(walled.argv(["ip", "rule", "add", *rule]), check=True)
    subprocess.run(unmounted.argv(["mount", "-t", "tmpfs", "tmpfs", str(desk.shared)]), check=True)
    try:
        told = desk.doctor(code=1)
    finally:
        subprocess.run(unmounted.argv(["umount", str(desk.shared)]), check=True)
        subprocess.run(walled.argv(["ip", "rule", "del", *rule]), check=True)
    folder, wall = bad(told)
    assert folder == f"{unmounted.name}: {desk.shared} is another folder than on the machine where this was typed"
    assert wall.startswith(f"{walled.name} to {unmounted.name}: no connection to a port between 20000 and 32000")
    assert desk.nothing_left()


def test_where_no_nodes_are_free_it_says_why_and_takes_its_job_out_of_the_queue(desk: Desk) -> None:
    job = int(desk.slurm.done("sbatch", "--parsable", "--output=/dev/null", "--wrap", "sleep 60", cwd=desk.folder))
    desk.slurm.await_state(job, ("RUNNING",))
    told = desk.doctor("--within", "2s", code=1)
    assert len(bad(told)) == 1 and re.search(r"job \d+ still waits for its nodes \((Resources|None)\)", bad(told)[0])
    awaited(desk.nothing_left, "the job out of the queue")
    desk.slurm.cancel_all()

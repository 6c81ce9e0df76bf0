"""Stages that evaluations decide about, as a job of Slurm: the controller dies at a verdict, a worker and then the
allocation end in the repeated stage, and the run is the one that was not hurt, bit for bit."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.orchestration.supervisor import CONTROLLER_MODULE
from launcher.storage.process_id import command_line
from tests import decided
from tests.decided import ONE_ON_EACH, events, repeated, run_unhurt, verdicts
from tests.platforms.a_slurm import Slurm, awaited, why_not
from tests.platforms.test_slurm_jobs import PATIENCE_S, SCRIPT
from tests.platforms.test_slurm_survival import Site, folders
from tests.toy_run import differences

pytestmark = [pytest.mark.skipif(bool(why_not()), reason=why_not() or "it is possible"), pytest.mark.campaign,
              pytest.mark.timeout(1800)]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    before = folders()
    with Slurm(nodes=2) as slurm:
        yield Site(slurm, tmp_path)
        slurm.cancel_all()
    assert folders() <= before
    shutil.rmtree(tmp_path, ignore_errors=True)


def kill(site: Site, name: str) -> None:
    """End by force what runs on the cluster's machines under this name, on the first of them that has some."""
    found = [process for machine in site.slurm.names for process in site.slurm.machine(machine).processes()
             if name in command_line(process)]
    assert found, f"there is no {name}"
    found[0].kill()


def test_a_job_in_which_stages_end_early_and_are_repeated_survives_deaths_at_these_moments(site: Site) -> None:
    whole, hurt = run_unhurt(site.folder), site.folder / "hurt"
    job = int(site.slurm.done("sbatch", "--parsable", "--nodes=2", SCRIPT, "toy.yaml", "--run-dir", "hurt", "--set",
                              ONE_ON_EACH, cwd=site.folder, **site.environment))

    def there(what: str) -> bool:
        assert site.slurm.job(job)["JobState"] in ("PENDING", "RUNNING", "COMPLETING"), site.output()
        return bool(verdicts(hurt) if what == "a verdict" else repeated(hurt))

    awaited(lambda: there("a verdict"), "a verdict", PATIENCE_S)
    kill(site, CONTROLLER_MODULE)
    awaited(lambda: there("a repeat"), "a step of the repeated stage", PATIENCE_S)
    site.slurm.done("scancel", "--batch", "--signal=USR1", job)
    site.slurm.await_state(job, ("PENDING",), PATIENCE_S)
    assert events(hurt, "run_ended")[-1]["exit_code"] == 75
    site.slurm.start_again(job)
    assert site.ended(job) == ("COMPLETED", "0:0", "1"), site.printed(job)
    assert verdicts(hurt) == decided.DECIDED
    assert differences(whole, hurt) == []

"""A doctor's job with something else in the place of srun: what it is asked, and whom nobody waits for."""

import time
from pathlib import Path

import pytest

from launcher.core.errors import PlatformError
from launcher.platforms import doctor_step
from launcher.platforms.doctor_node import Question
from launcher.platforms.doctor_step import DoctorStep, numbers, outside, step_command

SRUN = """#!/bin/sh
echo 'welcome to the cluster'
echo 'srun: error: node2: tasks 1,3-4: Exited with exit code 2' >&2
echo '1: slurmstepd: error: execve(): /env/bin/python: No such file or directory' >&2
while read -r line; do echo '0: {"number": 1, "node": 0, "said": 5.5}'; done
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of commands that stand for Slurm's."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(doctor_step, "LOOK_S", 0.05)
    for name, text in (("srun", SRUN), ("scancel", f"#!/bin/sh\necho $@ >> {tmp_path}/cancelled\n"),
                       ("squeue", "#!/bin/sh\necho '77|PENDING|Resources'\n")):
        command(tmp_path, name, text)
    return tmp_path


def command(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def test_a_task_that_is_gone_is_not_waited_for_and_what_it_said_is_kept(slurm: Path) -> None:
    begin = time.monotonic()
    with DoctorStep(2, 60.0, {}) as step:
        answers = step.ask(Question(number=0, ask="clock", nodes=(0, 1)), 30.0)
        assert time.monotonic() - begin < 10.0
        assert [(answer.node, answer.said) for answer in answers.values()] == [(0, 5.5)]
        assert step.gone(1) and not step.gone(0)
        assert "execve(): /env/bin/python: No such file" in step.complaint(1, "node2")
        assert step.complaint(0, "node1") == ""
    assert not (slurm / "cancelled").exists()


def test_a_node_that_says_nothing_costs_no_more_than_its_time(slurm: Path) -> None:
    with DoctorStep(3, 60.0, {}) as step:
        assert list(step.ask(Question(number=0, ask="clock", nodes=(0, 2)), 0.4)) == [0]
        # A late answer to an earlier question is none to this one.
        assert step.ask(Question(number=0, ask="clock", nodes=(0,)), 0.1) == {}


def test_a_job_that_does_not_get_its_nodes_is_given_up_and_cancelled_by_its_number(
        slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(doctor_step, "CLOSE_S", 0.1)
    command(slurm, "srun", "#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(PlatformError, match=r"job 77 still waits for its nodes \(Resources\)"):  # noqa: SIM117
        with DoctorStep(2, 60.0, {}) as step:
            step.wait_for_nodes(0.3, told.append)
    assert told == ["job 77 waits for its nodes: Resources"]
    assert (slurm / "cancelled").read_text() == "77\n"


def test_ctrl_c_cancels_the_job_by_its_number(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_step, "CLOSE_S", 0.1)
    command(slurm, "srun", "#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(KeyboardInterrupt), DoctorStep(2, 60.0, {}):
        raise KeyboardInterrupt
    assert (slurm / "cancelled").read_text() == "77\n"


def test_a_job_that_slurm_refuses_is_told_in_slurms_words(slurm: Path) -> None:
    command(slurm, "srun", "#!/bin/sh\necho 'srun: error: Unable to allocate resources: Invalid account' >&2\nexit 1\n")
    command(slurm, "squeue", "#!/bin/sh\n")
    with DoctorStep(2, 60.0, {}) as step, pytest.raises(PlatformError, match=r"^Unable to allocate resources: Invalid"):
        step.wait_for_nodes(20.0, lambda _: None)


def test_the_command_has_a_limit_a_name_of_its_own_and_the_options_that_were_given() -> None:
    words = step_command("launcher-doctor-1", 4, 600.0, {"account": "heart", "exclusive": True})
    assert {"--job-name=launcher-doctor-1", "--nodes=4", "--ntasks=4", "--time=00:10:00", "--account=heart",
            "--exclusive", "--label"} <= set(words)


def test_within_another_job_it_asks_for_one_of_its_own() -> None:
    inside = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "64", "SLURM_CONF": "/etc/slurm.conf", "HOME": "/h"}
    assert outside(inside) == {"SLURM_CONF": "/etc/slurm.conf", "HOME": "/h"}
    assert outside({"SLURM_ACCOUNT": "heart"})["SLURM_ACCOUNT"] == "heart"


def test_lists_of_tasks() -> None:
    assert numbers("1,3-5") == [1, 3, 4, 5]

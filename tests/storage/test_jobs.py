"""Which jobs a run has had, whoever writes it down first."""

from launcher.storage.jobs import (
    JobRecord,
    job_record,
    jobs_of,
    record_began,
    record_stopped,
    record_submitted,
    reserve,
    withdraw,
)
from launcher.storage.run_dir import RunDir


def test_the_newest_job_comes_first_and_other_files_are_nothing(tmp_path):
    run = RunDir(tmp_path)
    assert jobs_of(run) == []
    record_submitted(run, "99", 10.0)
    record_submitted(run, "7", 20.0)  # numbers begin again, times do not
    (tmp_path / "jobs/slurm-notes.json").write_text("mine")
    assert [record.job for record in jobs_of(run)] == ["7", "99"]


def test_a_job_that_begins_before_its_submission_is_recorded_has_begun(tmp_path):
    run = RunDir(tmp_path)
    record_began(run, "42", 5.0, allocations=1)
    record_submitted(run, "42", 6.0)
    assert job_record(run, "42") == JobRecord(job="42", time=5.0, began=1, unseen_ends=1)


def test_a_record_that_a_full_disk_left_empty_is_written_anew(tmp_path):
    run = RunDir(tmp_path)
    run.store.put("jobs/slurm-7.json", b"")
    record_began(run, "7", 3.0, allocations=1)
    assert (found := job_record(run, "7")) is not None and found.began == 1


def test_a_stop_is_for_one_allocation_because_whoever_starts_the_job_again_wants_it(tmp_path):
    run = RunDir(tmp_path)
    record_submitted(run, "42", 5.0)
    record_stopped(run, jobs_of(run)[0])
    assert jobs_of(run)[0].stopped
    record_began(run, "42", 9.0, allocations=2)
    assert job_record(run, "42") == JobRecord(job="42", time=5.0, began=2, unseen_ends=1)


def ray(job: str, time: float) -> JobRecord:
    return JobRecord(job=job, time=time, platform="ray", address="http://head:8265")


def test_an_id_of_our_choice_is_recorded_before_its_job_and_taken_once(tmp_path):
    run = RunDir(tmp_path / "chat")
    assert reserve(run, ray("chat.a001", 5.0)) and not reserve(run, ray("chat.a001", 6.0))
    record_submitted(run, "7", 7.0)
    assert [(record.job, record.place) for record in jobs_of(run)] == [
        ("7", ("slurm", "")), ("chat.a001", ("ray", "http://head:8265"))]
    record_stopped(run, ray("chat.a001", 5.0))
    assert (found := job_record(run, "chat.a001", "ray")) is not None and found.stopped and found.time == 5.0
    assert job_record(run, "chat.a001") is None, "Slurm has no such job"


def test_a_job_that_was_not_submitted_after_all_leaves_no_record_and_no_folder(tmp_path):
    run = RunDir(tmp_path / "chat")
    reserve(run, ray("chat.a001", 5.0))
    withdraw(run, ray("chat.a001", 5.0))
    assert not run.path.exists()
    reserve(run, ray("chat.a001", 5.0))
    reserve(run, ray("chat.a002", 5.0))
    withdraw(run, ray("chat.a002", 5.0))
    assert [record.job for record in jobs_of(run)] == ["chat.a001"]

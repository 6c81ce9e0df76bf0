"""Which jobs a run has had, whoever writes it down first."""

from launcher.storage.jobs import JobRecord, job_record, jobs_of, record_began, record_stopped, record_submitted
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
    assert job_record(run, "42") == JobRecord(job="42", time=5.0, began=1)


def test_a_stop_is_for_one_allocation_because_whoever_starts_the_job_again_wants_it(tmp_path):
    run = RunDir(tmp_path)
    record_submitted(run, "42", 5.0)
    record_stopped(run, jobs_of(run)[0])
    assert jobs_of(run)[0].stopped
    record_began(run, "42", 9.0, allocations=2)
    assert job_record(run, "42") == JobRecord(job="42", time=5.0, began=2)

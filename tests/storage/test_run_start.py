"""What a run directory gets at its beginning, and what a second start must bring."""

import pytest

from launcher.core.errors import PlanChanged, UserError
from launcher.core.recipe import Recipe
from launcher.storage.checkpoints import Checkpoints
from launcher.storage.journal import Journal
from launcher.storage.run_dir import RunDir
from launcher.storage.run_start import Submission, begin_run, last_end, next_attempt, read_plan, read_submission
from tests.orchestration.scenes import plan_of
from tests.storage.test_checkpoint_damage import commit

RECIPE = Recipe.model_validate({
    "name": "tiny", "model": {"path": "x"}, "sequence_length": 8, "sources": {"a": {"path": "a.jsonl"}},
    "stages": [{"name": "one", "length": {"steps": 3}, "mix": {"a": 1}}], "batch": {"rows": 2}})
SUBMISSION = Submission(file="tiny.yaml", recipe=RECIPE, cache="cache")


@pytest.fixture
def run(tmp_path):
    run = RunDir(tmp_path / "run")
    begin_run(run, plan_of(("one", 3)), b"name: tiny  # as typed\n", SUBMISSION)
    return run


def test_the_recipe_is_kept_byte_for_byte(run):
    assert run.store.get(run.RECIPE) == b"name: tiny  # as typed\n"
    assert read_plan(run) == plan_of(("one", 3))
    assert read_submission(run) == SUBMISSION


def test_the_same_plan_may_come_again(run):
    begin_run(run, plan_of(("one", 3)), b"name: tiny\n", SUBMISSION)
    assert run.store.get(run.RECIPE) == b"name: tiny  # as typed\n"


def test_another_past_is_refused_with_the_difference(run):
    commit(Checkpoints(run), 2)
    with pytest.raises(PlanChanged) as told:
        begin_run(run, plan_of(("one", 5)), b"", SUBMISSION)
    assert "stages.0.steps: was 3, is now 5" in str(told.value)
    assert "Only stages after step 2" in str(told.value) and "--run-dir" in str(told.value)
    assert read_plan(run) == plan_of(("one", 3)) and not list(run.store.list("amendments/"))


def test_another_future_is_recorded_and_the_first_plan_is_kept(run):
    commit(Checkpoints(run), 3)
    first = run.store.get(run.PLAN)
    for number, plan in enumerate((plan_of(("one", 3), ("two", 2)), plan_of(("one", 3), ("two", 4))), 1):
        amendment = begin_run(run, plan, b"", SUBMISSION)
        assert amendment is not None and amendment.from_step == 4
        assert read_plan(run) == plan and len(list(run.store.list("amendments/"))) == number
    assert begin_run(run, plan_of(("one", 3), ("two", 4)), b"", SUBMISSION) is None
    assert run.store.get(run.PLAN) == first


def test_attempts_count_on(run):
    assert next_attempt(run) == 1
    Journal(run, 1).close()
    Journal(run, 7).close()
    assert next_attempt(run) == 8


def test_a_run_that_was_started_again_has_not_ended(run):
    journal = Journal(run, 1)
    assert last_end(run) is None
    journal.append({"event": "run_ended", "outcome": "yielded", "exit_code": 75})
    ended = last_end(run)
    assert ended is not None and ended.exit_code == 75
    journal.append({"event": "attempt_started"})
    assert last_end(run) is None
    journal.close()


def test_a_folder_without_a_run_is_said_to_be_one(tmp_path):
    with pytest.raises(UserError, match="no run here"):
        read_plan(RunDir(tmp_path))

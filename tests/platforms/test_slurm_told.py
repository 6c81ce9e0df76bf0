"""What a job learns from its run's journal."""

from launcher.platforms.slurm_told import told_by


def saved(seconds):
    return {"event": "checkpoint_committed", "step": 1, "seconds": seconds}


def unplaced(time):
    return {"event": "failure", "kind": "node_loss", "rank": -1, "time": time}


def ended(outcome, code, time=50.0):
    return {"event": "run_ended", "outcome": outcome, "exit_code": code, "time": time}


STARTED = {"event": "attempt_started", "attempt": 2}
STOPPED = {"event": "stop_requested", "reason": "stop_command"}


def test_the_longest_step_and_save_are_what_a_stop_may_take():
    steps = [{"event": "step", "seconds": 2.5}, {"event": "step", "seconds": 1.0}]
    told = told_by([saved(4.0), steps[0], saved(9.0), saved(1.0), steps[1]])
    assert (told.save_s, told.step_s) == (9.0, 2.5)


def test_nodes_are_missing_from_the_first_attempt_that_could_not_begin_until_one_does():
    lost = {"event": "failure", "kind": "node_loss", "rank": 1, "time": 5.0}
    assert told_by([lost]).missing_since is None, "the others may do"
    assert told_by([lost, unplaced(6.0), unplaced(8.0)]).missing_since == 6.0
    assert told_by([lost, unplaced(6.0), STARTED]).missing_since is None
    assert told_by([unplaced(6.0), ended("yielded", 75)]).missing_since is None


def test_an_end_knows_whether_a_person_asked_for_it_and_a_new_attempt_undoes_it():
    end = told_by([STARTED, STOPPED, ended("yielded", 75)]).end
    assert end is not None and (end.outcome, end.exit_code, end.on_request) == ("yielded", 75, True)
    again = told_by([STOPPED, ended("yielded", 75), STARTED, ended("failed", 1)]).end
    assert again is not None and (again.exit_code, again.on_request) == (1, False)
    assert told_by([ended("failed", 1), STARTED]).end is None

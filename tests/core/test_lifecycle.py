"""The life of an attempt by scenario, and a walk through random observations that must always end."""

import random

import pytest

from launcher.core import attempt_state as s
from launcher.core.events import StopRequested
from launcher.core.lifecycle import END_STATES, advance

STOP = StopRequested(reason="signal", deadline=None)
READY = {"event": "ready"}
RENDEZVOUS = {"event": "rendezvous", "host": "10.0.0.1", "port": 4711}
STAGE = {"event": "stage_started", "stage": "one", "step": 1, "steps": 9}


def step(number: int) -> dict:
    return {"event": "step", "step": number}


def failed(message: str) -> dict:
    return {"event": "failed", "time": 1.0, "rank": 0, "node": "", "kind": "worker_crash", "message": message}


class Story:
    """Two ranks on one node, one observation after the other."""

    def __init__(self) -> None:
        self.state: s.State = s.Waiting()
        self.actions: list[s.Action] = []
        self.now = 100.0
        self.codes: list[int | None] = [None, None]

    def see(self, rank0=(), rank1=(), codes=None, after=0.1, **more) -> "Story":
        self.now += after
        self.codes = list(codes) if codes else self.codes
        workers = tuple(s.WorkerSeen(rank, "here", self.codes[rank], tuple(events))
                        for rank, events in enumerate((rank0, rank1)))
        transition = advance(self.state, s.Observation(self.now, workers, **more))
        self.state, self.actions = transition.state, [*self.actions, *transition.actions]
        return self

    def running(self) -> "Story":
        return self.see([READY], [READY]).see([RENDEZVOUS]).see([STAGE])

    def journal(self) -> list[str]:
        records = [action.event for action in self.actions if isinstance(action, s.Record)]
        return [event["event"] if isinstance(event, dict) else event.event for event in records]

    def exit_code(self) -> int:
        last = self.actions[-1]
        assert isinstance(last, s.Record) and not isinstance(last.event, dict)
        return last.event.exit_code


def test_orders_then_the_meeting_then_training():
    story = Story().see()
    assert story.actions == [s.GiveOrders()]
    story.see([READY, RENDEZVOUS], [READY])
    assert story.actions[1:] == [s.PassRendezvous("10.0.0.1", 4711)]
    assert isinstance(story.see([STAGE]).state, s.Running)


def test_a_meeting_and_a_start_seen_at_once_are_both_acted_on():
    story = Story().see().see([RENDEZVOUS, STAGE, step(1)])
    assert s.PassRendezvous("10.0.0.1", 4711) in story.actions
    assert isinstance(story.state, s.Running)


def test_the_run_is_finished_when_every_worker_said_so_and_left():
    story = Story().running().see([step(9), {"event": "finished", "step": 9}], codes=(0, None))
    assert isinstance(story.state, s.Running)
    story.see(rank1=[{"event": "finished", "step": 9}], codes=(0, 0))
    assert isinstance(story.state, s.Finished)
    assert story.exit_code() == 0
    assert story.journal() == ["stage_started", "step", "attempt_ended", "run_ended"]


def test_a_stop_lets_workers_finish_their_step():
    story = Story().running().see([step(3)], stop=STOP)
    assert isinstance(story.state, s.Draining)
    assert s.Drain(STOP) in story.actions
    stopped = [{"event": "stopped", "step": 4}]
    story.see([step(4), *stopped], stopped, codes=(75, 75), stop=STOP)
    assert isinstance(story.state, s.Yielded)
    assert story.exit_code() == 75
    assert story.journal().count("stop_requested") == 1


def test_a_stop_that_comes_with_the_last_step_does_not_undo_the_end():
    story = Story().running().see(stop=STOP)
    finished = [{"event": "finished", "step": 9}]
    story.see([step(9), *finished], finished, codes=(0, 0), stop=STOP)
    assert isinstance(story.state, s.Finished)


def test_a_second_request_ends_workers_at_once():
    story = Story().running().see(stop=STOP).see(stop=STOP, at_once=True)
    assert story.actions[-3] == s.EndWorkers(s.Patience().hurry_s)
    assert isinstance(story.state, s.Yielded)


def test_a_stop_before_the_first_step_does_not_wait_for_engines():
    story = Story().see([READY], [READY]).see(stop=STOP)
    assert isinstance(story.state, s.Yielded)
    assert s.EndWorkers(s.Patience().grace_s) in story.actions


def test_a_drain_that_misses_its_deadline_is_ended():
    story = Story().running()
    story.see(stop=StopRequested(reason="preemption", deadline=story.now + 5))
    assert isinstance(story.see(after=10).state, s.Yielded)


def test_a_failure_waits_for_what_the_peers_saw_and_ends_the_run():
    story = Story().running().see([step(4), failed("Connection closed by peer")], codes=(1, None))
    assert isinstance(story.state, s.Failing)
    assert not any(isinstance(action, s.EndWorkers) for action in story.actions)
    story.see(codes=(1, -9))
    assert isinstance(story.state, s.Failed)
    messages = [failure.message for failure in story.state.progress.failures]
    assert messages == ["Connection closed by peer", "ended by SIGKILL"]
    assert story.journal()[-5:] == ["failure", "failure", "decision", "attempt_ended", "run_ended"]
    assert story.exit_code() == 1


def test_a_hanging_peer_is_ended_after_a_moment():
    story = Story().running().see(codes=(-11, None)).see(after=0.1)
    assert isinstance(story.state, s.Failing)
    story.see(after=2.0)
    assert isinstance(story.state, s.Failed)
    assert s.EndWorkers(s.Patience().grace_s) in story.actions


def test_leaving_in_silence_is_a_failure_even_with_exit_code_0():
    story = Story().running().see(codes=(0, None)).see(after=2.0)
    assert isinstance(story.state, s.Failed)
    assert "exit code 0" in story.state.progress.failures[0].message


def test_a_lost_node_is_the_infrastructure_s_fault():
    story = Story().running().see(lost_nodes=("here",)).see(lost_nodes=("here",), after=2.0)
    assert isinstance(story.state, s.Failed)
    assert story.exit_code() == 76


def test_a_start_that_takes_too_long_fails():
    story = Story().see().see(after=3600).see(after=2)
    assert isinstance(story.state, s.Failed)
    assert story.journal()[0] == "failure"


def test_an_end_is_the_end():
    story = Story().running().see(codes=(-9, -9)).see(after=2)
    before = list(story.actions)
    story.see([step(99)], stop=STOP, at_once=True)
    assert story.actions == before


@pytest.mark.parametrize("seed", range(300))
def test_any_walk_ends_once_with_workers_ended_before_the_last_word(seed):
    chance = random.Random(seed)
    story = Story()
    letters = [READY, RENDEZVOUS, STAGE, step(1), step(2), failed("boom"), {"event": "finished", "step": 9},
               {"event": "stopped", "step": 2}, {"event": "phase", "phase": "step", "step": 1}]
    for _ in range(60):
        codes = [code if code is not None else chance.choice([None] * 12 + [0, 1, 75, -9]) for code in story.codes]
        mail = [chance.sample(letters, chance.randrange(3)) for _ in range(2)]
        story.see(*mail, codes, after=chance.choice([0.05, 3.0]), stop=chance.choice([None, None, STOP]),
                  at_once=chance.random() < 0.02)
    story.see(codes=(1, 1)).see(after=5)
    assert isinstance(story.state, END_STATES)
    journal = story.journal()
    assert journal.count("attempt_ended") == journal.count("run_ended") == 1
    kinds = [type(action) for action in story.actions]
    assert kinds.count(s.EndWorkers) == 1
    assert kinds.count(s.GiveOrders) <= 1
    assert kinds.index(s.EndWorkers) < len(kinds) - 2

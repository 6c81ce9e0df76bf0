"""Journals as runs write them, for tests of what is made of them."""

from typing import Any


def step(number: int, time: float, attempt: int = 1, stage: str = "one", **more: Any) -> dict[str, Any]:
    return {"event": "step", "step": number, "stage": stage, "segment": 0, "loss": 4.0 / number, "time": time,
            "sources": {"sums": {"loss": 4.0 / number, "supervised_tokens": 80, "rows": 2}}, "learning_rate": 1e-3,
            "grad_norm": 0.5, "tokens": 100, "supervised_tokens": 80, "seconds": 0.5, "world_size": 2, "applied": True,
            "rows_digest": "", "attempt": attempt, **more}


def evaluation(number: int, loss: float, time: float, attempt: int = 1) -> dict[str, Any]:
    return {"event": "evaluation", "step": number, "stage": "one", "time": time, "attempt": attempt,
            "sources": {"sums": {"loss": loss, "supervised_tokens": 10}}}


def started(attempt: int, time: float, steps: int = 4) -> list[dict[str, Any]]:
    workers = [{"rank": rank, "node": "here", "pid": 10 + rank, "started": time} for rank in range(2)]
    first = [{"event": "run_started", "name": "tiny", "steps": steps, "plan": "", "time": time, "attempt": 1}]
    return [*(first if attempt == 1 else []),
            {"event": "attempt_started", "workers": workers, "world_size": 2, "resume": None, "time": time,
             "attempt": attempt}]


def stage(name: str, first: int, steps: int, time: float, attempt: int = 1) -> dict[str, Any]:
    return {"event": "stage_started", "stage": name, "step": first, "steps": steps, "time": time, "attempt": attempt}


def ended(outcome: str, code: int, time: float, attempt: int = 1) -> list[dict[str, Any]]:
    return [{"event": "run_ended", "outcome": outcome, "exit_code": code, "time": time, "attempt": attempt}]


def failure(rank: int | None, message: str, time: float, **more: Any) -> dict[str, Any]:
    return {"event": "failure", "kind": "worker_crash", "rank": rank, "node": "here", "step": 2, "message": message,
            "time": time, "attempt": 1, **more}


FINISHED = [*started(1, 100.0), evaluation(0, 5.0, 101.0), stage("one", 1, 2, 101.0), step(1, 102.0), step(2, 103.0),
            evaluation(2, 3.0, 103.5), stage("two", 3, 2, 103.5), step(3, 104.0, stage="two"),
            step(4, 105.0, stage="two"), evaluation(4, 2.0, 105.5),
            {"event": "exported", "path": "model", "bytes": 4 << 20, "parameters": 1_000_000, "time": 106.0,
             "attempt": 1}, *ended("finished", 0, 106.0)]


def decision(what: str, time: float, attempt: int = 1, **more: Any) -> dict[str, Any]:
    return {"event": "decision", "decision": what, "reason": "worker_crash, 1 of 3 without a new checkpoint",
            "cause": None, "delay": None, "time": time, "attempt": attempt, **more}


def over(outcome: str, time: float, attempt: int = 1) -> dict[str, Any]:
    return {"event": "attempt_ended", "outcome": outcome, "step": 0, "time": time, "attempt": attempt}


def again(attempt: int, time: float, resume: int | None, **more: Any) -> dict[str, Any]:
    return {**started(attempt, time)[-1], "resume": resume, **more}


def committed(number: int, time: float, attempt: int = 1) -> dict[str, Any]:
    return {"event": "checkpoint_committed", "step": number, "kind": "periodic", "seconds": 0.1, "blocked_seconds": 0.0,
            "bytes": 1, "time": time, "attempt": attempt}


CRASHED = [*started(1, 1.0), step(1, 1.0), step(2, 2.0), committed(2, 2.0), step(3, 3.0), step(4, 4.0),
           failure(0, "Connection reset by peer", 5.0, step=5), failure(1, "ended by SIGKILL", 5.0, step=5),
           decision("restart", 5.2, delay=0.0, cause={"kind": "worker_crash", "node": "here", "step": 5,
                                                      "message": "ended by SIGKILL", "raised": False}),
           over("failed", 5.2)]
"""A life of a run whose rank 1 was killed in step 5, to the moment before the next attempt."""
RECOVERED = [*CRASHED, again(2, 9.0, 2), step(3, 11.0, 2), step(4, 12.0, 2)]
"""The same until training has caught up."""

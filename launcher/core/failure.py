"""Kinds of failure: a closed list. What to do about each is `core.lifecycle`."""

from enum import StrEnum

from launcher.core.document import Document


class FailureKind(StrEnum):
    """Classes with separate budgets."""

    PREEMPTION = "preemption"
    NODE_LOSS = "node_loss"
    WORKER_CRASH = "worker_crash"
    STALL = "stall"
    STARTUP = "startup"
    OUT_OF_MEMORY = "out_of_memory"
    BAD_INPUT = "bad_input"
    DIVERGENCE = "divergence"
    STORAGE = "storage"
    CONTROLLER_LOSS = "controller_loss"


class WorkerFailure(Document):
    """What is known of one worker that ended wrongly."""

    rank: int
    node: str
    kind: FailureKind
    message: str
    """One line: the exception, or the signal that ended the process."""
    traceback: str = ""
    step: int | None = None
    """The step that the worker was in."""
    phase: str = ""

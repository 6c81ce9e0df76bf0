"""The agent of one node: holds the node's workers and carries letters down and events up.

Has no opinion and knows neither Ray nor ranks: workers go by their slot on this node. The controller uses it
directly in plain mode; `ray_agent` makes an actor of it.
"""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from launcher.core.document import Document
from launcher.orchestration.worker_process import WorkerProcess, end_workers, worker_environment
from launcher.storage.process_id import ProcessId


class SlotReport(Document):
    """What an agent saw of one worker since it last looked."""

    slot: int
    process: ProcessId
    exit_code: int | None
    """None while it lives; negative: ended by that signal."""
    events: tuple[dict[str, Any], ...] = ()


class Agent(Protocol):
    """What the controller needs of a node's agent, here or across Ray."""

    def deliver(self, letter: str, contents: Mapping[int, dict[str, Any]]) -> None:
        """Put a letter into the mailboxes of some slots."""
        ...

    def poll(self) -> list[SlotReport]:
        """Return what is new of all workers."""
        ...

    def end(self, grace_s: float) -> bool:
        """End all workers; return whether they are gone."""
        ...


class NodeAgent:
    """The agent itself."""

    def __init__(self, scratch: Path | None = None) -> None:
        self.scratch = scratch or Path(tempfile.mkdtemp(prefix="lr-"))
        self._own_scratch = scratch is None
        self._workers: dict[int, WorkerProcess] = {}

    def start(self, slots: int, threads: int, device: str) -> list[str]:
        """Start one worker per slot as a standby; return their mailboxes."""
        for slot in range(slots):
            folder = self.scratch / f"worker-{slot}"
            environment = worker_environment(slot, threads, device)
            self._workers[slot] = WorkerProcess.spawn(folder, environment)
        return [str(worker.mailbox.folder) for worker in self._workers.values()]

    def adopt(self, folders: Sequence[str]) -> None:
        """Hold standbys that the controller started on this node, in slot order."""
        self._workers = {slot: WorkerProcess.adopt(Path(folder)) for slot, folder in enumerate(folders)}

    def let_go(self) -> None:
        """Leave the workers to whoever adopted them."""
        for worker in self._workers.values():
            worker.let_go()

    def processes(self) -> list[ProcessId]:
        """Return the workers' processes, in slot order."""
        return [worker.process for worker in self._workers.values()]

    def deliver(self, letter: str, contents: Mapping[int, dict[str, Any]]) -> None:
        """Put a letter into the mailboxes of some slots."""
        for slot, content in contents.items():
            self._workers[slot].mailbox.deliver(letter, content)

    def poll(self) -> list[SlotReport]:
        """Return what is new of all workers."""
        return [self._look(slot, worker) for slot, worker in self._workers.items()]

    def end(self, grace_s: float) -> bool:
        """End all workers by pid; return whether they are gone."""
        return end_workers(list(self._workers.values()), grace_s)

    def close(self) -> None:
        """End what is left, at once, and remove what this agent made."""
        self.end(0.0)
        self.let_go()
        if self._own_scratch:
            shutil.rmtree(self.scratch, ignore_errors=True)

    @staticmethod
    def _look(slot: int, worker: WorkerProcess) -> SlotReport:
        # The exit status first: a worker that is gone has reported all it will, so none of it is missed.
        code = worker.exit_code()
        return SlotReport(slot=slot, process=worker.process, exit_code=code,
                          events=tuple(worker.mailbox.take_events()))

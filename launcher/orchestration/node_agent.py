"""The agent of one node: holds the node's workers and carries letters down and events up.

Has no opinion and knows neither Ray nor ranks: workers go by their slot on this node. The controller uses it
directly in plain mode; `ray_agent` makes an actor of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from launcher.core.document import Document
from launcher.core.pace import Pulse
from launcher.orchestration.agent_folder import AgentFolder, sweep
from launcher.orchestration.worker_process import WorkerProcess, end_workers, worker_environment
from launcher.storage.growing import Mirror
from launcher.storage.orphan_grace import ORPHAN_GRACE_S
from launcher.storage.process_id import ProcessId, leave
from launcher.storage.run_dir import RunDir


class SlotReport(Document):
    """What an agent saw of one worker since it last looked."""

    slot: int
    process: ProcessId
    exit_code: int | None
    """None while it lives; negative: ended by that signal."""
    events: tuple[dict[str, Any], ...] = ()
    pulse: Pulse | None = None


class Agent(Protocol):
    """What the controller needs of a node's agent, here or across Ray."""

    def deliver(self, letter: str, contents: Mapping[int, dict[str, Any]]) -> None:
        """Put a letter into the mailboxes of some slots."""
        ...

    def poll(self) -> list[SlotReport]:
        """Return what is new of all workers."""
        ...

    def start(self, slots: int, threads: int, device: str, old: Sequence[ProcessId] = ()) -> object:
        """Start a worker per slot for another attempt, once the old ones are gone."""
        ...

    def warm(self) -> None:
        """Make as many workers ready for the attempt after this one."""
        ...

    def bring(self, run_dir: str, keys: Sequence[str]) -> None:
        """Bring files that workers here write for a run in an object store along to it, as they grow."""
        ...

    def dump_stacks(self) -> None:
        """Let every worker that can write down where its threads are."""
        ...

    def end(self, grace_s: float) -> bool:
        """End all workers; return whether they are gone."""
        ...


class NodeAgent:
    """The agent itself."""

    def __init__(self, scratch: Path | None = None) -> None:
        if scratch is None:
            self._own: AgentFolder | None = AgentFolder()
            self.scratch = self._own.path
        else:
            self._own, self.scratch = None, scratch
        self._workers: dict[int, WorkerProcess] = {}
        self._standbys: dict[int, WorkerProcess] = {}
        self._kind = (1, "cpu")
        self._mirror: Mirror | None = None

    def start(self, slots: int, threads: int, device: str, old: Sequence[ProcessId] = ()) -> list[str]:
        """Start one worker per slot, from standbys where there are some; return their mailboxes.

        Workers of an earlier attempt, held by this agent or another, are gone before: the first are ended, the others
        get a moment to save and leave.
        """
        self.end(0.0)
        leave(old, ORPHAN_GRACE_S)
        if self._own is not None:
            sweep()
        self._become(threads, device)
        ready = {slot: worker for slot, worker in self._standbys.items() if worker.exit_code() is None}
        self._workers, self._standbys = {}, ready
        # One by one: where a process cannot be started, those before it are known, and end with the agent.
        for slot in range(slots):
            self._workers[slot] = ready.pop(slot, None) or self._spawn(slot)
        self._end_standbys()
        return [str(worker.mailbox.folder) for worker in self._workers.values()]

    def warm(self) -> None:
        """Start a standby for every slot: the next attempt finds its workers with everything imported."""
        self._ready(self._workers)

    def stand_by(self, slots: int, threads: int, device: str) -> None:
        """Start as many standbys on a node that has no workers: the attempt that needs the node finds them ready."""
        self._become(threads, device)
        self._ready(range(slots))

    def _become(self, threads: int, device: str) -> None:
        """Decide what workers from now on are started with; standbys of another kind are of no use."""
        if self._kind != (threads, device):
            self._end_standbys()
        self._kind = threads, device

    def _ready(self, slots: Iterable[int]) -> None:
        for slot in slots:
            if slot not in self._standbys or self._standbys[slot].exit_code() is not None:
                self._standbys[slot] = self._spawn(slot, patient=True)

    def _spawn(self, slot: int, *, patient: bool = False) -> WorkerProcess:
        names = (f"worker-{slot}", *(f"worker-{slot}-{number}" for number in range(10**6)))
        folder = next(folder for name in names if not (folder := self.scratch / name).exists())
        return WorkerProcess.spawn(folder, worker_environment(slot, *self._kind), patient=patient)

    def _end_standbys(self) -> None:
        end_workers(list(self._standbys.values()), 0.0)
        for worker in self._standbys.values():
            worker.let_go()
        self._standbys = {}

    def adopt(self, folders: Sequence[str], threads: int, device: str) -> None:
        """Hold standbys that the controller started on this node, in slot order."""
        self._kind = threads, device
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

    def bring(self, run_dir: str, keys: Sequence[str]) -> None:
        """Bring these files of a run along to its store."""
        if self._mirror is None:
            self._mirror = Mirror(RunDir(run_dir))
        self._mirror.take(*keys)

    def dump_stacks(self) -> None:
        """Let every worker that can write down where its threads are."""
        for worker in self._workers.values():
            worker.dump_stacks()

    def end(self, grace_s: float) -> bool:
        """End all workers by pid; return whether they are gone."""
        gone = end_workers(list(self._workers.values()), grace_s)
        for worker in self._workers.values():
            worker.let_go()
        return gone

    def close(self) -> None:
        """End what is left, at once, and remove what this agent made."""
        self.end(0.0)
        self._end_standbys()
        if self._mirror is not None:
            self._mirror.close()
        if self._own is not None:
            self._own.remove()

    @staticmethod
    def _look(slot: int, worker: WorkerProcess) -> SlotReport:
        # The exit status first: a worker that is gone has reported all it will, so none of it is missed.
        code, events = worker.exit_code(), tuple(worker.mailbox.take_events())
        worker.mailbox.confirm()  # The controller looks again only when it has journalled what it saw.
        return SlotReport(slot=slot, process=worker.process, exit_code=code, events=events, pulse=worker.pulse())

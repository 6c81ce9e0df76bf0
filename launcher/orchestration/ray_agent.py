"""The node's agent as a Ray actor: the same NodeAgent, and what it takes to live and die under Ray.

Ray ends an actor on SIGTERM and kills its children with it, saved or not; so the actor takes the signal itself and
lets its workers finish their step. When its raylet or the driver is gone it does the same. Whether the cloud takes its
machine away is watched here, too, and told to whoever asks.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from launcher.core.events import StopRequested
from launcher.core.spot_notice import SpotWish, Told
from launcher.orchestration.gang import AgentLost
from launcher.orchestration.node_agent import NodeAgent, SlotReport
from launcher.orchestration.spot_probe import begin
from launcher.storage.orphan_grace import ORPHAN_GRACE_S
from launcher.storage.process_id import ProcessId, process_id

WATCH_S = 0.5
PING_S = 5.0
CALL_TIMEOUT_S = 30.0
"""A call takes a millisecond; a node that does not answer for this long is lost."""
ASK_S = 0.1
"""For answers that take a millisecond, and must not hold up a look."""
HEED_S = 0.5
"""Between looks, in a wait that may last minutes, whether it is still wanted."""


class RayNodeAgent:
    """Runs inside the actor. Ray calls its methods one at a time in the main thread."""

    def __init__(self, spot: SpotWish | None = None) -> None:
        self._agent: NodeAgent | None = None
        self._probe = begin(spot, os.environ)
        self._raylet = os.getppid()
        self._told = threading.Event()
        self._looking = threading.Lock()
        signal.signal(signal.SIGTERM, lambda _number, _frame: self._told.set())
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def start(self, slots: int, threads: int, device: str, old: Sequence[Mapping[str, Any]], scratch: str) -> None:
        """Start this node's workers of another attempt."""
        self._agent = self._agent or NodeAgent(Path(scratch) if scratch else None)
        self._agent.start(slots, threads, device, [ProcessId.model_validate(process) for process in old])

    def adopt(self, scratch: str, folders: Sequence[str], threads: int, device: str) -> None:
        """Take over standbys that the controller started on this node."""
        self._agent = NodeAgent(Path(scratch))
        self._agent.adopt(folders, threads, device)

    def warm(self) -> None:
        """Make workers for the next attempt ready."""
        self._node().warm()

    def stand_by(self, slots: int, threads: int, device: str) -> None:
        """Make workers ready on a node that runs none."""
        self._agent = self._agent or NodeAgent()
        self._agent.stand_by(slots, threads, device)

    def told(self) -> dict[str, Any] | None:
        """Return what the cloud says of this node's machine; None where nobody asks it."""
        return None if self._probe is None else self._probe.told.model_dump()

    def process(self) -> dict[str, Any]:
        """Return what the operating system calls this actor."""
        return process_id().model_dump()

    def deliver(self, letter: str, contents: Mapping[int, dict[str, Any]]) -> None:
        """Put a letter into the mailboxes of some slots."""
        self._node().deliver(letter, contents)

    def poll(self) -> list[dict[str, Any]]:
        """Return what is new of all workers."""
        with self._looking:
            return [report.model_dump() for report in self._node().poll()]

    def bring(self, run_dir: str, keys: Sequence[str]) -> None:
        """Bring files that workers here write along to the run's store."""
        self._node().bring(run_dir, keys)

    def dump_stacks(self) -> None:
        """Let every worker that can write down where its threads are."""
        self._node().dump_stacks()

    def end(self, grace_s: float) -> bool:
        """End all workers; return whether they are gone."""
        return self._node().end(grace_s)

    def close(self) -> None:
        """End what is left and remove what was made here."""
        if self._agent is not None:
            self._agent.close()

    def _node(self) -> NodeAgent:
        assert self._agent is not None, "start or adopt comes first"
        return self._agent

    def _watch(self) -> None:
        """Leave in good order when told to or when the raylet is gone: no other process would end these workers."""
        while not self._told.wait(WATCH_S) and os.getppid() == self._raylet:
            pass
        if self._agent is not None:
            self._drain(self._agent)
        os._exit(0)

    def _drain(self, agent: NodeAgent) -> None:
        request = StopRequested(reason="orphaned", deadline=time.time() + ORPHAN_GRACE_S)
        deadline = time.monotonic() + ORPHAN_GRACE_S
        processes = agent.processes()
        agent.deliver("stop", {slot: request.model_dump(mode="json") for slot in range(len(processes))})
        while any(process.alive() for process in processes) and time.monotonic() < deadline:
            time.sleep(0.05)
        # Never let go: a look between the removal of the mailboxes and this process's end would find workers that have
        # left with nothing to say, and a run that was not asked to stop would stop.
        self._looking.acquire()
        agent.close()


class RemoteAgent:
    """The controller's side of one node's actor."""

    def __init__(self, node_id: str, resources: Mapping[str, float], scratch: Path | None = None,
                 heed: Callable[[], None] = lambda: None, spot: SpotWish | None = None) -> None:
        self.node_id, self._scratch = node_id, str(scratch or "")
        self._heed = heed
        """Called again and again while it waits for long; what that raises ends the wait."""
        self._answered = False
        self._standing: Any = None
        self._asked: Any = None
        self._told: Told | None = Told()
        # A restarted actor would come back without its workers: losing one is the controller's to judge.
        made = ray.remote(RayNodeAgent).options(
            num_cpus=resources.get("CPU", 0), num_gpus=resources.get("GPU", 0), max_restarts=0, max_task_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False))
        self._actor = made.remote(spot)

    def ready(self, timeout_s: float) -> ProcessId:
        """Wait until the actor is placed and return its process. Raises AgentLost."""
        process = ProcessId.model_validate(self._call("process", timeout_s=timeout_s, heeding=True))
        self._answered = True
        return process

    def answers(self) -> bool:
        """Return whether the actor lives."""
        with suppress(AgentLost):
            self._answered = bool(self._call("process", timeout_s=PING_S))
        return self._answered

    def adopt(self, scratch: Path, folders: Sequence[str], threads: int, device: str) -> None:
        """Hand standbys over; afterwards the controller may let go of them."""
        self._call("adopt", str(scratch), list(folders), threads, device)

    def start(self, slots: int, threads: int, device: str, old: Sequence[ProcessId] = ()) -> None:
        """Start the node's workers, once old ones that are still there are gone."""
        self._call("start", slots, threads, device, [process.model_dump() for process in old], self._scratch,
                   timeout_s=ORPHAN_GRACE_S + CALL_TIMEOUT_S, heeding=True)

    def warm(self) -> None:
        """Make workers for the next attempt ready."""
        self._call("warm")

    def stand_by(self, slots: int, threads: int, device: str) -> None:
        """Make workers ready on a node that runs none. Does not wait, neither for the actor's place nor for them."""
        self._standing = cast(Any, self._actor).stand_by.remote(slots, threads, device)

    def ask(self) -> Any:
        """Have the node tell what its cloud says of it; return what to wait for, None where nobody asks the cloud."""
        if self._asked is None and self._told is not None:
            self._asked = cast(Any, self._actor).told.remote()
        return self._asked

    def told(self) -> Told | None:
        """Return what the cloud says of the node, as far as the node has answered; None where nobody asks the cloud."""
        with suppress(RayError):
            if self._asked is not None and ray.wait([self._asked], timeout=0)[0]:
                answer, self._asked = self._asked, None
                found = ray.get(answer)
                self._told = None if found is None else Told.model_validate(found)
        return self._told

    def deliver(self, letter: str, contents: Mapping[int, dict[str, Any]]) -> None:
        """Put a letter into the mailboxes of some slots."""
        self._call("deliver", letter, dict(contents))

    def poll(self) -> list[SlotReport]:
        """Return what is new of all workers."""
        return [SlotReport.model_validate(report) for report in self._call("poll")]

    def bring(self, run_dir: str, keys: Sequence[str]) -> None:
        """Bring files that workers there write along to the run's store."""
        self._call("bring", run_dir, list(keys))

    def dump_stacks(self) -> None:
        """Let every worker that can write down where its threads are."""
        self._call("dump_stacks")

    def end(self, grace_s: float) -> bool:
        """End all workers; return whether they are gone."""
        return bool(self._call("end", grace_s, timeout_s=grace_s + CALL_TIMEOUT_S))

    def close(self) -> None:
        """End the workers, then the actor. One that is gone already has ended its workers itself."""
        # One that was never placed still waits for its node and, like one that was found silent, answers nothing.
        with suppress(AgentLost):
            if self._answered or (self._standing is not None and ray.wait([self._standing], timeout=0)[0]):
                self._call("close")
        with suppress(RayError):
            ray.kill(cast(Any, self._actor))

    def _call(self, method: str, *arguments: Any, timeout_s: float = CALL_TIMEOUT_S, heeding: bool = False) -> Any:
        until = time.monotonic() + timeout_s
        try:
            answer = getattr(self._actor, method).remote(*arguments)
            while heeding and time.monotonic() < until and not ray.wait([answer], timeout=HEED_S)[0]:
                self._heed()
            return ray.get(answer, timeout=max(0.0, until - time.monotonic()))
        except (RayError, GetTimeoutError) as error:
            self._answered = False  # Closing it would wait as long again.
            raise AgentLost(f"the node's agent does not answer: {error}") from error


def ask_all(agents: Iterable[RemoteAgent]) -> None:
    """Have nodes tell what their clouds say of them. One that is slow, or has no place yet, is heard at the next look.
    """
    asked = [answer for agent in agents if (answer := agent.ask()) is not None]
    if asked:
        ray.wait(asked, num_returns=len(asked), timeout=ASK_S)

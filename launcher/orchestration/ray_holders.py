"""The nodes' copy holders as Ray actors, and the ring that the controller makes of them.

Importing it imports Ray. Nothing here is waited for but the question where copies are, which is asked once before an
attempt and has an end: a node without a holder, or with a dead one, costs its ranks a trip to the store.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from launcher.core.peer_copies import Holding, Mark, Peer, before
from launcher.orchestration.copy_holder import CopyHolder, Duty

log = logging.getLogger(__name__)

ANSWER_S = 2.0
"""For what takes a millisecond: a node that is silent must not hold up a restart."""


class HolderActor:
    """Runs inside the actor."""

    def __init__(self, run_dir: str) -> None:
        self._holder = CopyHolder(run_dir, ray.util.get_node_ip_address())

    def peer(self) -> dict[str, Any]:
        """Return where this node's copies are had."""
        return self._holder.peer.model_dump()

    def keep(self, duty: dict[str, Any]) -> None:
        """Keep these from now on."""
        self._holder.keep(Duty.model_validate(duty))

    def holding(self, step: int) -> dict[str, Any]:
        """Return what is here of a step."""
        return self._holder.holding(step).model_dump()


class RemoteHolder:
    """The controller's side of one node's holder."""

    def __init__(self, node_id: str, run_dir: str) -> None:
        # It takes nothing of what Ray counts: it is there beside whatever else a node does.
        made = ray.remote(HolderActor).options(
            num_cpus=0, num_gpus=0, max_restarts=0, max_task_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False))
        self.actor = cast(Any, made.remote(run_dir))
        self.peer: Peer | None = None
        self._answer = self.actor.peer.remote()
        self._told = Duty()

    def lives(self) -> bool:
        """Take the answer to the last question if there is one; return whether the holder is not known to be gone."""
        if self._answer is None or not ray.wait([self._answer], timeout=0)[0]:
            return True
        try:
            found, self._answer = ray.get(self._answer), None
        except RayError as error:
            log.warning("a node's copies are not kept or served for now: %s", type(error).__name__)
            return False
        self.peer = self.peer or Peer.model_validate(found)
        return True

    def tell(self, duty: Duty) -> None:
        """Tell the holder what it keeps, if that is new. Does not wait."""
        if self.peer is not None and duty != self._told:
            self._answer, self._told = self.actor.keep.remote(duty.model_dump()), duty

    def close(self) -> None:
        """End the holder; the system frees what it kept."""
        with suppress(RayError):
            ray.kill(self.actor)


class Holders:
    """All holders of a run, by Ray's ids of their nodes."""

    def __init__(self) -> None:
        self._held: dict[str, RemoteHolder] = {}
        self._ring: tuple[str, ...] = ()
        self._saved: Mark | None = None

    def hold(self, run_dir: str, ring: Sequence[str]) -> None:
        """Have the nodes of this ring keep each other's copies. Cheap, and waits for nothing.

        Those of nodes that are not in it any more stay until something newer is saved: they may be all that is left.
        """
        self._ring = tuple(ring)
        for key in [key for key, holder in self._held.items() if not holder.lives()]:
            self._held.pop(key).close()
        for key in self._ring if len(self._ring) > 1 else ():
            if key not in self._held:
                self._held[key] = RemoteHolder(key, run_dir)
        self._tell()

    def saved(self, mark: Mark) -> None:
        """Have what was written of this checkpoint kept, which is committed."""
        self._saved = mark
        for key in set(self._held) - set(self._ring if len(self._ring) > 1 else ()):
            self._held.pop(key).close()
        self._tell()

    def holdings(self, step: int) -> tuple[Holding, ...]:
        """Return who has what of a step; those who do not answer at once have nothing."""
        asked = [holder.actor.holding.remote(step) for holder in self._held.values()]
        answered = ray.wait(asked, num_returns=len(asked), timeout=ANSWER_S)[0] if asked else []
        found: list[Holding] = []
        for answer in answered:
            with suppress(RayError):
                found.append(Holding.model_validate(ray.get(answer)))
        return tuple(holding for holding in found if holding.files)

    def close(self) -> None:
        """End them all."""
        while self._held:
            self._held.popitem()[1].close()

    def _tell(self) -> None:
        for key, neighbour in before(self._ring).items():
            if key in self._held and neighbour in self._held and (peer := self._held[neighbour].peer) is not None:
                self._held[key].tell(Duty(before=peer, saved=self._saved))

"""Copies of checkpoints in other nodes' memory: who keeps whose, how much of it, and who is told where they are.

Decides from what is there alone. How copies travel is `storage.peer_server` and `storage.peer_source`, who makes them
`orchestration.copy_holder`. Which checkpoint counts is told by manifests in the store.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import Field

from launcher.core.document import Document

SHARE = 0.5
"""Of the memory that is free on a node: more is never taken for copies, because training may need it next."""

Mark = tuple[int, int]
"""Attempt and step of a checkpoint."""


class Kept(NamedTuple):
    """One file of a checkpoint, wherever a node keeps it."""

    attempt: int
    step: int
    name: str
    """As the rank that wrote it called it."""

    @property
    def mark(self) -> Mark:
        """Return of which checkpoint it is."""
        return self.attempt, self.step


class Peer(Document):
    """Where a node's copies are had by other nodes of its run."""

    address: str
    port: int
    token: str = Field(repr=False)
    """Known to this run's processes alone."""


class Holding(Document):
    """What a peer has of one step, so that nobody asks it for what it has not."""

    peer: Peer
    step: int
    files: dict[str, int]
    """Names, as the manifest has them, and bytes."""


@dataclass(frozen=True, slots=True)
class Errand:
    """What a node does about the copies that it keeps for the node before it."""

    fetch: tuple[Kept, ...]
    first: frozenset[Mark] = frozenset()
    """Dropped before anything is fetched: there is no room for both."""
    then: frozenset[Mark] = frozenset()
    """Dropped once everything is here."""
    too_large: bool = False
    """There is no room for it at all."""


def before(ring: Sequence[str]) -> dict[str, str]:
    """Return whose copies each node keeps: those of the one before it; nobody's where there is one node alone."""
    return {node: ring[at - 1] for at, node in enumerate(ring)} if len(ring) > 1 else {}


def errand(held: Mapping[Kept, int], there: Mapping[Kept, int], saved: Mark, free: int) -> Errand:
    """Return what to fetch of what is `there` and to drop of what is `held`, both with their bytes, once `saved` is
    committed and so much memory is free.

    What is older stays until the newer is here, while there is room for both. Without room it goes first: it would be
    of use only if a committed checkpoint turned out to be damaged.
    """
    old = frozenset(kept.mark for kept in held if kept.mark != saved)
    missing = tuple(sorted(kept for kept in there if kept.mark == saved and kept not in held))
    size, freed = sum(there[kept] for kept in missing), sum(held[kept] for kept in held if kept.mark in old)
    if size <= SHARE * free:
        return Errand(missing, then=old)
    if size <= SHARE * (free + freed):
        return Errand(missing, first=old)
    return Errand((), first=old, too_large=True)

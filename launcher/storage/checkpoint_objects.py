"""Checkpoints in an object store: files are written to this node's disk, uploaded, and the manifest is put last.
What was written here stays for a while (`checkpoint_copies`).

    checkpoints/step-00001200/003-rank-000.bin    attempt 3's files of a step: those of two attempts never mix
    checkpoints/step-00001200/manifest.json       put last, and only if absent: the checkpoint exists
    checkpoints/fence-004.json                    attempt 4 has begun, and knew these checkpoints
    checkpoints/.rejected/step-00001200-0/        manifests found damaged, kept for people to look at

Names of files stand in the manifest, so a run that is copied between a folder and a store is read there as it is.

No object can be renamed away from under somebody who is believed dead and is not. So a fence also lists what had been
committed when its attempt chose what to continue from: of the attempts before it nothing else counts, however late it
comes.
"""

import errno
import json
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from launcher.core.peer_copies import Holding
from launcher.storage.checkpoint_copies import Copies
from launcher.storage.checkpoint_folders import taken_over
from launcher.storage.checkpoint_medium import attempt_of, called, step_in, step_name
from launcher.storage.checkpoint_place import MANIFEST, Place
from launcher.storage.files import parts_of
from launcher.storage.objects.flow import Flow
from launcher.storage.peer_source import Peers
from launcher.storage.sources import ObjectSource, Source, absent
from launcher.storage.store import Store
from launcher.storage.upload_rate import paced, upload_rate

REJECTED, COPIES = ".rejected", ".copies"

Mark = tuple[int, int]
"""Step and attempt of a checkpoint; attempt 0 for one that was copied from a folder."""
Fences = Mapping[int, frozenset[Mark] | None]
"""What counted before each attempt that began; None where that is not known yet."""


class Objects:
    """The checkpoints of one run in a store."""

    def __init__(self, store: Store, prefix: str, folder: Path, holdings: Sequence[Holding] = ()) -> None:
        """Take the store, what keys of checkpoints begin with, a folder on this node for files being written, and what
        other nodes keep."""
        self.url = f"{store.url}/{prefix}"
        self._store, self._prefix, self._staging = store, prefix, folder / ".staging"
        self._copies, self._peers = Copies(folder / COPIES), Peers(holdings)
        self._fences: dict[int, frozenset[Mark] | None] = {}
        self._uploads = Flow(upload_rate())

    def fence(self, attempt: int) -> None:
        """Put up a fence, and list behind it what counts of the attempts before."""
        key = f"{self._prefix}/fence-{attempt:03d}.json"
        self._store.put(key, json.dumps({"known": None}).encode())
        # Looked at once the fence is up: what comes after this look does not count, what came before is listed.
        known = sorted(mark for mark in self._counting() if mark[1] < attempt)
        self._store.put(key, json.dumps({"known": known}).encode())
        for folder in self._staging.glob("[0-9]*"):
            if int(folder.name) < attempt:
                shutil.rmtree(folder, ignore_errors=True)

    def staging(self, attempt: int, step: int) -> Path:
        """Return the folder on this node in which an attempt writes files of a step."""
        return self._staging / f"{attempt:03d}" / step_name(step)

    def open_staging(self, attempt: int, step: int) -> Path:
        """Make the folder on this node. Raises OSError if a later attempt has begun."""
        self._require_latest(attempt)
        self._copies.make_room(attempt, step)
        folder = self.staging(attempt, step)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def publish(self, attempt: int, step: int, name: str) -> str:
        """Upload a file and return what it is called there; here it becomes a copy."""
        path, named = self.staging(attempt, step) / name, called(attempt, name)
        self._store.put(f"{self._of(step)}{named}", paced(parts_of(path), self._uploads))
        self._copies.keep(path, attempt, step)
        return named

    def discard(self, attempt: int, step: int) -> None:
        """Remove what an attempt wrote of a step, here and in the store."""
        self._copies.drop(attempt, step)
        shutil.rmtree(self.staging(attempt, step), ignore_errors=True)
        self._remove(f"{self._of(step)}{attempt:03d}-")

    def commit(self, attempt: int, step: int, manifest: bytes) -> None:
        """Put the manifest. Raises OSError if a later attempt has begun."""
        self._require_latest(attempt)
        key = f"{self._of(step)}{MANIFEST}"
        if not self._store.put_if_absent(key, manifest):
            # Of another lineage, since this attempt continued from an earlier step; or a dead one's, come late.
            self._put_aside(step)
            if not self._store.put_if_absent(key, manifest):
                raise OSError(errno.EEXIST, f"step {step} is being committed by somebody else, too")
        shutil.rmtree(self.staging(attempt, step), ignore_errors=True)

    def steps(self) -> list[int]:
        """Return the steps with a manifest that counts: without one there is no checkpoint."""
        return [step for step, _ in self._counting()]

    def committed(self) -> list[int]:
        """Return the same."""
        return self.steps()

    def place(self, step: int) -> Place:
        """Return where the checkpoint of a step lies."""
        return _Objects(self._store, self._of(step), self._copies, self._peers, step)

    def reject(self, step: int) -> None:
        """Take the manifest of a step out of the run and keep it; its files stay where they are."""
        self._put_aside(step)

    def rejected(self) -> list[str]:
        """Return the names of those that were put aside."""
        prefix = f"{self._prefix}/{REJECTED}/"
        return sorted({key.removeprefix(prefix).partition("/")[0] for key in self._store.list(prefix)})

    def delete(self, step: int) -> None:
        """Remove a checkpoint: its manifest first, then it is none any more."""
        self._store.delete(f"{self._of(step)}{MANIFEST}")
        self._remove(self._of(step))

    def forget_copies(self) -> None:
        """Free this node of what it keeps for a restart."""
        self._copies.forget()

    def sweep(self) -> None:
        """Remove files of attempts that are over and of which no manifest tells."""
        files, counting = self._files(), self._counting()
        kept, last = counting | self._rejected_marks(), max(self._seen_fences(), default=0)
        for step, names in files.items():
            if MANIFEST in names and step not in {step for step, _ in counting}:
                self._store.delete(f"{self._of(step)}{MANIFEST}")  # A dead attempt's, come late.
            for name in names - {MANIFEST}:
                if attempt_of(name) < last and (step, attempt_of(name)) not in kept:
                    self._store.delete(f"{self._of(step)}{name}")
        self._store.sweep(f"{self._prefix}/")

    def _of(self, step: int) -> str:
        return f"{self._prefix}/{step_name(step)}/"

    def _files(self) -> dict[int, set[str]]:
        """Return the names of the files of every step."""
        found: dict[int, set[str]] = defaultdict(set)
        for key in self._store.list(f"{self._prefix}/step-"):
            folder, _, name = key.removeprefix(f"{self._prefix}/").partition("/")
            if (step := step_in(folder)) is not None:
                found[step].add(name)
        return found

    def _counting(self) -> set[Mark]:
        """Return the checkpoints that count: those that the first fence behind their attempt knows, or that have none.
        """
        fences = self._seen_fences()
        marks = {self._mark(step, names) for step, names in self._files().items() if MANIFEST in names}
        return {mark for mark in marks if mark is not None and counts(mark, fences)}

    def _mark(self, step: int, names: set[str]) -> Mark | None:
        """Return which attempt's a manifest is: mostly its files tell; None if it is gone by now."""
        attempts = {attempt_of(name) for name in names - {MANIFEST}}
        if len(attempts) == 1:
            return step, attempts.pop()
        with suppress(KeyError, ValueError):  # What is no manifest is found to be damaged by who reads it.
            return step, int(json.loads(self._store.get(f"{self._of(step)}{MANIFEST}"))["attempt"])
        return (step, 0) if self._store.exists(f"{self._of(step)}{MANIFEST}") else None

    def _seen_fences(self) -> Fences:
        prefix = f"{self._prefix}/fence-"
        for key in self._store.list(prefix):
            attempt = int(key.removeprefix(prefix).removesuffix(".json"))
            if self._fences.get(attempt) is None:
                told = json.loads(self._store.get(key))["known"]
                self._fences[attempt] = None if told is None else frozenset((step, by) for step, by in told)
        return self._fences

    def _require_latest(self, attempt: int) -> None:
        if (newest := max(self._seen_fences(), default=0)) > attempt:
            raise taken_over(newest, attempt)

    def _put_aside(self, step: int) -> None:
        mark, key = self._mark(step, self._files()[step]), f"{self._of(step)}{MANIFEST}"
        if mark is None:
            return
        aside, name = set(self.rejected()), step_name(step)
        place = next(f"{name}-{number}" for number in range(10**6) if f"{name}-{number}" not in aside)
        self._store.put(f"{self._prefix}/{REJECTED}/{place}/{mark[1]:03d}-{MANIFEST}", self._store.get(key))
        self._store.delete(key)

    def _rejected_marks(self) -> set[Mark]:
        """Return of which attempts' steps the manifest was put aside: their files are kept as well."""
        found: set[Mark] = set()
        for key in self._store.list(f"{self._prefix}/{REJECTED}/"):
            folder, _, name = key.removeprefix(f"{self._prefix}/{REJECTED}/").partition("/")
            if (step := step_in(folder.rpartition("-")[0])) is not None:
                found.add((step, attempt_of(name)))
        return found

    def _remove(self, prefix: str) -> None:
        for key in list(self._store.list(prefix)):
            self._store.delete(key)


def counts(mark: Mark, fences: Fences) -> bool:
    """Return whether a manifest was committed before the next attempt chose what to continue from.

    A fence that lists nothing yet belongs to an attempt that has not chosen.
    """
    behind = [attempt for attempt, known in fences.items() if attempt > mark[1] and known is not None]
    return not behind or mark in (fences[min(behind)] or ())


@dataclass(frozen=True, slots=True)
class _Objects:
    """One checkpoint's objects."""

    store: Store
    prefix: str
    copies: Copies
    peers: Peers
    step: int

    def get(self, name: str) -> bytes:
        try:
            return self.store.get(f"{self.prefix}{name}")
        except KeyError:
            raise absent(self.store, f"{self.prefix}{name}") from None

    def size(self, name: str) -> int:
        return self.source(name).size()

    def source(self, name: str) -> Source:
        return ObjectSource(self.store, f"{self.prefix}{name}")

    def near(self, name: str) -> Iterator[Source]:
        attempt = attempt_of(name)
        if attempt and (copy := self.copies.find(attempt, self.step, name.partition("-")[2])) is not None:
            yield copy
        yield from self.peers.find(self.step, name)

"""What happened and nobody journalled: a controller that dies takes with it what its workers told it last.

Whatever a committed checkpoint proves is journalled before anything goes on from it, marked `recovered`: the commit
itself, and the last events before it, which the manifest carries.
"""

from collections.abc import Iterator
from typing import Any

from launcher.core.events import CheckpointCommitted
from launcher.core.manifest import Manifest
from launcher.storage.checkpoints import Checkpoints
from launcher.storage.journal import Journal, read_journal
from launcher.storage.run_dir import RunDir
from launcher.storage.slice_files import Damaged


def journal_unsaid(run: RunDir, checkpoints: Checkpoints, journal: Journal) -> list[dict[str, Any]]:
    """Journal what the newest checkpoint proves and the journal lacks, in order; return it."""
    step = max(checkpoints.committed(), default=0)
    if step == 0:
        return []
    try:
        manifest = checkpoints.manifest(step)
    except Damaged:
        return []  # It will be rejected, and tells nothing.
    # By the moment too: a step that was gone back over is committed a second time.
    known = {_mark(event) for event in read_journal(run)
             if event["event"] != "checkpoint_committed" or event["time"] >= manifest.committed_at}
    unsaid = [event for event in _proven(manifest) if _mark(event) not in known]
    if all(event["event"] != "checkpoint_committed" for event in unsaid):
        return []
    return [journal.append(event, durable=True) for event in unsaid]


def _proven(manifest: Manifest) -> Iterator[dict[str, Any]]:
    """Yield what a manifest proves, in order."""
    for event in manifest.recent:
        yield {**event, "recovered": True}
    committed = CheckpointCommitted(step=manifest.step, kind=manifest.kind, seconds=0.0, blocked_seconds=0.0,
                                    bytes=manifest.bytes, time=manifest.committed_at, attempt=manifest.attempt)
    yield {**committed.model_dump(mode="json"), "recovered": True}


def _mark(event: dict[str, Any]) -> tuple[str, int | None, float]:
    """Return what tells an event from others: commits are told by their step, everything else by its moment too."""
    name = event["event"]
    return name, event.get("step"), 0.0 if name == "checkpoint_committed" else float(event["time"])

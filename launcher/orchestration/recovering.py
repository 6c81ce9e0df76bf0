"""What happened and nobody journalled: a controller that dies takes with it what its workers told it last.

Whatever a committed checkpoint proves is journalled before anything goes on from it, marked `recovered`: the commit
itself, and the last events before it, which the manifest carries.
"""

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
    told = list(read_journal(run))
    if any(_is_commit_of(manifest, event) for event in told):
        return []
    known = set(map(_mark, told))
    unsaid = [event for event in manifest.recent if _mark(event) not in known]
    return [journal.append({**event, "recovered": True}, durable=True) for event in (*unsaid, _commit_of(manifest))]


def _commit_of(manifest: Manifest) -> dict[str, Any]:
    """Return the event that the manifest itself proves."""
    committed = CheckpointCommitted(step=manifest.step, kind=manifest.kind, seconds=0.0, blocked_seconds=0.0,
                                    bytes=manifest.bytes, time=manifest.committed_at, attempt=manifest.attempt)
    return committed.model_dump(mode="json")


def _is_commit_of(manifest: Manifest, event: dict[str, Any]) -> bool:
    """Return whether an event tells of this manifest's commit, and not of one of the same step that the run went back
    over."""
    of_step = event["event"] == "checkpoint_committed" and event["step"] == manifest.step
    return of_step and event["time"] >= manifest.committed_at


def _mark(event: dict[str, Any]) -> tuple[str, int | None, float]:
    """Return what tells an event from others."""
    return event["event"], event.get("step"), float(event["time"])

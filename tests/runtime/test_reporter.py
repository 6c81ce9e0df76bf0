"""What a worker tells of its own end."""

from pathlib import Path

import pytest

from launcher.core.errors import Diverged, PlatformError, UserError
from launcher.core.events import CheckpointFailed
from launcher.runtime.reporter import Reporter
from launcher.storage.mailbox import Mailbox


def told(folder: Path, error: BaseException) -> tuple[str, str, str]:
    mailbox = Mailbox(folder / "w").create()
    try:
        raise error
    except type(error) as caught:
        Reporter(mailbox).failed(caught)
    failure = mailbox.take_events()[0]
    return failure["kind"], failure["message"], failure["traceback"]


@pytest.mark.parametrize(("error", "kind"), [
    (PlatformError("3 checkpoints in a row could not be saved"), "storage"), (UserError("no such model"), "bad_input"),
    (Diverged("the loss is up"), "divergence")])
def test_what_is_known_to_go_wrong_is_one_message(tmp_path: Path, error: Exception, kind: str) -> None:
    assert told(tmp_path, error) == (kind, str(error), "")


def test_a_full_disk_is_one_message_that_names_it(tmp_path: Path) -> None:
    assert told(tmp_path, OSError(28, "No space left on device", "/runs/x/model")) == (
        "storage", "/runs/x/model: No space left on device; make room and give the same command again", "")


@pytest.mark.parametrize(("error", "kind"), [
    (OSError(5, "Input/output error"), "storage"), (ConnectionError("reset"), "worker_crash"),
    (MemoryError(), "out_of_memory"), (ValueError("boom"), "worker_crash")])
def test_what_is_not_known_comes_with_its_traceback(tmp_path: Path, error: Exception, kind: str) -> None:
    found, message, traceback = told(tmp_path, error)
    assert found == kind and message.startswith(f"{type(error).__name__}:")
    assert "Traceback" in traceback and "raise error" in traceback


def test_a_checkpoint_carries_whatever_nobody_is_known_to_have_heard(tmp_path: Path,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("time.time", lambda: clock[0])
    starter = Mailbox(tmp_path / "w").create()
    reporter = Reporter(Mailbox(tmp_path / "w"))

    def train(seconds: int) -> None:
        for _ in range(seconds):
            clock[0] += 1.0
            reporter.event(CheckpointFailed(step=int(clock[0]), reason="full"))

    def look() -> None:
        starter.take_events()
        starter.confirm()

    train(100)
    look()
    assert len(reporter.recent()) == 100, "taken, and perhaps lost on the way"
    train(1)
    look()
    # The second look says that the first has arrived; its last seconds may still be lost with the journal's machine.
    assert [event["step"] for event in reporter.recent()] == [*range(1081, 1102)]
    train(90)
    assert [event["step"] for event in reporter.recent()] == [*range(1081, 1192)], "its node is cut off"

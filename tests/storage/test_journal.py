"""The journal on a disk that fills up: nothing is lost, doubled or torn, whoever writes next."""

import errno
from pathlib import Path
from typing import Any

import pytest

from launcher.storage import journal as journal_module
from launcher.storage.journal import Journal, keep_unsaid, read_journal, unsaid_in
from launcher.storage.run_dir import RunDir


class Disk:
    """Has no room for the journal's lines while it is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room = 10**6
        """Lines that still fit."""
        self._append = journal_module.append_whole
        monkeypatch.setattr(journal_module, "append_whole", self.append_whole)

    def append_whole(self, descriptor: int, data: bytes) -> None:
        if self.room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= 1
        self._append(descriptor, data)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def event(number: int) -> dict[str, Any]:
    return {"event": "step", "step": number}


def steps(run: RunDir) -> list[int]:
    return [told["step"] for told in read_journal(run)]


def test_what_finds_no_room_is_written_in_order_once_there_is_some(tmp_path: Path, disk: Disk) -> None:
    run = RunDir(tmp_path)
    journal = Journal(run, 1)
    journal.append(event(1), durable=True)
    disk.room = 1  # The attempt's own segment gets this line, the whole journal does not.
    journal.append(event(2), durable=True)
    journal.append(event(3))
    assert steps(run) == [1] and [told["step"] for told in journal.unsaid] == [2, 3]
    disk.room = 100
    journal.append(event(4))
    journal.close()
    assert steps(run) == [1, 2, 3, 4] and journal.unsaid == []
    assert (tmp_path / "attempts/001/journal.jsonl").read_bytes() == (tmp_path / "journal.jsonl").read_bytes()


def test_the_next_attempt_writes_what_the_one_before_could_not(tmp_path: Path, disk: Disk) -> None:
    run = RunDir(tmp_path)
    journal = Journal(run, 1)
    disk.room = 0
    journal.append(event(1))
    following = journal.next(2)
    disk.room = 100
    following.append(event(2))
    following.close()
    assert [(told["attempt"], told["step"]) for told in read_journal(run)] == [(1, 1), (2, 2)]


def test_last_words_without_room_are_left_to_the_command(tmp_path: Path, disk: Disk) -> None:
    journal = Journal(RunDir(tmp_path / "run"), 1)
    disk.room = 0
    journal.append({"event": "run_ended", "outcome": "failed", "exit_code": 76})
    journal.close()
    assert unsaid_in(tmp_path) == []
    keep_unsaid(tmp_path, journal.unsaid)
    assert [told["exit_code"] for told in unsaid_in(tmp_path)] == [76]


def test_what_is_wrong_with_a_disk_besides_room_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_descriptor: int, _data: bytes) -> None:
        raise OSError(errno.EIO, "Input/output error")

    journal = Journal(RunDir(tmp_path), 1)
    monkeypatch.setattr(journal_module, "append_whole", broken)
    with pytest.raises(OSError, match="Input/output"):
        journal.append(event(1))

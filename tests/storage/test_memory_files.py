"""Files in memory, and how much of it is free: the machine's, or what a container may still take."""

import os
from pathlib import Path

import psutil
import pytest

from launcher.storage import memory_files
from launcher.storage.memory_files import MemoryFile, free_memory


def test_a_reader_keeps_what_is_dropped_meanwhile() -> None:
    file = MemoryFile("x")
    file.append(b"some")
    file.append(b"thing")
    reader = file.open()
    file.close()
    assert os.pread(reader, 100, 0) == b"something" and file.bytes == 9
    os.close(reader)


@pytest.mark.parametrize(("limit", "used", "left"), [("1000", "400", 600), ("1000", "1200", 0), ("max", "400", None),
                                                     (None, None, None), ("9223372036854771712", "400", None)])
def test_a_container_may_take_what_its_limit_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str | None,
                                                    used: str | None, left: int | None) -> None:
    paths = tmp_path / "limit", tmp_path / "used"
    for path, text in zip(paths, (limit, used), strict=True):
        if text is not None:
            path.write_text(f"{text}\n")
    monkeypatch.setattr(memory_files, "_CGROUPS", ((str(paths[0]), str(paths[1])),))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 5000})())
    assert free_memory() == (5000 if left is None else left)

"""Files that cannot be written whole: nothing is left, and the message says which it was."""

import resource

import pytest

from launcher.storage.store import LocalStore


@pytest.fixture
def little_space():
    """No file may grow beyond some bytes, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_names_the_file_and_keeps_the_old_one(tmp_path, little_space):
    store = LocalStore(tmp_path)
    store.put("a/b", b"old")
    with pytest.raises(OSError) as caught:
        store.put("a/b", (b"x" * 4000 for _ in range(3)))
    assert caught.value.filename == str(tmp_path / "a/b")
    assert store.get("a/b") == b"old" and [path.name for path in (tmp_path / "a").iterdir()] == ["b"]

"""A directory for a person is whole, or it is not there; what is theirs is left alone."""

from pathlib import Path

import pytest

from launcher.core.errors import UserError
from launcher.storage.new_directory import MARKER, new_directory


@pytest.mark.parametrize("there", [False, True])
def test_a_failure_leaves_what_was_there_before(tmp_path: Path, there: bool) -> None:
    out = tmp_path / "deep/out"
    if there:
        out.mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt), new_directory(out):
        (out / "shard").write_text("half")
        (out / "more").mkdir()
        raise KeyboardInterrupt
    assert out.exists() == there and (not there or not list(out.iterdir()))
    with new_directory(out):
        (out / "shard").write_text("whole")
    assert [path.name for path in out.iterdir()] == ["shard"]


def test_what_a_killed_command_left_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for name in (MARKER, "shard"):
        (tmp_path / "out" / name).touch()
    with new_directory(tmp_path / "out"):
        assert [path.name for path in (tmp_path / "out").iterdir()] == [MARKER]
    assert not list((tmp_path / "out").iterdir())


def test_what_is_not_free_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").write_text("precious")
    for name, reason in (("full", "is not empty"), ("full/mine", "is a file"), ("full/mine/out", "cannot be written")):
        with pytest.raises(UserError, match=f"{name}: {reason}"), new_directory(tmp_path / name):
            pytest.fail("nothing may be written")
    assert (tmp_path / "full/mine").read_text() == "precious"

"""The exchange of files in a folder that machines should share."""

from pathlib import Path

import pytest

from launcher.platforms import folder_facts


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write little and wait little."""
    for name, value in (("SIZE", 2**20), ("FIRST_S", 0.0), ("SEE_S", 0.0), ("POLL_S", 0.01)):
        monkeypatch.setattr(folder_facts, name, value)


def test_machines_that_share_a_folder_see_each_others_files_and_nothing_stays(tmp_path: Path) -> None:
    folder_facts.put(str(tmp_path), "n")
    found = [folder_facts.write(str(tmp_path), "n", name) for name in ("a", "b")]
    assert all(each.same and not each.problem and each.bytes_s and each.free for each in found)
    assert folder_facts.see(str(tmp_path), "n", ("a", "b")) == ()
    assert folder_facts.see(str(tmp_path), "n", ("a", "c")) == ("c",)
    folder_facts.clear(str(tmp_path), "n")
    assert list(tmp_path.iterdir()) == []


def test_another_folder_under_the_same_path_is_found_out(tmp_path: Path) -> None:
    found = folder_facts.write(str(tmp_path), "n", "a")
    assert not found.same and found.bytes_s is None and list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_says_so(tmp_path: Path) -> None:
    assert folder_facts.write(str(tmp_path / "none"), "n", "a").problem == "No such file or directory"

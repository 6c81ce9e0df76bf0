"""`launcher doctor` on this machine alone, and what is said to who asks for what cannot be."""

import json
from pathlib import Path

import pytest

from launcher.cli.doctor import DoctorOptions, doctor
from launcher.core.errors import PlatformError, UserError
from launcher.platforms import folder_facts, machine_facts

PARTITION = "PartitionName=low Default=YES MaxTime=UNLIMITED PriorityTier=1 PreemptMode=OFF State=UP TotalNodes=2"


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sit in an empty folder, with a cache of its own, on a machine without a way out."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAUNCHER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(folder_facts, "SIZE", 2**20)
    monkeypatch.setattr(machine_facts, "HUB", ("127.0.0.1", 9))


def test_this_machine_is_looked_at_and_no_file_stays(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code = doctor(DoctorOptions(), as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert code == (1 if told["bad"] else 0) and told["facts"]["rules"] is None
    whats = [finding["what"] for finding in told["findings"]]
    assert any("torch" in what and "python" in what for what in whats)
    assert any(what.startswith(f"{tmp_path}: can be written") for what in whats)
    assert [path.name for path in tmp_path.rglob("*")] == ["cache"]


def test_the_table_ends_with_how_many_are_bad(capsys: pytest.CaptureFixture[str]) -> None:
    doctor(DoctorOptions(), as_json=False)
    printed = capsys.readouterr().out
    assert "this machine\n" in printed and "to be warned of" in printed.splitlines()[-2]


def test_what_is_for_a_cluster_needs_one() -> None:
    with pytest.raises(UserError, match=r"--nodes, --learn: only with --on slurm"):
        doctor(DoctorOptions(nodes=2, learn="x.env"), as_json=False)


def test_a_site_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "mine.env").write_text("SBATCH_QOS=high\n")
    with pytest.raises(UserError, match=r"--learn mine.env: is there already"):
        doctor(DoctorOptions(on="slurm", learn="mine.env"), as_json=False)
    assert (tmp_path / "mine.env").read_text() == "SBATCH_QOS=high\n"


def test_without_a_slurm_there_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(PlatformError, match=r"no such command here.*; type this where sbatch works"):
        doctor(DoctorOptions(on="slurm"), as_json=False)


def test_of_a_slurm_that_does_not_answer_its_last_words_are_told(monkeypatch: pytest.MonkeyPatch,
                                                                  tmp_path: Path) -> None:
    (tmp_path / "scontrol").write_text("#!/bin/sh\necho 'scontrol: error: one' >&2; echo 'scontrol: two' >&2; exit 1\n")
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(PlatformError, match=r"^no Slurm answers \(two\); type this"):
        doctor(DoctorOptions(on="slurm"), as_json=False)


@pytest.mark.parametrize("options,words", [
    (DoctorOptions(on="slurm", partitions=("lwo",)), "--partition lwo: there is no such partition; did you mean low"),
    (DoctorOptions(on="slurm", nodes=3), "--nodes 3: a job of partition low has 2 at most"),
    (DoctorOptions(on="slurm", within="soon"), "--within soon: 'soon' is not a duration"),
])
def test_a_mistake_is_told_before_any_job(options: DoctorOptions, words: str, tmp_path: Path,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scontrol").write_text(f"#!/bin/sh\necho {PARTITION}\n")
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(UserError, match=words):
        doctor(options, as_json=False)

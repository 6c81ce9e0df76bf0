"""How fast checkpoints are uploaded: as the environment says, and nothing else waits for them."""

import time

import pytest

from launcher.core.errors import UserError
from launcher.storage.checkpoints import Checkpoints, medium_of
from launcher.storage.run_dir import RunDir
from launcher.storage.upload_rate import NAME, upload_rate


@pytest.mark.parametrize(("said", "rate"), [("", None), ("50MB", 50_000_000), ("20MiB", 20 << 20), ("1M/s", 1_000_000)])
def test_a_rate_is_bytes_a_second(said, rate):
    assert upload_rate({NAME: said}) == rate


@pytest.mark.parametrize("said", ["fast", "0", "-1MB", "50 Mbit"])
def test_what_is_no_rate_is_told(said):
    with pytest.raises(UserError, match=NAME):
        upload_rate({NAME: said})


def test_files_of_checkpoints_wait_and_what_the_run_lives_by_does_not(bucket, monkeypatch, tmp_path):
    monkeypatch.setenv("LAUNCHER_SCRATCH", str(tmp_path))
    monkeypatch.setenv(NAME, "100kB")
    run = RunDir(bucket.url)
    medium = medium_of(run)
    folder = medium.open_staging(1, 4)
    begin = time.monotonic()
    for number in range(3):
        (folder / f"file-{number}").write_bytes(bytes(20_000))
        medium.publish(1, 4, f"file-{number}")
    assert time.monotonic() - begin >= 0.4  # the first begins at once
    monkeypatch.setenv(NAME, "100")
    medium = medium_of(run)
    (folder / "slow").write_bytes(bytes(20_000))
    medium.publish(1, 4, "slow")
    begin = time.monotonic()
    run.store.put("lease/1", b"")
    medium.commit(1, 4, b"{}")
    assert Checkpoints(run).steps() == [4] and time.monotonic() - begin < 100

"""What a machine says of itself."""

from pathlib import Path

import pytest

from launcher.core.site_facts import Gpu
from launcher.platforms.machine_facts import gpus, hub_cache, parse_gpus


def test_gpus_are_read_and_complaints_are_none() -> None:
    said = "NVIDIA H200, 143771, 570.86.15\nNVIDIA H200, [N/A], 570.86.15\nNVIDIA-SMI has failed, because, it\n"
    assert parse_gpus(said) == (Gpu(name="NVIDIA H200", memory=143771 * 2**20, driver="570.86.15"),)


def test_only_gpus_that_were_given_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nfor i in 1 2 3 4; do echo 'NVIDIA H200, 1000, 570'; done\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    given = ({}, {"CUDA_VISIBLE_DEVICES": "0,1"}, {"CUDA_VISIBLE_DEVICES": ""})
    assert [len(gpus(environment)) for environment in given] == [4, 2, 0]


def test_where_the_hub_keeps_its_files() -> None:
    assert hub_cache({"HF_HUB_CACHE": "/a", "HF_HOME": "/b"}) == Path("/a")
    assert hub_cache({"HF_HOME": "/b"}) == Path("/b/hub")
    assert hub_cache({}) == Path("~/.cache/huggingface/hub").expanduser()

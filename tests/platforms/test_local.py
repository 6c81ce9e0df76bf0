"""This machine as a node, on whatever machine the tests run, and on pretended ones."""

import os
from pathlib import Path

import pytest

from launcher.platforms import local


@pytest.fixture
def machine_with_gpus(tmp_path: Path, monkeypatch):
    """Put an nvidia-smi for four GPUs on the path."""
    command = tmp_path / "nvidia-smi"
    command.write_text("#!/bin/sh\nfor gpu in 1 2 3 4; do echo 81559; done\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_one_worker_per_gpu(machine_with_gpus):
    node = local.local_cluster().nodes[0]
    assert (node.slots, node.gpus, node.gpu_memory) == (4, 4, 81559 * 2**20)


@pytest.mark.parametrize(("visible", "gpus"), [("0,1", 2), ("1", 1), ("", 0), ("-1", 0)])
def test_only_visible_gpus_count(machine_with_gpus, monkeypatch, visible, gpus):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert local.local_cluster().nodes[0].gpus == gpus


def test_two_workers_without_a_gpu_and_any_number_on_request(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert local.local_cluster().slots == 2
    assert local.local_cluster(9).slots == 9


def test_cores_and_memory_are_what_this_process_may_use():
    node = local.local_cluster(1).nodes[0]
    assert 1 <= node.cores <= (os.cpu_count() or 1)
    assert 2**26 < node.memory <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

"""GPUs by name, and clusters as people write them."""

import pytest

from launcher.core.cluster_spec import hardware_of, parse_cluster
from launcher.core.errors import UserError
from launcher.core.hardware import GIB, GPUS, gpu_of_device


def test_every_gpu_can_be_written_as_a_cluster_and_has_sensible_figures():
    for name, gpu in GPUS.items():
        assert hardware_of(f"2x4x{name}") is gpu
        assert gpu.memory_bytes == int(name.rpartition("-")[2]) * GIB
        assert 8e12 < gpu.flops_32 < gpu.flops_16 < 3e15 and 2e11 < gpu.memory_bandwidth < 1e13, name
        assert gpu.host_link <= gpu.memory_bandwidth and gpu.link < gpu.memory_bandwidth, name
        assert gpu.price is None or 2026 - int(gpu.price.source[-10:-6]) <= 1, "a price says its date"


@pytest.mark.parametrize(("text", "nodes", "gpus", "gib"), [
    ("4x8xH100-80", 4, 8, 80), ("8xA100-40", 1, 8, 40), ("1x2xh200", 1, 2, 141), ("3x8", 3, 8, 0),
    ("2x4xRTX4090-24", 2, 4, 24), ("2x4xMI300X-192", 2, 4, 192), ("8xV100", 1, 8, 32)])
def test_a_cluster_is_nodes_gpus_kind_and_memory(text, nodes, gpus, gib):
    cluster = parse_cluster(text)
    assert (len(cluster.nodes), cluster.slots, cluster.nodes[0].gpu_memory) == (nodes, nodes * gpus, gib * GIB)


@pytest.mark.parametrize("text", ["", "8", "4x", "0x8xH100-80", "4x0xH100-80", "4x8x80", "4x8xH100-", "axb", "4 x 8"])
def test_what_is_no_cluster_is_refused_with_the_form(text):
    with pytest.raises(UserError, match="4x8xH100-80"):
        parse_cluster(text)


@pytest.mark.parametrize(("text", "told"), [("99999999999x8xH100-80", "at most 1,000,000"),
                                            ("1x8xH100-0", "without memory")])
def test_numbers_that_no_cluster_has_are_refused_at_once(text, told):
    with pytest.raises(UserError, match=told):
        parse_cluster(text)


def test_a_kind_that_is_not_known_has_no_figures():
    assert hardware_of("2x4xMI300X-192") is None and hardware_of("8xA100-64") is None and hardware_of("3x8") is None


@pytest.mark.parametrize(("said", "mib", "name"), [
    ("NVIDIA H200", 143771, "H200-141"), ("NVIDIA H100 80GB HBM3", 81559, "H100-80"),
    ("NVIDIA A100-SXM4-80GB", 81920, "A100-80"), ("NVIDIA A100-SXM4-40GB", 40960, "A100-40"),
    ("Tesla V100-SXM2-16GB", 16384, "V100-16"), ("NVIDIA GeForce RTX 4090", 24564, "RTX4090-24"),
    ("NVIDIA RTX A6000", 49140, "A6000-48"), ("NVIDIA L40S", 46068, "L40S-48"),
    ("NVIDIA A10G", 23028, "A10G-24"), ("Quadro P600", 2048, None)])
def test_drivers_names_are_known(said, mib, name):
    found = gpu_of_device(said, mib * 2**20)
    assert (found.name if found else None) == name

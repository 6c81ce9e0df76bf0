"""What a node of a Ray cluster has room for, by what Ray counts of it."""

import pytest

from launcher.orchestration.ray_cluster import _node


@pytest.mark.parametrize("resources,slots", [({"CPU": 96.0, "GPU": 8.0}, 8), ({"CPU": 96.0}, 2), ({"CPU": 2.0}, 2),
                                             ({"CPU": 1.0}, 1)])
def test_workers_of_a_node_are_its_gpus_and_without_any_two_or_as_many_as_the_run_has_cores(resources, slots):
    found = {"NodeID": "a", "NodeName": "node1", "NodeManagerAddress": "10.0.0.1", "Resources": resources}
    node = _node(found, alone=True)
    assert (node.slots, node.cores) == (slots, int(resources["CPU"]))

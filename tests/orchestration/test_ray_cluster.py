"""What is asked of a cluster beside what Ray tells. Ray's list of nodes is a fake here; importing it takes a second."""

import socket

import pytest

pytestmark = pytest.mark.slow


def test_a_node_whose_raylet_takes_no_connection_is_silent_though_it_counts_as_live(monkeypatch):
    import ray

    from launcher.orchestration import ray_cluster

    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_server(("127.0.0.1", 0)) as closed:
        doors = {"there": listening.getsockname()[1], "gone": closed.getsockname()[1], "known to be gone": 1}
        closed.close()
        nodes = [{"NodeID": name, "Alive": name != "known to be gone", "NodeManagerAddress": "127.0.0.1",
                  "NodeManagerPort": port} for name, port in doors.items()]
        monkeypatch.setattr(ray, "nodes", lambda: nodes)
        assert ray_cluster.silent() == {"gone"}


def test_nodes_that_have_a_place_among_the_others_are_taken_in_that_order(monkeypatch):
    import ray

    from launcher.core.ray_settings import ORDER
    from launcher.orchestration import ray_cluster

    # Addresses of ten nodes and more do not sort as text.
    nodes = [{"NodeID": f"id{number}", "Alive": True, "NodeManagerAddress": f"10.0.0.{number}",
              "NodeManagerHostname": f"node{number}", "Resources": {"CPU": 4.0}, "Labels": {ORDER: f"{number:06d}"}}
             for number in (10, 2, 1)]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    monkeypatch.setattr(ray_cluster, "draining", dict)
    assert [node.name for node in ray_cluster.live_nodes().values()] == ["node1", "node2", "node10"]

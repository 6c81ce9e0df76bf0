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

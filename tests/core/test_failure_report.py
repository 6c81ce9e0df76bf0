"""What failures mean."""

import pytest

from launcher.core.failure import FailureKind, WorkerFailure
from launcher.core.failure_report import causes, classify, ranges


@pytest.mark.parametrize(("exit_code", "text", "kind"), [
    (1, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate", FailureKind.OUT_OF_MEMORY),
    (1, "OSError: [Errno 28] No space left on device", FailureKind.STORAGE),
    (1, "ValueError: no such luck", FailureKind.WORKER_CRASH),
    (-9, "", FailureKind.WORKER_CRASH),
    (-15, "", FailureKind.PREEMPTION),
])
def test_kinds(exit_code, text, kind):
    assert classify(exit_code, text) == kind


def test_ranges_read_as_people_list_them():
    assert ranges([5, 0, 1, 2, 9, 8]) == "0-2, 5, 8-9"


@pytest.mark.parametrize("message", [
    "RuntimeError: [tcp/pair.cc:538] Connection closed by peer [10.0.0.3]:4711",
    "RuntimeError: [tcp/pair.cc:538] Read error [10.0.0.3]:4711: Connection reset by peer",
    "RuntimeError: [tcp/pair.cc:538] Read error [10.0.0.3]:4711: No route to host",
    "RuntimeError: writev [10.0.0.3]:4711: Network is unreachable",
    "RuntimeError: connect [10.0.0.3]:4711: Connection timed out",
    "DistNetworkError: Connection was likely closed. Did the remote server shutdown or crash?",
])
def test_who_only_lost_a_peer_explains_nothing_where_a_node_was_lost(message):
    echo = WorkerFailure(rank=0, node="a", kind=FailureKind.WORKER_CRASH, message=message)
    lost = WorkerFailure(rank=1, node="b", kind=FailureKind.NODE_LOSS, message="b is lost: its agent does not answer")
    assert causes([echo, lost]) == [lost]
    assert causes([echo]) == [echo]

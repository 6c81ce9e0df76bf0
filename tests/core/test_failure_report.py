"""Many ranks, one message."""

import pytest

from launcher.core.failure import FailureKind, WorkerFailure
from launcher.core.failure_report import classify, died, failure_report, ranges


def failure(rank: int, message: str, **more: object) -> WorkerFailure:
    told = {"rank": rank, "node": "b17", "kind": "worker_crash", "message": message, **more}
    return WorkerFailure.model_validate(told)


def test_equal_failures_are_told_once_with_all_their_ranks():
    failures = [failure(rank, "RuntimeError: uncorrectable ECC error", step=12) for rank in range(8, 16)]
    text = failure_report(3, 11, failures, "attempts/003/rank-008.log")
    assert text.splitlines()[0] == ("attempt 3 failed after step 11: worker_crash on ranks 8-15 (node b17) of step 12: "
                                    "RuntimeError: uncorrectable ECC error")
    assert "log: attempts/003/rank-008.log" in text


def test_the_rank_that_died_is_the_cause_and_its_peers_are_an_afterthought():
    echo = failure(0, "RuntimeError: Connection closed by peer [127.0.0.1]:4711", traceback="Traceback: echo")
    text = failure_report(1, 7, [echo, died(1, "b17", -9, 7)], "log")
    assert "worker_crash on rank 1 (node b17) of step 7: ended by SIGKILL" in text
    assert "rank 0 then lost their peers" in text
    assert "Traceback" not in text


def test_one_full_traceback_is_shown():
    failures = [failure(rank, "ValueError: x", traceback=f"Traceback of rank {rank}") for rank in range(3)]
    assert failure_report(1, 0, failures, "log").count("Traceback") == 1


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

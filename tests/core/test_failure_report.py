"""What failures mean."""

import pytest

from launcher.core.failure import FailureKind
from launcher.core.failure_report import classify, ranges


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

"""An all-reduce that fails or hangs is told, and what was known before is not lost."""

from pathlib import Path

import pytest

from launcher.platforms import reduce_facts

HANGS = """
import time
print('NCCL version 2.27', '{"backend": "gloo", "bytes_s": 5e8}', sep="\\n", flush=True)
time.sleep(60)
"""


def test_a_trial_that_cannot_begin_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reduce_facts, "MODULE", "launcher.nothing_of_the_kind")
    found, = reduce_facts.reduce("127.0.0.1", 1, 0, 2, "127.0.0.1", gpu=False)
    assert found.backend == "gloo" and "No module named launcher.nothing_of_the_kind" in found.problem


@pytest.mark.slow
def test_a_trial_that_hangs_is_ended_and_what_it_said_before_counts(tmp_path: Path,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hanging.py").write_text(HANGS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(reduce_facts, "MODULE", "hanging")
    monkeypatch.setattr(reduce_facts, "REDUCE_S", 3.0)
    gloo, nccl = reduce_facts.reduce("127.0.0.1", 1, 0, 2, "127.0.0.1", gpu=True)
    assert (gloo.bytes_s, gloo.problem) == (5e8, "") and nccl.problem == "it did not end within 3 s"

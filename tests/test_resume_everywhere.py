"""From a checkpoint alone a new process tree goes on to the last bit; `benchmarks.resume_everywhere` takes them all."""

from pathlib import Path

import pytest

from tests.toy_run import journal, resume, run_unbroken, told, write_recipe

EPOCH_ENDS = 5


@pytest.mark.timeout(300)
@pytest.mark.parametrize("precision", [pytest.param("fp32", marks=pytest.mark.campaign),
                                       pytest.param("bf16", marks=pytest.mark.slow)])
def test_a_run_goes_on_bit_for_bit_from_the_checkpoint_at_an_epochs_end(tmp_path: Path, precision: str) -> None:
    write_recipe(tmp_path, precision)
    saved = run_unbroken(tmp_path)
    steps = [event["step"] for event in journal(tmp_path / "whole") if event["event"] == "step"]
    assert saved == steps and len(told(tmp_path / "whole")) > len(steps) > EPOCH_ENDS
    assert resume(tmp_path, EPOCH_ENDS) == []

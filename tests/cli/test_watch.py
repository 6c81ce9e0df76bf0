"""Signals before a run has begun."""

import io
import os
import signal
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from launcher.cli.watch import leaving_on_signals, watch
from launcher.core.errors import INFRASTRUCTURE, YIELDED, Yielded
from launcher.storage.run_dir import RunDir


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_while_data_is_prepared_ends_the_command_with_one_message(number):
    before = signal.getsignal(number)
    with pytest.raises(Yielded, match="stopped before it began") as told, leaving_on_signals("stopped before it began"):
        os.kill(os.getpid(), number)
        time.sleep(60)
    assert told.value.exit_code == 75
    assert signal.getsignal(number) == before


@pytest.mark.parametrize(("ended_by", "exit_code", "revived"), [(signal.SIGTERM, YIELDED, 0),
                                                                (signal.SIGKILL, INFRASTRUCTURE, 2)])
def test_a_controller_that_sigterm_ends_while_it_imports_was_stopped_and_any_other_loss_is_mended(
        tmp_path, ended_by, exit_code, revived):
    said, revivals = io.StringIO(), list[str]()
    supervisor = SimpleNamespace(exit_code=lambda: -ended_by, unsaid=list, asked=False, early_log=tmp_path / "log")
    code = watch(Console(file=said), RunDir(str(tmp_path / "run")), "runs/tiny", supervisor, revivals.append)
    assert (code, len(revivals)) == (exit_code, revived)
    assert ("was stopped before it began" in said.getvalue()) == (exit_code == YIELDED)

"""Signals before a run has begun."""

import os
import signal
import time

import pytest

from launcher.cli.watch import leaving_on_signals
from launcher.core.errors import Yielded


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_while_data_is_prepared_ends_the_command_with_one_message(number):
    before = signal.getsignal(number)
    with pytest.raises(Yielded, match="stopped before it began") as told, leaving_on_signals("stopped before it began"):
        os.kill(os.getpid(), number)
        time.sleep(60)
    assert told.value.exit_code == 75
    assert signal.getsignal(number) == before

"""The real worker, hurt at a given moment: HURT holds rank, step, phase and how (sleep, or hold the interpreter)."""

import ctypes
import json
import os
import time

from launcher.runtime.reporter import Reporter
from launcher.runtime.worker import main as main

HURT = json.loads(os.environ["HURT"])
beat = Reporter.beat


def sleep_over_it() -> None:
    time.sleep(600)


def hold_the_interpreter() -> None:
    while True:
        ctypes.PyDLL(None).sleep(600)


def beat_or_suffer(self: Reporter, step: int, phase: str = "step") -> None:
    beat(self, step, phase)
    if [self.rank, step, phase] == [HURT["rank"], HURT["step"], HURT["phase"]]:
        self.tell("hurt", at=time.monotonic())
        {"sleep": sleep_over_it, "hold": hold_the_interpreter}[HURT["how"]]()


Reporter.beat = beat_or_suffer  # type: ignore[method-assign]

"""Real ranks that hang in real training: found in time, the right one named, with its stacks."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from launcher.core.hang import Stalled, Watch
from launcher.core.pace import Pulse
from launcher.core.stacks import main_frames
from launcher.orchestration.worker_process import WorkerProcess
from launcher.storage.process_id import process_id
from launcher.storage.run_dir import RunDir
from tests.runtime.forked import ForkedProcess
from tests.runtime.plain_workers import PlainWorkers, attempt_plan
from tests.runtime.test_worker import endless
from tests.runtime.tiny import zero_config


@dataclass(frozen=True)
class Seen:
    rank: int
    node: str
    exit_code: int | None
    pulse: Pulse | None


class HurtWorkers(PlainWorkers):
    MODULE = "tests.runtime.hurt_worker"

    def _spawn(self, rank: int) -> ForkedProcess:
        child = super()._spawn(rank)
        self.mailboxes[rank].deliver("process", process_id(child.pid))
        return child

    def watched(self) -> tuple[list[WorkerProcess], tuple[Stalled, ...], float]:
        """Watch as the controller does until somebody hangs."""
        workers = [WorkerProcess.adopt(mailbox.folder) for mailbox in self.mailboxes]
        watch, deadline = Watch(), time.monotonic() + 120
        while not (stalled := watch.stalled(time.time())):
            assert time.monotonic() < deadline, "no hang was found:\n" + self.read_logs()
            time.sleep(0.2)
            self.look()
            watch = watch.look(time.time(), [Seen(rank, "here", worker.exit_code(), worker.pulse())
                                             for rank, worker in enumerate(workers)])
        return workers, stalled, time.monotonic()


@pytest.mark.slow
@pytest.mark.parametrize(("how", "phase", "why", "function"), [
    ("sleep", "data", "a step usually takes", "sleep_over_it"),
    ("hold", "forward", "a call into C holds the interpreter", "hold_the_interpreter"),
])
def test_a_rank_that_hangs_in_training_is_named_within_ten_seconds_with_its_stacks(
        how: str, phase: str, why: str, function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HURT", json.dumps({"rank": 1, "step": 40, "phase": phase, "how": how}))
    plan = endless(tmp_path)
    gang, workers = HurtWorkers(tmp_path / "mail", 2), []
    try:
        gang.order(tmp_path / "run", str(tmp_path / "cache"), plan, attempt_plan(plan, 2, zero_config(3, 2, 2), 2))
        workers, stalled, found_at = gang.watched()
        hurt_at = next(event["at"] for event in gang.events[1] if event["event"] == "hurt")
        assert [each.rank for each in stalled] == [1], stalled
        # A rank that holds its interpreter cannot tell where: its last heartbeat is up to half a second older.
        assert (stalled[0].phase, stalled[0].step) == (phase, 40) or (how == "hold" and stalled[0].step <= 40)
        assert found_at - hurt_at <= 10.0
        assert why in stalled[0].why
        asked = [worker.dump_stacks() for worker in workers]
        assert asked == [True, True]
        run = RunDir(tmp_path / "run")
        gang.wait_until(lambda: all(main_frames(run.read_stacks(1, rank)) for rank in range(2)))
        assert any(function in frame for frame in main_frames(run.read_stacks(1, 1))[:2])
        assert any("launcher/runtime/loop.py" in frame for frame in main_frames(run.read_stacks(1, 0)))
        print(f"{how}: found after {found_at - hurt_at:.1f} s: {stalled[0].why}")
    finally:
        for worker in workers:
            worker.let_go()
        gang.end()

"""Campaign: real training that saves at every step, a rank killed at a random moment, and the run continued to its end.

After each kill the newest checkpoint must be whole, and the continued run must end in the state of the unbroken one, to
the last bit. Resumable: what is in the results file is not done again. Usage:
python -m benchmarks.crash_in_training --count 50
"""

import json
import random
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import typer

from benchmarks.harness import RESULTS, save
from launcher.storage.checkpoints import Checkpoints
from launcher.storage.run_dir import RunDir
from tests.runtime.checkpoint.runs import EVERY_STEP, equal, state, three_stages, train
from tests.runtime.plain_workers import attempt_plan, plain_workers
from tests.runtime.tiny import zero_config

NAME = "crash_in_training"


def crash(folder: Path, plan: Any, seed: int) -> dict[str, Any]:
    """Kill one rank at a random moment, check what is left, go on; return what happened."""
    chance = random.Random(seed)
    victim, moment = chance.randrange(2), chance.uniform(0.0, 1.0)
    run = folder / f"run{seed}"
    with plain_workers(folder / f"mail{seed}", 2) as gang:
        gang.order(run, str(folder / "cache"), plan, attempt_plan(plan, 2, zero_config(3, 2, 2), 2), EVERY_STEP)
        gang.wait_until(lambda: any(event["event"] == "step" for event in gang.events[0]))
        time.sleep(moment)  # steps and saves take tens of milliseconds: any line of either may be under way
        gang.processes[victim].kill()
        gang.wait_until(lambda: all(process.poll() is not None for process in gang.processes))
    checkpoints = Checkpoints(RunDir(run), plan.chain)
    checkpoints.fence(2)
    checkpoints.sweep()
    rejected: list[str] = []
    newest = checkpoints.newest(lambda step, reason: rejected.append(f"{step}: {reason}"))
    for step in checkpoints.committed():
        checkpoints.verify(step)
    rest = train(folder, run, plan, 2, attempt=2, resume=newest)
    same = rest.exit_codes == [0, 0] and equal(state(run, plan.steps), state(folder / "whole", plan.steps))
    shutil.rmtree(run)
    return {"seed": seed, "victim": victim, "moment": moment, "newest": newest, "rejected": rejected, "same": same,
            "failures": rest.failures() if any(rest.exit_codes) else ""}


def main(count: int = 50) -> None:
    """Do what is missing, write after each, and fail at the first run that does not end the same."""
    file = RESULTS / f"{NAME}.json"
    done: list[dict[str, Any]] = json.loads(file.read_text())["crashes"] if file.exists() else []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        plan = three_stages(folder, stage_rows=(43, 32, 27))
        whole = train(folder, folder / "whole", plan, 2)
        assert whole.exit_codes == [0, 0], whole.failures()
        while len(done) < count:
            done.append(crash(folder, plan, random.randrange(2**32)))
            print(done[-1], flush=True)
            save(NAME, {"steps": plan.steps, "crashes": done})
            assert done[-1]["same"] and not done[-1]["rejected"], done[-1]["failures"]


if __name__ == "__main__":
    typer.run(main)

"""One rank that trains a few steps of each case and tells what its process's memory grew by.

Usage: `... CASES.json RANK FOLDER SECONDS`. Imports are done once, those too that a first small case turns out to do
late, and each case lives in a fork: one case's memory is not the next one's. What is told is the kernel's: the peak of
resident pages (VmHWM, reset at the beginning of each phase) above what was resident before the model was built, without
pages of files, which are libraries that are used for the first time.
"""

import importlib
import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any


class Watch:
    """The growth of this process since it was made, by phase."""

    def __init__(self) -> None:
        self._before, self.phases, self.spent = _status(), dict[str, int](), list[tuple[float, float]]()
        self._reset()

    def end_of(self, phase: str) -> None:
        """Note the peak since the last phase's end; the largest counts where a phase comes again."""
        now = _status()
        files = now["RssFile"] - self._before["RssFile"]
        self.phases[phase] = max(self.phases.get(phase, 0), now["VmHWM"] - self._before["VmRSS"] - files)
        self.phases[f"after {phase}"] = now["VmRSS"] - self._before["VmRSS"] - files
        self._reset()

    def _reset(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")


def _status() -> dict[str, int]:
    """Return this process's memory by the kernel's names, in bytes."""
    lines = (line.split(":") for line in Path("/proc/self/status").read_text().splitlines() if line.endswith("kB"))
    return {name: int(value.split()[0]) * 1024 for name, value in lines}


def _warm_up() -> None:
    """Let torch's own machinery allocate what it keeps: it is not the model's."""
    import torch
    import torch.distributed as dist

    layer = torch.nn.Linear(64, 64)
    layer(torch.randn(8, 64)).sum().backward()
    torch.optim.AdamW(layer.parameters()).step()
    dist.all_reduce(torch.zeros(1024))


def _train(orders: Any, steps: int, accumulation: int, watch: Watch) -> None:
    import torch

    from launcher.runtime import session
    from launcher.runtime.batches import MicroBatch
    from launcher.runtime.engine import TrainEngine

    plan, attempt = orders.plan, orders.attempt
    assert plan.tokenizer is not None
    device, words = torch.device("cpu"), plan.tokenizer.vocab_size
    model = session._model(orders, device)
    watch.end_of("model")
    engine = TrainEngine(model, plan, attempt, device)
    watch.end_of("engine")
    shape = (attempt.micro_batch, plan.sequence_length)
    for step in range(steps):
        begin, busy = time.perf_counter(), time.process_time()
        torch.manual_seed(1000 * step + orders.rank)
        batches = [MicroBatch(torch.randint(0, words, shape), torch.arange(shape[1]).expand(shape).contiguous(),
                              torch.randint(0, words, shape), tuple(list(plan.sources)[:1] * shape[0]), 0)
                   for _ in range(accumulation)]
        engine.accumulate(batches, shape[0] * shape[1] * accumulation * attempt.world_size)
        watch.end_of("backward")
        engine.update(1e-4, plan.stages[0].optimizer)
        watch.end_of("update")
        watch.spent.append((time.perf_counter() - begin, time.process_time() - busy))


def measure(case: dict[str, Any], rank: int, folder: Path) -> Watch:
    """Return the growth over the case's life, in this process, and its steps' seconds: passed, and of processors."""
    import torch.distributed as dist

    from launcher.core.attempt import WorkerOrders
    from launcher.runtime.environment import set_ranks

    orders = WorkerOrders.model_validate(case["orders"] | {"rank": rank})
    set_ranks(orders)
    dist.init_process_group("gloo", init_method=f"file://{folder}/{case['name']}.rendezvous", rank=rank,
                            world_size=orders.attempt.world_size)
    _warm_up()
    watch = Watch()
    _train(orders, case["steps"], case["accumulation"], watch)
    return watch


def _child(case: dict[str, Any], rank: int, folder: Path) -> None:
    log = os.open(folder / f"{case['name']}.{rank}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    began = list(sys.modules)
    told = measure(case, rank, folder)
    late = [name for name in sys.modules if name not in set(began)]
    (folder / f"{case['name']}.{rank}.modules").write_text(json.dumps(late))
    (folder / f"{case['name']}.{rank}.spent").write_text(json.dumps(told.spent))
    (folder / f"{case['name']}.{rank}.json").write_text(json.dumps(told.phases))
    os._exit(0)


def _goes_on(case: dict[str, Any], rank: int, folder: Path, end: float) -> bool:
    """Return whether there is time for a case: rank 0 decides, since both or none must begin it."""
    word = folder / f"{case['name']}.word"
    if rank == 0:
        word.with_suffix(".new").write_text("go" if time.monotonic() < end else "stop")
        word.with_suffix(".new").replace(word)
    while not word.exists():
        time.sleep(0.01)
    return word.read_text() == "go"


def main(cases: str, rank: int, folder: Path, seconds: float) -> None:
    """Measure all cases for which there is time, one after the other; the first only tells what is imported late."""
    end = time.monotonic() + seconds
    importlib.import_module("launcher.runtime.session")
    for number, case in enumerate(json.loads(Path(cases).read_text())):
        if not _goes_on(case, rank, folder, end):
            return
        child = os.fork()
        if child == 0:
            _child(case, rank, folder)
        if os.waitpid(child, 0)[1]:
            raise SystemExit(f"{case['name']} failed on rank {rank}: see its log")
        if number == 0:
            for name in json.loads((folder / f"{case['name']}.{rank}.modules").read_text()):
                with suppress(Exception):
                    importlib.import_module(name)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]))

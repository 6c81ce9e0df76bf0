"""A rank whose layers begin with a collective, as ZeRO-3's do, and which says in one exchange what it takes by itself.

Rank 0 judges, in windows of half a second, and prints a line for each.
"""

import json
import time

import torch
import torch.distributed as dist
from torch import nn

from launcher.core import straggler
from launcher.runtime.alone import Alone
from launcher.runtime.batches import MicroBatch
from launcher.runtime.process_group import Agreement

ROWS, LENGTH, WIDTH, LAYERS = 16, 64, 96, 4
straggler.WINDOW_S = 0.5


def gather(_layer: nn.Module, _given: object) -> None:
    dist.all_reduce(torch.zeros(1))


def main(folder: str, rank: str, ranks: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=int(rank), world_size=int(ranks))
    group = dist.group.WORLD
    assert group is not None
    agreement, windows = Agreement(group, int(ranks)), straggler.Windows(int(ranks))
    model = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS)))
    for layer in model:
        layer.register_forward_pre_hook(gather)
    alone = Alone(model, torch.device("cpu"))
    ids, given = torch.zeros(ROWS, LENGTH, dtype=torch.long), torch.zeros(ROWS, LENGTH, WIDTH)
    batch, steps = MicroBatch(ids, ids, ids, ("sums",) * ROWS, 0), list[list[float]]()
    while True:
        begin = time.perf_counter()
        for _ in range(4):
            alone.take(batch)
            model(given)
        told = agreement.gather([alone.seconds(0.0, ids.numel()), time.perf_counter() - begin])
        steps.append(told[:, 1].tolist())
        judged = windows.add(told[:, 0].tolist(), time.perf_counter() - begin)
        if judged is not None and rank == "0":
            whole = [sum(times) / len(steps) for times in zip(*steps, strict=True)]
            print(json.dumps({"scores": judged.pace.scores, "steps": whole, "own": judged.pace.median,
                              "changes": [[change.rank, change.slow] for change in judged.changes]}), flush=True)
            steps.clear()

"""A rank without peers: computes as the engine does, and tells what it takes by itself and what else goes by."""

import json
import sys
import time

import torch
from torch import nn

from launcher.runtime.alone import Alone
from launcher.runtime.batches import MicroBatch

ROWS, LENGTH, WIDTH, STEPS = 16, 64, 96, 40
WAIT_S = 0.005
"""Beside its own work, as for a peer: it must not count."""


def main(_: str) -> None:
    torch.set_num_threads(1)
    model = nn.Sequential(nn.Embedding(100, WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.ReLU(), nn.Linear(4 * WIDTH, 100))
    alone = Alone(model, torch.device("cpu"))
    ids = torch.zeros(ROWS, LENGTH, dtype=torch.long)
    batch = MicroBatch(ids, ids, ids, ("sums",) * ROWS, 0)
    while True:
        own, begin = 0.0, time.perf_counter()
        for _ in range(STEPS):
            alone.take(batch)
            model(ids)
            time.sleep(WAIT_S)
            own += alone.seconds(0.0, ids.numel())
        print(json.dumps({"own": own / STEPS, "step": (time.perf_counter() - begin) / STEPS}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

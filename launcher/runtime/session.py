"""From orders to outcome: join the peers, build model and engine, train, export.

Importing this module imports torch, transformers and deepspeed; `runtime.worker` does so while it is a standby.
"""

import logging
import time
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import nn

from launcher.core.attempt import WorkerOrders
from launcher.core.errors import Yielded
from launcher.core.events import Exported
from launcher.core.lineage import lineage
from launcher.core.stage_adapters import names_in
from launcher.data.keys import stored_index
from launcher.data.packed import PackedSplit
from launcher.data.tokenizer import stored_tokenizer
from launcher.runtime.adapter import add_adapter
from launcher.runtime.batches import Batches
from launcher.runtime.borders import check_borders
from launcher.runtime.checkpoint.checkpointing import Checkpointing
from launcher.runtime.checkpoint.restoring import restore
from launcher.runtime.chunked_loss import check_head
from launcher.runtime.engine import TrainEngine, join_deepspeed
from launcher.runtime.environment import device_of, hide_known_warnings, redirect_output, set_ranks
from launcher.runtime.evaluation import Evaluator
from launcher.runtime.export import export_model
from launcher.runtime.generation import Generation
from launcher.runtime.loop import Loop, Outcome, Rank
from launcher.runtime.model import DTYPES, build_model, model_config
from launcher.runtime.own_function import OwnFunction
from launcher.runtime.pacing import Place
from launcher.runtime.process_group import (
    RENDEZVOUS_TIMEOUT_S,
    Agreement,
    Exchange,
    host_store,
    join_store,
    new_group,
    open_groups,
)
from launcher.runtime.questions import Reading
from launcher.runtime.reporter import Reporter
from launcher.runtime.scoring import Scorer
from launcher.runtime.segment import segment_of
from launcher.runtime.stop import StopFlag
from launcher.storage.checkpoints import Checkpoints
from launcher.storage.mailbox import Mailbox
from launcher.storage.run_dir import RunDir
from launcher.storage.store import Store, open_store

log = logging.getLogger(__name__)


def run(orders: WorkerOrders, mailbox: Mailbox, reporter: Reporter, stop: StopFlag) -> tuple[str, int]:
    """Carry out the orders; return the outcome's name and the steps done."""
    run_dir, plan, rank = RunDir(orders.run_dir), orders.plan, orders.rank
    redirect_output(run_dir.rank_log(orders.attempt.attempt, rank))
    hide_known_warnings()
    reporter.place(rank, orders.attempt.cluster.nodes[orders.attempt.ranks[rank].node].name)
    reporter.phase("loading", 0)
    set_ranks(orders)
    device = device_of(orders)
    agreement = Agreement(_join(orders, mailbox, reporter, stop), orders.attempt.world_size)
    cache = open_store(orders.cache)
    model = _model(orders, device)
    line = segment_of(orders, model)
    engine = TrainEngine(model, plan, orders.attempt, device, line.groups)
    checkpointing, done = restore(orders, engine, line, run_dir, reporter)
    if len(plan.segments) > 1 and done != (orders.attempt.resume or 0):
        # Another checkpoint than the engine was made for: who begins from it may train other parameters.
        checkpointing.finish()
        agreement.barrier()
        return Outcome.NEXT.value, done
    loop = _loop(orders, engine, cache, agreement, reporter, stop, device, checkpointing, done)
    reporter.tell("engine_ready")
    outcome = loop.run()
    if outcome is Outcome.FINISHED:
        reporter.phase("exporting", loop.step)
        begun = time.perf_counter()
        written = export_model(engine.settled_module(), plan, run_dir.store, cache, rank, reporter.progress)
        if rank == 0:
            reporter.event(Exported.model_validate({**written, "seconds": time.perf_counter() - begun}))
        checkpointing.finish()
        Checkpoints(run_dir).forget_copies()
    agreement.barrier()  # rank 0 keeps the rendezvous store open until everybody is done
    return outcome.value, loop.step


def _join(orders: WorkerOrders, mailbox: Mailbox, reporter: Reporter, stop: StopFlag) -> dist.ProcessGroup:
    if orders.rank == 0:
        store, host, port = host_store(orders)
        reporter.tell("rendezvous", host=host, port=port)
    else:
        letter = mailbox.wait("rendezvous", alive=stop.alive, timeout_s=RENDEZVOUS_TIMEOUT_S)
        if letter is None:
            raise Yielded("asked to stop while waiting for rank 0")
        store = join_store(letter["host"], letter["port"], orders.attempt.world_size)
    return open_groups(store, orders)


def _model(orders: WorkerOrders, device: torch.device) -> nn.Module:
    plan = orders.plan
    join_deepspeed()
    if orders.rank == 0:
        tried = model_config(plan), plan.model.attention, DTYPES[plan.model.precision], device
        check_borders(*tried)
        if plan.model.speed.chunked_cross_entropy:
            check_head(*tried)
    segment = plan.segments[orders.segment]

    def held(names: Sequence[str]) -> frozenset[str]:
        return lineage(plan, segment, names).held(plan, segment, orders.attempt.resume)

    model = build_model(plan, orders.attempt.ds_config, device, orders.rank, held)
    return add_adapter(model, plan.adapter, plan.seed, names_in(segment)) if plan.adapter else model


def _loop(orders: WorkerOrders, engine: TrainEngine, cache: Store, agreement: Agreement, reporter: Reporter,
          stop: StopFlag, device: torch.device, checkpointing: Checkpointing, done: int) -> Loop:
    plan, attempt = orders.plan, orders.attempt
    indexes = {name: stored_index(cache, source.fingerprint) for name, source in plan.row_sets.items()}
    flatten, segment = plan.model.attention == "flash_attention_2", plan.segments[orders.segment]
    train = Batches(plan, {name: PackedSplit(cache, index, "train") for name, index in indexes.items()}, device,
                    flatten=flatten, width=segment.sequence_length if plan.model.speed.compile else 0)
    held = {name: PackedSplit(cache, indexes[name], "holdout") for name in plan.sources if indexes[name].holdout.rows}
    scorer = _scorer(orders, engine, cache, agreement, reporter, stop, device, held)
    evaluator = Evaluator(engine, Batches(plan, held, device, flatten=flatten), list(held), list(plan.sources),
                          orders.rank, attempt.data_parallel, attempt.micro_batch, agreement, reporter, stop, scorer)
    nodes = [attempt.cluster.nodes[place.node] for place in attempt.ranks]
    places = tuple(Place(node.name, node.address) for node in nodes)
    rank = Rank(orders.rank, attempt.data_parallel, attempt.micro_batch, places)
    return Loop(plan, rank, engine, train, evaluator, agreement, reporter, stop, checkpointing, done)


def _scorer(orders: WorkerOrders, engine: TrainEngine, cache: Store, agreement: Agreement, reporter: Reporter,
            stop: StopFlag, device: torch.device, held: dict[str, PackedSplit]) -> Scorer | None:
    """Return what makes the scores that the recipe asks for, if it does."""
    plan, scoring, ranks = orders.plan, orders.scoring, orders.attempt.world_size
    if not scoring.wanted:
        return None
    assert plan.tokenizer is not None, "a plan in estimated grade is never run"
    stops = engine.stops(plan.tokenizer)
    reading = Reading(stored_tokenizer(cache, plan.tokenizer.fingerprint), stops)
    exchange = Exchange(new_group(), orders.rank, ranks)
    generation = Generation(engine, agreement, exchange, orders.rank, ranks, plan.sequence_length, stops, device,
                            reporter, stop)
    function = scoring.function and OwnFunction(scoring.function, generation, reading, exchange, orders.rank, reporter)
    return Scorer(scoring, held, reading, generation, function)

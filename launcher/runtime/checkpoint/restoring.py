"""From orders to a state that goes on where the run was: what to load, and what will save from here on."""

from launcher.core.attempt import WorkerOrders
from launcher.core.errors import UserError
from launcher.core.events import CheckpointRejected
from launcher.core.lineage import Lineage, needs_base
from launcher.core.manifest import Manifest
from launcher.core.run_plan import RunPlan
from launcher.core.saving import policy_of
from launcher.core.stage_adapters import names_in
from launcher.data.model_files import base_fingerprint
from launcher.runtime.checkpoint.checkpointing import Checkpointing
from launcher.runtime.checkpoint.loader import Loader
from launcher.runtime.checkpoint.merged_base import merge_earlier
from launcher.runtime.checkpoint.parked import Parked
from launcher.runtime.checkpoint.saver import Saver
from launcher.runtime.checkpoint.state import EngineState
from launcher.runtime.checkpoint.zero3 import Zero3State
from launcher.runtime.checkpoint.zero12 import Zero12State
from launcher.runtime.engine import TrainEngine
from launcher.runtime.judge import Judge
from launcher.runtime.partitions import whole_shape
from launcher.runtime.process_group import Exchange, new_group
from launcher.runtime.referee import Referee
from launcher.runtime.reporter import Reporter
from launcher.storage.checkpoints import Checkpoints
from launcher.storage.run_dir import RunDir


def state_of(engine: TrainEngine, orders: WorkerOrders, line: Lineage) -> EngineState:
    """Return the state of an engine by its ZeRO stage, with what is parked beside it."""
    kind = Zero3State if orders.attempt.ds_config["zero_optimization"]["stage"] == 3 else Zero12State
    ranks, parameters = orders.attempt.world_size, dict(engine.deepspeed.module.named_parameters())
    trained, drawn = ({name: whole_shape(parameters[name]) for name in names} for names in (line.parked, line.drawn))
    return kind(engine.deepspeed, orders.rank, ranks, Parked(trained, drawn, orders.rank, ranks))


def base_of(plan: RunPlan, rank: int, exchange: Exchange) -> str | None:
    """Return what the base's files are known by, where not all is saved. Rank 0 looks at them for all."""
    if plan.model.path is None or not needs_base(plan):
        return None
    return exchange.first(base_fingerprint(plan.model.path) if rank == 0 else "")


def _require_same_base(plan: RunPlan, parent: Manifest, base: str | None) -> None:
    if parent.base is not None and parent.base != base:
        raise UserError(f"{plan.model.path}: these are not the files that the run began with; put them "
                        "back, or start a new run with --run-dir")


def _merge(orders: WorkerOrders, engine: TrainEngine, state: EngineState, parent: Manifest) -> None:
    """Put the adapters of earlier stages into the base, where the recipe says so."""
    adapter, segment = orders.plan.adapter, orders.plan.segments[orders.segment]
    if adapter is None or adapter.per_stage != "merged" or parent.step != orders.attempt.resume:
        return  # Of another step than was ordered: the attempt ends at once.
    names = names_in(segment)
    if len(names) > 1:
        merge_earlier(state, engine.settled_module(), adapter, names, begins=parent.step < segment.first_step)


def restore(orders: WorkerOrders, engine: TrainEngine, line: Lineage, run: RunDir,
            reporter: Reporter) -> tuple[Checkpointing, int]:
    """Load the checkpoint that the orders name; return what saves from now on, and the steps that are done: fewer than
    the orders say where that one was damaged, and the one before is loaded.

    Called by all ranks. Raises PlatformError when the run has saved and nothing of it can be read.
    """
    plan, attempt = orders.plan, orders.attempt
    state = state_of(engine, orders, line)
    exchange = Exchange(new_group(), orders.rank, attempt.world_size)
    checkpoints = Checkpoints(run, plan.chain, orders.holdings)
    parent, base = None, base_of(plan, orders.rank, exchange)
    if attempt.resume is not None:
        reporter.phase("loading", attempt.resume)

        def rejected(step: int, reason: str) -> None:
            reporter.event(CheckpointRejected(step=step, reason=reason))

        loader = Loader(state, checkpoints, exchange, orders.rank, attempt.world_size)
        parent = loader.load_newest(attempt.resume, rejected)
        _require_same_base(plan, parent, base)
        _merge(orders, engine, state, parent)
    else:
        state.take_drawn()
    saver = Saver(state, checkpoints, exchange, orders.rank, orders.checkpoint.keep, reporter.progress)
    policy = policy_of(orders.checkpoint)
    judge = Judge(plan, orders.divergence, parent.usual if parent else None)
    referee = Referee(plan, orders.rules, parent.standing if parent else None, reporter)
    checkpointing = Checkpointing(saver, state, plan, attempt, policy, orders.between_failures, parent, base, reporter,
                                  judge, referee)
    return checkpointing, parent.step if parent else 0

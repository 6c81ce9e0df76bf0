"""What a doctor finds out about a cluster or a machine: facts alone.

How they are gathered is `platforms`; what they mean for a run is `report.findings`.
"""

from typing import Literal

from pydantic import Field

from launcher.core.document import Document

Preemption = Literal["", "partition", "qos", "other"]
"""By what one job may push out another; nothing if none may."""


class Rules(Document):
    """What Slurm allows and does everywhere; None is what it did not say."""

    version: str = ""
    requeue: bool | None = None
    """Whether jobs that do not say may be queued again."""
    kill_wait_s: float | None = None
    """Between SIGTERM and SIGKILL."""
    preempts: Preemption = ""
    warns: bool = False
    """Whether a job's own early warning is also sent when it is preempted."""
    proctrack: str = ""
    task_plugins: tuple[str, ...] = ()
    node_timeout_s: float | None = None
    """Until a node that is silent counts as dead."""
    requeue_delay_s: float | None = None
    """Before a job that was queued again may start."""


class Partition(Document):
    """What Slurm allows in one partition; times that have no limit are None."""

    name: str
    default: bool = False
    state: str = "UP"
    nodes: int = 0
    max_nodes: int | None = None
    max_time_s: float | None = None
    default_time_s: float | None = None
    grace_s: float = 0.0
    preempt_mode: str = "OFF"
    tier: int = 1


class Gpu(Document):
    """A GPU, as its driver tells."""

    name: str
    memory: int
    driver: str


class Machine(Document):
    """A machine as a job, or this process, finds it. Sizes are bytes."""

    name: str
    own_address: str = ""
    """What its own name stands for on it; nothing if nobody knows."""
    python: str = ""
    executable: str = ""
    """The Python that was started."""
    versions: dict[str, str] = Field(default_factory=dict[str, str])
    """By package; of one that is not installed, nothing."""
    cores: int = 0
    memory: int | None = None
    gpus: tuple[Gpu, ...] = ()
    gpus_given: int = 0
    """By the batch system."""
    open_files: int | None = None
    """The most that a process may have, None for any number."""
    locked_memory: int | None = None
    space: dict[str, int] = Field(default_factory=dict[str, int])
    """Free, by folder of its own."""
    block: int | None = None
    """The first port of a free block; None if there is none."""
    hub_cache: str = ""
    """Where models and datasets of the Hugging Face hub are kept."""
    hub_entries: int = 0
    """How many of them are there."""
    internet: bool = False
    offline: bool = False
    """Whether HF_HUB_OFFLINE is set."""


class Folder(Document):
    """A folder that all machines must share, as one of them finds it."""

    path: str
    problem: str = ""
    """Why it cannot be used."""
    same: bool = True
    """Whether what was put there on the machine of the command can be read."""
    bytes_s: float | None = None
    """How fast a file is written, until it is durable, while all machines write."""
    free: int = 0
    unseen: tuple[str, ...] = ()
    """Other machines whose files there do not appear."""


class Clock(Document):
    """How far a machine's clock is from that of the command's machine."""

    ahead_s: float
    uncertain_s: float


class Way(Document):
    """One machine's attempt to connect to another."""

    to: str
    port: int
    kind: Literal["block", "any"]
    """A port from launcher's range, or one that the kernel chose."""
    problem: str = ""


class Reduction(Document):
    """An all-reduce between the machines, as one of them saw it."""

    backend: Literal["gloo", "nccl"]
    problem: str = ""
    right: bool = True
    bytes_s: float | None = None
    """What one machine sent, per second."""
    interface: str = ""
    """The network interface that it went through."""


class Job(Document):
    """What a short job found on its nodes, by their names."""

    partition: str = ""
    names: tuple[str, ...] = ()
    problem: str = ""
    """Why it did not come to anything."""
    machines: dict[str, Machine] = Field(default_factory=dict[str, Machine])
    clocks: dict[str, Clock] = Field(default_factory=dict[str, Clock])
    folders: dict[str, tuple[Folder, ...]] = Field(default_factory=dict[str, tuple[Folder, ...]])
    no_way: dict[str, str] = Field(default_factory=dict[str, str])
    """Why a machine cannot find out under which address the others reach it."""
    ways: dict[str, tuple[Way, ...]] = Field(default_factory=dict[str, tuple[Way, ...]])
    reductions: dict[str, tuple[Reduction, ...]] = Field(default_factory=dict[str, tuple[Reduction, ...]])
    silent: dict[str, str] = Field(default_factory=dict[str, str])
    """Machines that did not answer in time, or not at all: what they were asked, and what they said instead."""


class SiteFacts(Document):
    """All that a doctor found."""

    here: Machine
    """The machine on which the command was typed."""
    rules: Rules | None = None
    """None where there is no Slurm to ask."""
    partitions: tuple[Partition, ...] = ()
    """Those that were asked about."""
    tiers: tuple[int, ...] = ()
    """Of all partitions."""
    folders: tuple[Folder, ...] = ()
    """As the machine of the command finds them."""
    jobs: tuple[Job, ...] = ()

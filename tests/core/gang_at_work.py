"""A gang of ranks as the controller sees it: looked at five times a second, heartbeats twice a second, collectives.

Pure simulation: ranks go through phases of given durations, wait for each other at every step's end, and can be hurt.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from launcher.core.hang import HangLimits, Stalled, Watch
from launcher.core.pace import Pulse

LOOK_S, BEAT_S = 0.2, 0.5
Durations = Callable[[int, str, int], float]
"""Of a rank's phase at a step."""


@dataclass
class Seen:
    """What is seen of one worker."""

    rank: int
    node: str
    exit_code: int | None
    pulse: Pulse | None


@dataclass
class Rank:
    """One rank: the phases to come, and what its heartbeat last told."""

    number: int
    phases: Iterator[tuple[str, int]]
    at: tuple[str, int] = ("imports", 0)
    until: float = 0.0
    """When it is through with its phase's own work."""
    told: tuple[str, int] | None = None
    told_at: float = 0.0
    silent_as: str = ""
    """/proc's letter once its heartbeat has stopped."""
    asleep: bool = False


@dataclass
class Gang:
    """Ranks at work. `seconds(rank, phase, step)` is how long each works on its own before it waits for the others."""

    seconds: Durations
    ranks: int = 2
    evaluate_every: int = 0
    save_every: int = 0
    limits: HangLimits = field(default_factory=HangLimits)
    now: float = 1000.0
    watch: Watch = field(init=False)
    members: list[Rank] = field(init=False)

    def __post_init__(self) -> None:
        self.watch = Watch(self.limits)
        self.members = [Rank(number, self._phases(), until=self.now + self.seconds(number, "imports", 0))
                        for number in range(self.ranks)]

    def _phases(self) -> Iterator[tuple[str, int]]:
        yield "loading", 0
        step = 0
        while True:
            if self.evaluate_every and step % self.evaluate_every == 0:
                yield "evaluating", step
            step += 1
            yield "data", step
            yield "forward", step
            yield "step", step
            if self.save_every and step % self.save_every == 0:
                yield "saving", step

    @property
    def step(self) -> int:
        return max(member.at[1] for member in self.members)

    def hurt(self, rank: int, *, silent_as: str = "") -> None:
        """Let a rank go no further; with a letter its heartbeat stops too."""
        self.members[rank].asleep, self.members[rank].silent_as = True, silent_as

    def heal(self, rank: int) -> None:
        self.members[rank].asleep, self.members[rank].silent_as = False, ""

    def sleep(self, seconds: float) -> None:
        """Let time pass in which nothing runs: neither ranks nor controller."""
        self.now += seconds
        for member in self.members:
            member.until += seconds

    def work(self, until: Callable[[], bool], patience_s: float = 4000.0) -> tuple[Stalled, ...]:
        """Work until something is true or a hang is found."""
        deadline = self.now + patience_s
        while not until() and self.now < deadline:
            self.now += LOOK_S
            self._move()
            self._beat()
            self.watch = self.watch.look(self.now, [self._seen(member) for member in self.members])
            if found := self.watch.stalled(self.now):
                return found
        return ()

    def _move(self) -> None:
        """Let every rank that can go on; `forward` needs all to be there, as collectives do."""
        for _ in range(1000):
            moved = False
            for member in self.members:
                if not member.asleep and self.now >= member.until and self._met(member):
                    member.at = next(member.phases)
                    member.until = max(member.until, self.now - LOOK_S) + self.seconds(member.number, *member.at)
                    moved = True
            if not moved:
                return

    def _met(self, member: Rank) -> bool:
        """Return whether the others let a rank leave its phase: all must have come as far."""
        if member.at[0] in ("data", "imports", "saving"):
            return True
        place = Pulse(phase=member.at[0], step=member.at[1], age_s=0.0).place
        return all(Pulse(phase=other.at[0], step=other.at[1], age_s=0.0).place > place
                   or (other.at == member.at and (self.now >= other.until and not other.asleep))
                   for other in self.members)

    def _beat(self) -> None:
        for member in self.members:
            if not member.silent_as and self.now - member.told_at >= BEAT_S:
                member.told, member.told_at = member.at, self.now

    def _seen(self, member: Rank) -> Seen:
        if member.told is None:
            return Seen(member.number, "here", None, None)
        age = self.now - member.told_at
        return Seen(member.number, f"node{member.number}", None,
                    Pulse(phase=member.told[0], step=member.told[1], age_s=age, process=member.silent_as))

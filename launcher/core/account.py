"""The goodput account: what each second of a run went into, over all attempts and commands. Pure, from the journal.

`account(events)` -> `Account`: `parts` (seconds by name, every name of `PARTS`, in that order), `wall` (first event to
last, or to `now`), `attempts` (the same parts by attempt) and `goodput`. Status, the summary, the report page and
trackers show it; `PARTS` says in words what each part is. The parts are a partition: they sum to the wall time, since
whatever no event explains is `other`. So what the account is worth is how little of the run is `other`.

The time between two marks (a step done, an evaluation, an attempt that begins, a failure, ...) is first given to what
the later mark says that it took, and the rest to what the run was doing meanwhile. Marks are taken in the order of
their clocks: what is journalled later (`recovered`) happened when it says.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from launcher.core.ledger import surviving

PARTS = {
    "useful": "steps that count",
    "redone": "steps that do not count: lost and done again, or a verdict went back behind them",
    "saving": "training waited for a checkpoint",
    "evaluation": "losses on holdouts",
    "start_up": "placement, imports, rendezvous, engine, up to an attempt's first step",
    "loading": "reading a checkpoint",
    "exporting": "writing the trained model",
    "restarts": "from an attempt's last step until the failure was seen and the next attempt had its workers",
    "changes": "nothing failed: workers left, and others had their orders for another engine or another plan",
    "ending": "workers leave, the run's last words",
    "queue": "nobody worked on it: queued, yielded or interrupted, until the next command",
    "other": "everything else",
}

Event = dict[str, Any]
_MARKS = frozenset({"run_started", "attempt_started", "step", "evaluation", "exported", "checkpoint_committed",
                    "failure", "decision", "attempt_ended", "run_ended"})


def _nothing() -> dict[str, float]:
    return dict.fromkeys(PARTS, 0.0)


@dataclass(frozen=True, slots=True)
class Account:
    """Where a run's time went, in seconds."""

    wall: float = 0.0
    parts: dict[str, float] = field(default_factory=_nothing)
    attempts: dict[int, dict[str, float]] = field(default_factory=dict[int, dict[str, float]])
    """By attempt; what lies between two is of the later one."""

    @property
    def worked(self) -> float:
        """Return the wall time without that in which nobody worked on the run."""
        return self.wall - self.parts["queue"]

    @property
    def goodput(self) -> float | None:
        """Return the share of the time worked that went into steps that count; None before the first."""
        return self.parts["useful"] / self.worked if self.parts["useful"] and self.worked > 0 else None


def account(events: Iterable[Event], now: float | None = None) -> Account:
    """Return what a run's time went into. `now`: UTC seconds, of a run that somebody works on at present."""
    told = _of_living(events)
    if not told:
        return Account()
    marks = sorted((event for event in told if event["event"] in _MARKS), key=_time)
    walk = _Walk(told, min(map(_time, told)))
    for event in marks:
        walk.take(event)
    walk.close(max(map(_time, told)), now)
    parts = {name: sum(each[name] for each in walk.attempts.values()) for name in PARTS}
    return Account(walk.cursor - walk.begin, parts, walk.attempts)


_OF_STEPS = ("event", "time", "attempt", "step", "seconds", "skipped", "recovered")


def for_account(event: Event) -> Iterator[Event]:
    """Yield what an account asks of an event, if anything: a long run's steps whole would take a lot of memory."""
    if event["event"] == "step":
        yield {name: event[name] for name in _OF_STEPS if name in event}
    elif event["event"] != "phase":
        yield event


def _of_living(events: Iterable[Event]) -> list[Event]:
    """Return the events without those of a controller that was taken for dead: its successor's word counts."""
    told, newest = list[Event](), 0
    for event in events:
        newest = max(newest, event["attempt"])
        if event["attempt"] == newest:
            told.append(event)
    return told


def _time(event: Event) -> float:
    return float(event["time"])


class _Walk:
    """Goes from mark to mark; the time until `cursor` is accounted for."""

    def __init__(self, told: Sequence[Event], begin: float) -> None:
        self.begin = self.cursor = begin
        self.attempts: dict[int, dict[str, float]] = {}
        self._counts = set(map(id, surviving(told)))
        self._blocked = {(event["attempt"], event["step"]): float(event["blocked_seconds"]) for event in told
                         if event["event"] == "checkpoint_committed"}
        self._startup = {event["attempt"]: event for event in told if event["event"] == "startup_phases"}
        self._commands, self._changes = _commands(told), _changes(told)
        self._attempt = told[0]["attempt"]
        self._state = "start_up"
        """What time goes to that nothing else claims: of an attempt that begins, trains (`other`), is down
        (`restarts`), gives way to another (`changes`) or leaves (`ending`), or of nobody (`queue`)."""
        self._goes_on = False
        """It was decided that another attempt follows."""
        self._saved_step: int | None = None
        self._waited = 0.0
        """When the last checkpoint was committed: workers that leave wait for it."""

    def take(self, event: Event) -> None:
        """Account for the time until a mark."""
        if event["attempt"] > self._attempt and not event.get("recovered"):
            self._next_attempt(event)
        getattr(self, f"_on_{event['event']}")(event, _time(event))

    def close(self, last: float, now: float | None) -> None:
        """Account for what follows the last mark."""
        end = max(last, now or last)
        if self._state != "queue":  # after run_ended nothing goes on
            self._until(end)

    def _next_attempt(self, event: Event) -> None:
        """Begin an attempt's part of the account; whoever works on the run now may be another command."""
        self._attempt = event["attempt"]
        began = self._commands.get(event["attempt"])
        if began is None:
            return
        self._state = "queue"
        self._until(began)
        self._state = "start_up"

    def _until(self, moment: float, *claims: tuple[str, float]) -> None:
        """Give the time until a moment to the claims, in order, as far as it goes, and the rest to the state."""
        left = max(0.0, moment - self.cursor)
        for part, seconds in claims:
            given = min(left, max(0.0, seconds))
            self._give(part, given)
            left -= given
        self._give(self._state, left)
        self.cursor = max(self.cursor, moment)

    def _give(self, part: str, seconds: float) -> None:
        self.attempts.setdefault(self._attempt, _nothing())[part] += seconds

    def _before(self) -> tuple[tuple[str, float], ...]:
        """Return what else is known of the time before a step or evaluation."""
        if self._state == "start_up":
            return (("loading", _span(self._startup.get(self._attempt), "loading")),)
        if self._saved_step is None:
            return ()
        return (("saving", self._blocked.pop((self._attempt, self._saved_step), 0.0)),)

    def _on_run_started(self, _event: Event, now: float) -> None:
        self._until(now)

    def _on_attempt_started(self, _event: Event, now: float) -> None:
        self._state = "restarts" if self._state == "ending" else self._state
        self._until(now)
        self._state, self._saved_step, self._goes_on = "start_up", None, False

    def _on_step(self, event: Event, now: float) -> None:
        part = "useful" if id(event) in self._counts else "redone"
        seconds = 0.0 if event.get("skipped") else float(event["seconds"])
        self._until(now, (part, seconds), *self._before())
        self._state, self._saved_step = "other", event["step"]

    def _on_evaluation(self, event: Event, now: float) -> None:
        self._until(now, ("evaluation", float(event.get("seconds") or 0.0)), *self._before())
        self._state = "other"

    def _on_checkpoint_committed(self, _event: Event, now: float) -> None:
        self._waited = now

    def _on_exported(self, event: Event, now: float) -> None:
        seconds = event.get("seconds")
        self._until(now, ("exporting", now - self.cursor if seconds is None else float(seconds)),
                    ("saving", now - self.cursor))

    def _on_failure(self, _event: Event, now: float) -> None:
        # What an attempt that never trained took is its start; what follows a step is lost until this is seen.
        self._state = "start_up" if self._state == "start_up" else "restarts"
        self._until(now)
        self._state = "restarts"

    def _on_decision(self, event: Event, _now: float) -> None:
        self._goes_on = event["decision"] != "end the run"

    def _on_attempt_ended(self, _event: Event, now: float) -> None:
        self._leave(now)
        self._state = "restarts" if self._goes_on else self._left()

    def _on_run_ended(self, _event: Event, now: float) -> None:
        self._leave(now)
        self._state = "queue"

    def _leave(self, now: float) -> None:
        """Account for an end: workers that trained wait until what they save is committed, then they go."""
        if self._state == "other" and self.cursor < self._waited <= now:
            self._until(self._waited, ("saving", self._waited - self.cursor))
        self._state = self._left() if self._state == "other" else self._state
        self._until(now)

    def _left(self) -> str:
        return "changes" if self._attempt in self._changes else "ending"


def _commands(told: Sequence[Event]) -> dict[int, float]:
    """Return the attempts with which another command began to work on the run, and when it did."""
    found, before, token, goes_on, ended = dict[int, float](), told[0]["attempt"], 0, False, False
    tokens = {event["attempt"]: event.get("token", 0) for event in told if event["event"] == "attempt_started"}
    began = {event["attempt"]: float(event["began"]) for event in told
             if event["event"] == "startup_phases" and "began" in event}
    # A controller that died is replaced by its command; whoever dies before it has workers tells no token.
    replaced = {event["attempt"] for event in told
                if event["event"] == "failure" and event.get("kind") == "controller_loss" and event.get("rank") is None}
    for event in told:
        attempt = event["attempt"]
        if attempt != before:
            known = tokens.get(attempt) and token
            same = goes_on or (attempt in replaced and not ended)
            if tokens[attempt] != token if known else not same:
                found[attempt] = min(_time(event), began.get(attempt, _time(event)))
            before = attempt
        token = tokens.get(attempt) or token
        # As long as the command goes on the next attempt is its own.
        ended = event["event"] == "run_ended"
        goes_on = event["event"] == "attempt_ended" or (goes_on and event["event"] != "run_ended")
    return found


def _changes(told: Sequence[Event]) -> set[int]:
    """Return the attempts that gave way to the next one as planned: nothing failed, and the run did not end."""
    whole = {event["attempt"] for event in told if event["event"] == "attempt_ended" and event["outcome"] == "yielded"}
    return whole - {event["attempt"] for event in told if event["event"] in ("failure", "decision", "run_ended")}


def _span(startup: Event | None, name: str) -> float:
    """Return how long a phase of an attempt's start took; 0 if it was not seen."""
    begin, end = (startup or {"phases": {}})["phases"].get(name, (0.0, 0.0))
    return end - begin

"""What a cloud says of one of its machines: that it will be taken away, by when, and what is worth a note. Values only.

Reading the answers of the clouds' metadata services is `core.spot_answers`, asking them `orchestration.spot_probe`;
what a run does about a machine that goes is `core.making_way`.
"""

from collections.abc import Mapping
from typing import Literal, cast, get_args

from launcher.core.document import Document
from launcher.core.errors import UserError

NAME = "LAUNCHER_SPOT"
"""In a node's environment: whose metadata service is asked there, where the recipe does not say."""
SpotWish = Literal["aws", "gcp", "azure", "none"]
MOST_NOTES, LONGEST_NOTE = 50, 300
"""Of one machine, and characters: a service that says another thing at each look must not fill the journal."""


class NotTold(Exception):
    """A service does not tell what it was asked."""


class Leaving(Document):
    """The machine will be taken away."""

    what: str
    """In the cloud's own word: terminate, preempted, Preempt."""
    deadline: float
    """UTC seconds."""


class Said(Document):
    """What a metadata service says at one moment."""

    leaving: Leaving | None = None
    notes: tuple[str, ...] = ()
    """What is not acted upon."""


class Told(Document):
    """What is known of one machine by now."""

    looked: bool = False
    """The service has answered."""
    leaving: Leaving | None = None
    notes: tuple[str, ...] = ()
    """Everything so far that is not acted upon, in order: whoever reads it again sees what is new."""

    def noting(self, *notes: str) -> "Told":
        """Return this with further notes."""
        short = (note[:LONGEST_NOTE] for note in notes)
        return self.model_copy(update={"notes": (*self.notes, *short)[:MOST_NOTES]})


def fold(told: Told, before: Said, said: Said) -> Told:
    """Return what is known after a look; `before` is what was said at the look before.

    A deadline is never put off: what was told first may have been acted upon.
    """
    new = [note for note in said.notes if note not in before.notes]
    leaving, known = said.leaving, told.leaving
    if leaving is not None and known is not None and leaving.what == known.what:
        leaving = known if known.deadline <= leaving.deadline else leaving
    if leaving is None and known is not None:
        new.append(f"{known.what} was withdrawn")
    return told.model_copy(update={"leaving": leaving, "looked": True}).noting(*new)


def spot_of(wish: SpotWish | None, environment: Mapping[str, str]) -> SpotWish:
    """Return whose metadata service a node asks: the recipe's word, else its environment's, else nobody's.

    Never found out by trying: outside the cloud that address belongs to nobody, or to somebody else, and waiting for it
    costs seconds. Raises UserError.
    """
    if wish is not None:
        return wish
    text = environment.get(NAME) or "none"
    if text not in get_args(SpotWish):
        raise UserError(f"{NAME}={text}: expected {', '.join(get_args(SpotWish)[:-1])} or {get_args(SpotWish)[-1]}")
    return cast(SpotWish, text)

"""Several questions at once, with one time-out for all: for commands behind which a person waits.

Decides that who does not answer in time costs the others nothing: what was asked goes on behind the command's back, in
threads that end with it.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")


def side_by_side(ask: Callable[[Question], Answer], late: Callable[[Question], Answer], questions: Sequence[Question],
                 patience_s: float) -> list[Answer]:
    """Return an answer to each question, in order: what `ask` gives, or `late` of one that took too long.

    Raises what `ask` raises.
    """
    heard: dict[int, Callable[[], Answer]] = {}

    def hear(number: int) -> None:
        try:
            answer = ask(questions[number])
            heard[number] = lambda: answer
        except Exception as error:
            heard[number] = lambda error=error: _raise(error)

    threads = [threading.Thread(target=hear, args=(number,), daemon=True) for number in range(len(questions))]
    until = time.monotonic() + patience_s
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    known = dict(heard)
    return [known[number]() if number in known else late(question) for number, question in enumerate(questions)]


def _raise(error: Exception) -> Answer:  # pyright: ignore[reportInvalidTypeVarUse]
    raise error

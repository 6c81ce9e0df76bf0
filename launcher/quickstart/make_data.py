"""Makes the quickstart's three files: counting, then sums, then sums told as little stories.

Run by hand when the tasks change (`python launcher/quickstart/make_data.py`); the files are committed. Each task
leans on the one before: a sum is counting on, and a story's answer writes its sum down. The same three forms of
data are what people bring: text, prompt and completion, chat messages.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
SEED = 2
HIGHEST = 20
STORIES = 600
NAMES = ("Ada", "Ben", "Mia", "Tom")
THINGS = ("apples", "books", "nuts", "pens")


def counting() -> Iterator[dict[str, Any]]:
    """Yield every way to count up or down between two numbers."""
    for first in range(1, HIGHEST + 1):
        for last in range(1, HIGHEST + 1):
            if first != last:
                step = 1 if last > first else -1
                yield {"text": f"count from {first} to {last}: "
                               + " ".join(str(number) for number in range(first, last + step, step))}


def sums() -> Iterator[dict[str, Any]]:
    """Yield all sums of two digits, the differences that undo them, and both with a gap to fill."""
    for left in range(1, 10):
        for right in range(1, 10):
            total = left + right
            yield {"prompt": f"{left} + {right} =", "completion": f"{total}"}
            yield {"prompt": f"{total} - {right} =", "completion": f"{left}"}
            yield {"prompt": f"{left} + ? = {total}, ? =", "completion": f"{right}"}
            yield {"prompt": f"{total} - ? = {left}, ? =", "completion": f"{right}"}


def stories() -> Iterator[dict[str, Any]]:
    """Yield every story of somebody who has some things and gets or gives away some."""
    for name in NAMES:
        for thing in THINGS:
            for left in range(1, 10):
                for right in range(1, 10):
                    total = left + right
                    yield _story(f"{name} has {left} {thing} and gets {right} more.", f"{left} + {right} = {total}",
                                 f"{name} has {total} {thing}.")
                    yield _story(f"{name} has {total} {thing} and gives away {right}.",
                                 f"{total} - {right} = {left}", f"{name} has {left} {thing}.")


def _story(told: str, worked: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": f"{told} How many now?"},
                         {"role": "assistant", "content": f"{worked}. {answer}"}]}


def write(name: str, rows: list[dict[str, Any]]) -> None:
    """Write one file of JSON lines."""
    (FOLDER / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def main() -> None:
    """Write the three files. The order within a file means nothing, so it is shuffled, the same on every run."""
    chance = random.Random(SEED)
    for name, rows, count in (("counting", counting(), None), ("sums", sums(), None), ("stories", stories(), STORIES)):
        shuffled = list(rows)
        chance.shuffle(shuffled)
        write(f"{name}.jsonl", shuffled[:count])


if __name__ == "__main__":
    main()

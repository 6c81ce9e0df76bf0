"""What is known of a source's documents while its files are read, and when what is read is refused.

Decides by the source's policies: `skip_bad` and `max_unlearnable`. Which rows are bad and what of them is left out is
`data.batch_work`.
"""

from collections import Counter

import numpy as np

from launcher.core.errors import DataInvalid
from launcher.core.recipe_sources import Source
from launcher.data.batch_work import BEYOND, PLACES, TokenizedBatch
from launcher.data.documents import Shelf


class Intake:
    """Documents of the files that are read one after the other, but for their tokens, which go to disk."""

    def __init__(self, source: Source, place: str, limit: int) -> None:
        self._source, self._place, self._limit = source, place, limit
        self.shelf = Shelf()
        self.counts: Counter[str] = Counter()
        self.bad: tuple[str, ...] = ()
        """The first rows that were skipped: place and problem."""
        self.tokens = 0

    def take(self, batch: TokenizedBatch) -> np.ndarray:
        """Keep what is known of a batch and return its tokens. Raises DataInvalid for a bad row if none is allowed."""
        if batch.bad and not self._source.skip_bad:
            raise DataInvalid(batch.bad[0])
        self.bad = (*self.bad, *batch.bad)[:PLACES]
        self.counts.update(batch.counts)
        self.tokens += len(batch.tokens)
        self.shelf.add(batch.lengths, batch.supervised, batch.indexes, batch.hashes, batch.keys)
        return batch.tokens

    def check(self) -> None:
        """Raise DataInvalid if more was left out than the source's policies allow."""
        read, skipped = self.counts["read"], self.counts["skipped"]
        if skipped > self._source.skip_bad * read:
            share = f"{skipped:,} of {read:,} rows ({skipped / read:.1%})"
            raise DataInvalid(f"{self.bad[0]}\n{self._place}: {share} are bad, more than skip_bad: "
                              f"{self._source.skip_bad:.1%} allows; repair them, or allow more")
        empty, allowed = self.counts["dropped_empty"], self._source.max_unlearnable
        if empty > allowed * (read - skipped):
            why, remedy = self._why_empty(f"of {read - skipped:,} document{'s' * (read - skipped != 1)}")
            raise DataInvalid(f"{self._place}: {why}, more than max_unlearnable: {allowed:.1%} allows; {remedy}, or "
                              "allow more")

    def _why_empty(self, of_all: str) -> tuple[str, str]:
        """Return how many documents teach nothing and why, and what to do about most of them."""
        empty, beyond, answers = (self.counts[name] for name in ("dropped_empty", BEYOND, "empty_answers"))
        if beyond > empty / 2:
            rest = f", and {empty - beyond:,} more {_have(empty - beyond)} nothing to learn" if empty > beyond else ""
            return (f"{beyond:,} {of_all} {_have(beyond)} more tokens than the {self._limit} of a row, and what is to "
                    f"be learnt behind them{rest}", "raise sequence_length, or cut them up with too_long: split")
        told = f" ({answers:,} {_have(answers)} an empty answer)" if answers else ""
        return f"{empty:,} {of_all} {_have(empty)} nothing to learn{told}", "look at loss, format and sequence_length"

    def why_none(self, held: int) -> str:
        """Return why there is nothing to train on."""
        beyond = self.counts[BEYOND]
        long = self.counts["dropped_long"] + beyond
        return (f"of {self.counts['read']} rows {self.counts['dropped_empty'] - beyond} have nothing to learn, "
                f"{long} are longer than {self._limit} tokens and {held} are held out")


def _have(count: int) -> str:
    return "has" if count == 1 else "have"

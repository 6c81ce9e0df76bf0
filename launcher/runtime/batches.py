"""From the plan's row numbers to the tensors of a micro-batch.

Which rows a step has is `core.mixing`, who computes them `core.dealing`; this module looks rows up in the prepared
sources and lays them out. Labels are shifted here, so position t of `labels` is the token that position t predicts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from launcher.core.dealing import deal
from launcher.core.mixing import locate
from launcher.core.run_plan import RunPlan
from launcher.data.packed import PackedRow, PackedSplit
from launcher.data.row_digest import lengths_at, rows_digest

KINDS = ("ids", "positions", "labels")
IGNORED = -100
"""The label that torch's cross entropy leaves out."""
ZERO_WEIGHT_TOKENS = 8
"""Length of the row that stands in for a missing one: long enough for any model, cheap to compute."""


@dataclass(frozen=True, slots=True)
class RowPlace:
    """A row of a step: where it lies, and its number over the whole run."""

    source: str
    index: int
    number: int
    length: str = ""
    """Which rows of the source, `@512` for those of a stage with its own sequence length."""

    @property
    def rows(self) -> str:
        """Return what the rows are called that it is one of."""
        return self.source + self.length


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Tensors [rows, length] on the worker's device. A batch of weight zero has no sources."""

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    labels: torch.Tensor
    sources: tuple[str, ...]
    """The source of each row."""
    first_row: int
    """Number of the first row over the run, which seeds this micro-batch's noise."""


@dataclass(frozen=True, slots=True)
class StepRows:
    """All rows of a step, whoever computes them."""

    places: tuple[RowPlace, ...]
    supervised: dict[str, int]
    """Supervised tokens by source; their sum N normalises the loss."""
    tokens_of: dict[str, int]
    """Tokens by source, without padding."""
    rows: dict[str, int]

    @property
    def tokens(self) -> int:
        """Return the tokens of all rows."""
        return sum(self.tokens_of.values())

    @property
    def supervised_tokens(self) -> int:
        """Return N, the step's global number of supervised tokens."""
        return sum(self.supervised.values())


class Batches:
    """Looks up the rows of any step, and lays out one rank's part."""

    def __init__(self, plan: RunPlan, splits: dict[str, PackedSplit], device: torch.device, *, flatten: bool,
                 width: int = 0) -> None:
        """Rows are filled up to the longest of a micro-batch, and to `width` at least."""
        self._plan, self._splits, self._device, self._width = plan, splits, device, width
        # flash_attention_2 finds document borders in the positions of a single long row only.
        self._flatten = flatten
        self._lengths = {name: split.rows for name, split in splits.items()}

    def step_rows(self, step: int) -> StepRows:
        """Return the rows of a step (from 1) in order."""
        stage = self._plan.stage_of(step)
        lengths, suffix = lengths_at(self._plan, stage, self._lengths), self._plan.rows_called(stage, "")
        places = []
        for row in self._plan.rows_of(step):
            address = locate(stage, row, lengths, self._plan.seed)
            places.append(RowPlace(address.source, address.index, stage.first_row + row, suffix))
        return self._count(tuple(places))

    def all_rows(self, source: str) -> StepRows:
        """Return every row of a source in order, as evaluation reads a holdout."""
        return self._count(tuple(RowPlace(source, index, index) for index in range(self._lengths[source])))

    def _count(self, places: tuple[RowPlace, ...]) -> StepRows:
        supervised: dict[str, int] = {}
        rows: dict[str, int] = {}
        tokens: dict[str, int] = {}
        for place in places:
            split = self._splits[place.rows]
            supervised[place.source] = supervised.get(place.source, 0) + int(split.supervised[place.index])
            rows[place.source] = rows.get(place.source, 0) + 1
            tokens[place.source] = tokens.get(place.source, 0) + int(split.tokens_in[place.index])
        return StepRows(places, supervised, tokens, rows)

    def digest(self, rows: StepRows) -> str:
        """Return the journal's `rows_digest`."""
        splits = {place.source: self._splits[place.rows] for place in rows.places}
        return rows_digest(((place.source, place.index) for place in rows.places), splits)

    def documents(self, rows: StepRows) -> list[str]:
        """Return the name, `source:index`, of every document in the rows, in order."""
        return [f"{place.source}:{document}" for place in rows.places
                for document in self._splits[place.rows].row(place.index).documents]

    def of_rank(self, rows: StepRows, rank: int, data_parallel: int, micro_batch: int) -> list[MicroBatch]:
        """Return a rank's micro-batches; as many as every other rank's."""
        return [self._lay_out(places) for places in deal(rows.places, data_parallel, micro_batch)[rank]]

    def _lay_out(self, places: Sequence[RowPlace]) -> MicroBatch:
        if not places:
            return self._zero_weight()
        rows = [self._splits[place.rows].row(place.index) for place in places]
        width = max(self._width, *(len(row.tokens) for row in rows))
        arrays = {kind: np.stack([_padded(row, kind, width) for row in rows]) for kind in KINDS}
        shape = (1, -1) if self._flatten else (len(rows), -1)
        ids, positions, labels = (torch.from_numpy(arrays[kind]).to(self._device).view(shape) for kind in arrays)
        sources = tuple(place.source for place in places)
        return MicroBatch(ids, positions, labels, sources, places[0].number)

    def _zero_weight(self) -> MicroBatch:
        zeros = torch.zeros(1, ZERO_WEIGHT_TOKENS, dtype=torch.long, device=self._device)
        positions = torch.arange(ZERO_WEIGHT_TOKENS, device=self._device)[None]
        return MicroBatch(zeros, positions, torch.full_like(zeros, IGNORED), (), 0)


def _padded(row: PackedRow, kind: str, width: int) -> np.ndarray:
    """Return one int64 array of a row, filled up to `width` by what counts as one more document without labels."""
    length = len(row.tokens)
    if kind == "ids":
        filled = np.zeros(width, np.int64)
        filled[:length] = row.tokens
    elif kind == "positions":
        filled = np.concatenate([row.positions.astype(np.int64), np.arange(width - length)])
    else:
        filled = np.full(width, IGNORED, np.int64)
        filled[: length - 1] = np.where(row.supervised[1:], row.tokens[1:], IGNORED)
    return filled

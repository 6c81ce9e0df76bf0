"""Files damaged at random: what can be read is read, all else is told, and nothing ever crashes."""

import pickle
import random

import pytest

from launcher.core.errors import DataInvalid
from launcher.core.recipe_sources import Source
from launcher.data.reading import BadRow, open_source
from tests.data.reading.test_formats import FILES, ROWS


def damaged(data, chance):
    """Return data with a piece cut off, altered, put in or zeroed."""
    changed, at = bytearray(data), chance.randrange(len(data))
    match chance.choice(["cut", "alter", "insert", "zero"]):
        case "cut":
            return bytes(changed[:at])
        case "alter":
            for _ in range(chance.randrange(1, 20)):
                changed[chance.randrange(len(data))] = chance.randrange(256)
        case "insert":
            changed[at:at] = chance.randbytes(chance.randrange(1, 50))
        case _:
            changed[at:at + 500] = bytes(len(changed[at:at + 500]))
    return bytes(changed)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_told_or_read(tmp_path, name):
    chance, told, whole = random.Random(name), 0, 0
    for _ in range(100):
        (tmp_path / name).write_bytes(damaged(FILES[name], chance))
        try:
            files = open_source(Source(path=str(tmp_path / name)))
            rows = [row for batch in files.batches() for row in pickle.loads(pickle.dumps(batch)).rows()]
        except DataInvalid as error:
            assert str(tmp_path / name) in str(error) and "\n" not in str(error)
            told += 1
            continue
        told += any(isinstance(row, BadRow) for row in rows)
        # A table knows how many rows it has: none is lost without a word.
        assert ("parquet" not in name and "arrow" not in name) or len(rows) == len(ROWS)
        whole += 1
    assert told > 40, (told, whole)

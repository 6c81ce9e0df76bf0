"""Prepare a recipe once, from nothing, and say how long it took: a contestant, and what memory is measured of.

Usage: prepare_launcher.py RECIPE_JSON CACHE OUT_JSON PROCESSES
"""

import json
import sys
import time
from pathlib import Path

from launcher.core.recipe import Recipe
from launcher.data.prepare import prepare
from launcher.storage.store import LocalStore


def main(recipe: str, cache: str, out: str, processes: int) -> None:
    begin = time.time()
    # What it imports beyond this point and its processes' start are inside.
    prepared = prepare(Recipe.from_json(Path(recipe).read_text()), LocalStore(cache), processes=processes)
    seconds = time.time() - begin
    found = {name: {"read": index.read, "documents": index.train.documents, "rows": index.train.rows,
                    "tokens": index.train.tokens, "learnt": index.train.supervised_tokens}
             for name, index in prepared.sources.items()}
    Path(out).write_text(json.dumps({"seconds": seconds, "sources": found}))


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))

"""Documents that are in several sources are found by their content, in whatever form and order they stand."""

import json
from pathlib import Path

from launcher.cli.prepare import notes
from launcher.core.recipe import Recipe
from launcher.core.source_index import Prepared, SharedDocuments
from launcher.data.prepare import prepare
from launcher.data.shared import shared_documents
from launcher.storage.store import LocalStore


def prepared(folder: Path, **sources: tuple[list[dict[str, object]], dict[str, object]]) -> Prepared:
    fields = {}
    for name, (rows, more) in sources.items():
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        fields[name] = {"path": str(path), **more}
    recipe = Recipe.model_validate({
        "name": "r", "sequence_length": 64, "batch": {"rows": 2}, "sources": fields, "learning_rate": 0.1,
        "model": {"init": {"architecture": "llama"}, "tokenizer": {"train": {"vocab_size": 300}}},
        "stages": [{"name": "s", "length": {"steps": 1}, "mix": dict.fromkeys(fields, 1)}]})
    store = LocalStore(folder / "cache")
    found = prepare(recipe, store)
    return found.model_copy(update={"shared": shared_documents(found, store)})


def pairs(begin: int, end: int) -> list[dict[str, object]]:
    return [{"prompt": f"What is {number}?", "completion": f"A number, {number}."} for number in range(begin, end)]


def test_the_same_document_is_found_in_another_form(tmp_path: Path) -> None:
    chats: list[dict[str, object]] = [{"messages": [{"role": "user", "content": row["prompt"]},
                                                    {"role": "assistant", "content": row["completion"]}]}
                                      for row in pairs(15, 30)]
    found = prepared(tmp_path, pairs=(pairs(0, 20), {}), chats=(chats, {}))
    assert found.shared == (SharedDocuments(source="pairs", other="chats", documents=5, held_out=False),)
    assert "pairs: 5 documents are in chats too" in list(notes(found))


def test_held_out_documents_that_another_source_trains_on_are_told(tmp_path: Path) -> None:
    found = prepared(tmp_path, small=(pairs(0, 40), {"holdout": "50%"}), large=(pairs(0, 80), {}))
    held = found.sources["small"].holdout.documents
    assert 0 < held < 40
    assert SharedDocuments(source="small", other="large", documents=held, held_out=True) in found.shared
    assert f"small: {held} held-out documents are trained on in large" in "\n".join(notes(found))


def test_the_same_share_of_both_keeps_equal_documents_apart(tmp_path: Path) -> None:
    found = prepared(tmp_path, small=(pairs(0, 40), {"holdout": "30%"}), large=(pairs(0, 80), {"holdout": "30%"}))
    assert [each.held_out for each in found.shared] == [False]


def test_repeats_in_one_source_are_counted_and_dropped_when_asked(tmp_path: Path) -> None:
    rows = [*pairs(0, 10), *pairs(0, 4)]
    kept = prepared(tmp_path, twice=(rows, {})).sources["twice"]
    dropped = prepared(tmp_path, twice=(rows, {"duplicates": "drop"})).sources["twice"]
    assert (kept.duplicates, kept.train.documents) == (4, 14)
    assert (dropped.duplicates, dropped.train.documents) == (4, 10)

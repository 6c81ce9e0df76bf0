"""Documents that are in several sources are found by their content, in whatever form and order they stand."""

from pathlib import Path
from typing import Any

from launcher.cli.prepare import notes
from launcher.core.source_index import Prepared, SharedDocuments
from launcher.data.prepare import prepare
from launcher.data.shared import shared_documents
from launcher.storage.store import LocalStore
from tests.data.making import recipe_for, write_rows


def prepared(folder: Path, **sources: tuple[list[dict[str, Any]], dict[str, Any]]) -> Prepared:
    recipe = recipe_for({name: {"path": write_rows(folder / f"{name}.jsonl", rows), **said}
                         for name, (rows, said) in sources.items()})
    store = LocalStore(folder / "cache")
    found = prepare(recipe, store)
    return found.model_copy(update={"shared": shared_documents(found, store)})


def pairs(begin: int, end: int) -> list[dict[str, Any]]:
    return [{"prompt": f"What is {number}?", "completion": f"A number, {number}."} for number in range(begin, end)]


def test_the_same_document_is_found_in_another_form(tmp_path: Path) -> None:
    chats: list[dict[str, Any]] = [{"messages": [{"role": "user", "content": row["prompt"]},
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

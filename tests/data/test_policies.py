"""What a source's policies leave out, refuse, hold out and count."""

import json

import numpy as np
import pytest

from launcher.core.errors import DataInvalid
from launcher.data.holdout import document_hash
from launcher.data.packed import document_hashes
from launcher.data.prepare import look_up, prepare
from launcher.storage.store import LocalStore
from tests.data.files import SUMS
from tests.data.making import documents_of, recipe_for, write_rows


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "cache")


@pytest.fixture
def sums(tmp_path):
    return write_rows(tmp_path / "sums.jsonl", SUMS)


def prepared(store, path, **fields):
    return prepare(recipe_for({"s": {"path": path, **fields}}), store).sources["s"]


def with_bad_rows(path, *places):
    """Write the sums, those at some places spoilt: half a line, or an answer that is a number."""
    lines = [json.dumps(row) for row in SUMS]
    for number, place in enumerate(places):
        lines[place] = lines[place][:9] if number % 2 == 0 else '{"prompt": "1", "completion": 2}'
    path.write_text("\n".join(lines) + "\n")
    return path


def test_bad_rows_are_skipped_and_counted_up_to_a_share(tmp_path, store):
    path = with_bad_rows(tmp_path / "sums.jsonl", 3, 7, 8, 20)
    index = prepared(store, path, skip_bad="12%")
    assert (index.read, index.skipped, index.train.documents) == (36, 4, 32)
    assert [place.split(": ")[0] for place in index.skipped_first] == [f"{path}:row {row}" for row in (4, 8, 9)]
    # Positions are those of the file as given.
    assert set(documents_of(store, index)) == set(range(36)) - {3, 7, 8, 20}
    assert look_up(recipe_for({"s": {"path": path, "skip_bad": "12%"}}), store).sources["s"] == index
    with pytest.raises(DataInvalid) as caught:
        prepared(store, path, skip_bad="11%")
    first, second = str(caught.value).split("\n")
    assert first.startswith(f"{path}:row 4: not JSON")
    assert second.startswith(f"{path}: 4 of 36 rows (11.1%) are bad, more than skip_bad: 11.0% allows")


def test_without_leave_the_first_bad_row_is_refused(tmp_path, store):
    path = with_bad_rows(tmp_path / "sums.jsonl", 30, 7)
    with pytest.raises(DataInvalid, match=r"row 8: completion must be text, not int"):
        prepared(store, path)
    # Nothing is left behind but the tokenizer, its lease and the source's.
    assert not list(store.list("prepared/"))


def test_what_cannot_be_learnt_is_counted_and_refused_above_a_share(tmp_path, store):
    rows = [*SUMS, *[{"prompt": "what?", "completion": " "}] * 4]
    path = write_rows(tmp_path / "sums.jsonl", rows)
    index = prepared(store, path)
    assert (index.read, index.dropped_empty, index.empty_answers, index.train.documents) == (40, 4, 4, 36)
    with pytest.raises(DataInvalid, match=r"sums.jsonl: 4 of 40 documents have nothing to learn \(4 have an empty "
                                          r"answer\), more than max_unlearnable: 9.0% allows"):
        prepared(store, path, max_unlearnable="9%")


def test_an_empty_answer_among_others_is_counted(tmp_path, store):
    turns = [{"role": "user", "content": "1?"}, {"role": "assistant", "content": ""},
             {"role": "user", "content": "2?"}, {"role": "assistant", "content": "3"}]
    index = prepared(store, write_rows(tmp_path / "talk.jsonl", [{"messages": turns}, {"messages": turns[2:]}]))
    assert (index.empty_answers, index.dropped_empty, index.train.documents) == (1, 0, 2)


def test_duplicates_are_counted_and_dropped_where_wanted(tmp_path, store):
    path = write_rows(tmp_path / "sums.jsonl", [*SUMS, *SUMS[:5], SUMS[0]])
    kept, dropped = prepared(store, path), prepared(store, path, duplicates="drop")
    assert (kept.duplicates, kept.duplicates_dropped, kept.train.documents) == (6, False, 42)
    assert (dropped.duplicates, dropped.duplicates_dropped, dropped.train.documents) == (6, True, 36)
    # The first of each stays.
    assert set(documents_of(store, dropped)) == set(range(36))
    assert dropped.fingerprint != kept.fingerprint


def test_parts_of_a_long_document_are_no_duplicates(tmp_path, store):
    path = write_rows(tmp_path / "long.jsonl", [{"text": "word " * 200}, {"text": "other"}, {"text": "word " * 200}])
    index = prepared(store, path, too_long="split", duplicates="drop")
    assert index.duplicates == 1 and set(documents_of(store, index)) == {0, 1}
    assert len(document_hashes(store, index, "train")) == 2 < index.train.documents


@pytest.mark.parametrize(("wanted", "held"), [(1, 1), (7, 7), (35, 35)])
def test_a_holdout_by_number_has_the_smallest_hashes(store, sums, wanted, held):
    index = prepared(store, sums, holdout=wanted)
    ranks = np.argsort([document_hash(row.values()) for row in SUMS])
    assert set(documents_of(store, index, "holdout")) == set(ranks[:held].tolist())
    assert (index.train.documents, index.holdout.documents) == (36 - held, held)


def test_equal_documents_are_held_out_together(tmp_path, store):
    first = min(SUMS, key=lambda row: document_hash(row.values()))
    index = prepared(store, write_rows(tmp_path / "sums.jsonl", [*SUMS, first, first]), holdout=1)
    assert (index.train.documents, index.holdout.documents) == (35, 3)
    index = prepared(store, tmp_path / "sums.jsonl", holdout=1, duplicates="drop")
    assert (index.train.documents, index.holdout.documents) == (35, 1)


def test_more_cannot_be_held_out_than_there_is(store, sums):
    with pytest.raises(DataInvalid, match=r"no document is left to train on: .* 36 are held out"):
        prepared(store, sums, holdout=50)
    assert not list(store.list("prepared/"))


def test_a_holdout_of_its_own_is_read_like_the_source(tmp_path, store, sums):
    others = [{"prompt": f"{a} + 9 =", "completion": str(a + 9)} for a in range(4)]
    held = write_rows(tmp_path / "held.jsonl", [*others, SUMS[0], SUMS[7]])
    index = prepared(store, sums, holdout=str(held))
    assert (index.read, index.holdout_read, index.overlap) == (36, 6, 2)
    assert (index.train.documents, index.holdout.documents) == (36, 6)
    assert set(documents_of(store, index, "holdout")) == set(range(6))
    # Its tokens lie behind the others.
    tokens, _ = documents_of(store, index, "holdout")[4]
    assert tokens == documents_of(store, index)[0][0]
    held.write_text(held.read_text() + "{\n")
    with pytest.raises(DataInvalid, match=r"held.jsonl:row 7: "):
        prepared(store, sums, holdout=str(held))


def test_a_document_is_known_in_any_form(tmp_path, store):
    turns = [[{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"]}]
             for row in SUMS[:9]]
    paths = {"sums": write_rows(tmp_path / "sums.jsonl", SUMS[:9]),
             "talk": write_rows(tmp_path / "talk.jsonl", [{"messages": messages} for messages in turns]),
             "text": write_rows(tmp_path / "text.jsonl", [{"text": f"{row['prompt']}\n{row['completion']}\n"}
                                                          for row in SUMS[:9]])}
    found = prepare(recipe_for(paths), store)
    hashes = [document_hashes(store, index, "train").tolist() for index in found.sources.values()]
    assert hashes[0] == hashes[1] == hashes[2] and len(set(hashes[0])) == 9

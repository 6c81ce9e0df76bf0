"""Prepared data in object storage: made by one machine, used by another that has nothing but the URL."""

import pytest

from launcher.core.errors import UserError
from launcher.data.hashes import WORTH_REMEMBERING_BYTES
from launcher.data.packed import PackedSplit
from launcher.data.prepare import look_up, prepare
from launcher.data.tokenizer import stored_tokenizer
from launcher.storage.store import LocalStore, open_store
from tests.data.files import SUMS
from tests.data.making import contents, recipe_for, write_rows


def test_a_cache_that_is_not_there_is_not_told_as_unreadable_data(bucket, tmp_path):
    recipe = recipe_for({"sums": write_rows(tmp_path / "sums.jsonl", SUMS * 100)})
    assert (tmp_path / "sums.jsonl").stat().st_size > WORTH_REMEMBERING_BYTES
    with pytest.raises(UserError, match=r"^s3://no-such-bucket: there is no such bucket"):
        prepare(recipe, open_store("s3://no-such-bucket/cache"))


@pytest.mark.slow
def test_what_one_machine_prepares_another_opens(bucket, tmp_path, monkeypatch):
    recipe, told = recipe_for({"sums": write_rows(tmp_path / "sums.jsonl", SUMS)}), []
    monkeypatch.setenv("LAUNCHER_SCRATCH", str(tmp_path / "first"))
    cache = open_store(bucket.url)
    assert look_up(recipe, cache) is None
    prepared = prepare(recipe, cache)
    local = LocalStore(tmp_path / "local")
    assert prepare(recipe, local) == prepared and contents(local) == contents(cache)

    monkeypatch.setenv("LAUNCHER_SCRATCH", str(tmp_path / "second"))
    other = open_store(bucket.url)
    assert prepare(recipe, other, waiting=lambda *waits: told.append(waits)) == prepared and not told
    rows, same = PackedSplit(other, prepared.sources["sums"], "train"), PackedSplit(local, prepared.sources["sums"],
                                                                                    "train")
    assert rows.rows == same.rows and all(
        rows.row(number).tokens.tolist() == same.row(number).tokens.tolist() for number in range(rows.rows))
    assert stored_tokenizer(other, prepared.tokenizer.fingerprint).decode(rows.row(0).tokens)

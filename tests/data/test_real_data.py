"""Public data sets in three forms, where they are at hand: nothing lost, and quick."""

import json
import time
from pathlib import Path

import pytest

from launcher.data.prepare import prepare
from launcher.storage.store import LocalStore
from tests.data.making import documents_of, recipe_for

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is not here")


@pytest.mark.slow
def test_gsm8k_is_prepared_whole_and_quickly(tmp_path):
    path = DATA / "gsm8k.jsonl"
    recipe = recipe_for({"reasoning": {"path": path, "holdout": "2%"}}, sequence_length=1024,
                        tokenizer={"train": {"vocab_size": 1000}})
    store = LocalStore(tmp_path)
    began = {}
    prepared = prepare(recipe, store, lambda name, done, total: began.setdefault(name, (time.process_time(), done)))
    seconds, index = time.process_time() - began["reasoning"][0], prepared.sources["reasoning"]
    # The file has a Unicode line separator inside a string, which is no row.
    assert index.read == 7473 == index.train.documents + index.holdout.documents
    assert index.train.tokens / (index.train.rows * 1024) > 0.98
    share = 1 - began["reasoning"][1] / path.stat().st_size
    # Of one core; 4,000 and more on a quiet machine.
    assert index.read * share / seconds > 1000
    from launcher.data.tokenizer import stored_tokenizer

    tokenizer = stored_tokenizer(store, prepared.tokenizer.fingerprint)
    documents = documents_of(store, index)
    rows = [json.loads(line) for line in path.open("rb")]
    for place in list(documents)[:200]:
        tokens, labels = documents[place]
        assert tokenizer.decode(tokens) == f"{rows[place]['prompt']}\n{rows[place]['completion']}<|end|>"
        words = tokenizer.decode([token for token, label in zip(tokens, labels, strict=True) if label])
        assert words == f"{rows[place]['completion']}<|end|>"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "read"), [("medquad_heart_lung_blood", 559), ("pubmedqa", 1000)])
def test_other_forms_are_prepared_whole(tmp_path, name, read):
    recipe = recipe_for({name: {"path": DATA / f"{name}.jsonl", "too_long": "split"}}, sequence_length=512)
    index = prepare(recipe, LocalStore(tmp_path)).sources[name]
    assert index.read == read == len(documents_of(LocalStore(tmp_path), index))


def test_preference_pairs_are_refused(tmp_path):
    with pytest.raises(Exception, match=r"hh_harmless_pairs\.jsonl:row 1: the columns .* are none of the known forms"):
        prepare(recipe_for({"pairs": DATA / "hh_harmless_pairs.jsonl"}), LocalStore(tmp_path))

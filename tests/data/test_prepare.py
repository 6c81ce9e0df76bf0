"""Preparing: once, the same every time, found again at once, and nothing half-finished ever taken for finished."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

from launcher.core.errors import UserError
from launcher.data.holdout import document_hash
from launcher.data.packed import PackedSplit
from launcher.data.prepare import look_up, prepare
from launcher.data.tokenizer import stored_tokenizer
from launcher.storage.store import LocalStore
from tests.data.files import SUMS, TALK, WORDS
from tests.data.making import contents, documents_of, recipe_for, write_rows


@pytest.fixture
def files(tmp_path):
    return {"sums": write_rows(tmp_path / "sums.jsonl", SUMS), "talk": write_rows(tmp_path / "talk.jsonl", TALK)}


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "cache")


def test_what_was_prepared_is_found(files, store):
    recipe = recipe_for(files)
    assert look_up(recipe, store) is None
    seen = []
    prepared = prepare(recipe, store, lambda *progress: seen.append(progress))
    assert look_up(recipe, store) == prepared
    assert seen == [(name, path.stat().st_size, path.stat().st_size) for name, path in files.items()]
    sums = prepared.sources["sums"]
    assert (sums.read, sums.train.documents, sums.holdout.documents) == (36, 36, 0)
    tokenizer = stored_tokenizer(store, prepared.tokenizer.fingerprint)
    tokens, labels = documents_of(store, sums)[8]  # 1 + 2
    assert tokenizer.decode(tokens) == "1 + 2 =\n3<|end|>"
    assert tokenizer.decode([token for token, label in zip(tokens, labels, strict=True) if label]) == "3<|end|>"


def test_prepared_twice_is_the_same_to_the_byte(files, tmp_path):
    recipe = recipe_for(files)
    made = []
    for name in ("first", "second"):
        store = LocalStore(tmp_path / name)
        prepare(recipe, store)
        made.append(contents(store))
    assert made[0] == made[1] and len(made[0]) > 30


def test_preparing_again_makes_nothing_anew(files, store):
    prepare(recipe_for(files), store)
    before = {key: store.local(key).stat().st_mtime_ns for key in store.list("prepared/")}
    prepare(recipe_for(files), store)
    assert before == {key: store.local(key).stat().st_mtime_ns for key in store.list("prepared/")}


class DyingStore(LocalStore):
    """The process is gone at the n-th object."""

    def __init__(self, folder, survives):
        super().__init__(folder)
        self.survives = survives

    def put(self, key, content):
        if key.startswith("leases/"):  # those of a process that is gone hold nobody up
            return super().put(key, content)
        if not self.survives:
            raise KeyboardInterrupt
        self.survives -= 1
        return super().put(key, content)


def test_a_killed_preparation_is_not_found_and_can_be_done_again(files, tmp_path):
    recipe = recipe_for({"talk": files["talk"]})
    whole = LocalStore(tmp_path / "whole")
    prepare(recipe, whole)
    objects = contents(whole)
    for survives in range(len(objects)):
        torn = DyingStore(tmp_path / f"torn {survives}", survives)
        with pytest.raises(KeyboardInterrupt):
            prepare(recipe, torn)
        assert look_up(recipe, LocalStore(torn.url)) is None
    prepare(recipe, LocalStore(torn.url))
    assert contents(torn) == objects


def test_two_at_once_leave_one_whole_result(files, tmp_path):
    recipe, store = recipe_for(files), LocalStore(tmp_path / "shared")
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: prepare(recipe, store), range(2))
    alone = LocalStore(tmp_path / "alone")
    assert first == second == prepare(recipe, alone)
    assert contents(store, "prepared/") == contents(alone, "prepared/")


def test_parts_of_a_split_up_document_make_the_whole_again(tmp_path, store):
    draw = np.random.default_rng(7)
    rows = [{"text": " ".join(draw.choice(WORDS, count))} for count in draw.integers(1, 120, 60)]
    path = write_rows(tmp_path / "texts.jsonl", rows)
    whole = prepare(recipe_for({"texts": path}, sequence_length=1000), store).sources["texts"]
    recipe = recipe_for({"texts": {"path": path, "too_long": "split"}}, sequence_length=30)
    split = prepare(recipe, store).sources["texts"]
    assert split.split_up > 20 and split.train.documents > 100
    found = {index: ([], []) for index in range(60)}
    packed = PackedSplit(store, split, "train")
    for number in range(packed.rows):
        row = packed.row(number)
        borders = [*np.flatnonzero(row.positions == 0).tolist(), len(row.tokens)]
        for index, (start, end) in zip(row.documents.tolist(), pairwise(borders), strict=True):
            # Positions restart, and no label crosses a border: the first token of a part is predicted by nothing.
            assert row.positions[start:end].tolist() == list(range(end - start))
            assert not row.supervised[start] and row.supervised[start + 1:end].all()
            found[index][0].append(row.tokens[start:end].tolist())
    for index, (tokens, _) in documents_of(store, whole).items():
        parts = [tokens[begin:begin + 30] for begin in range(0, len(tokens), 30)]
        # A last part of one token has nothing to learn.
        assert sorted(found[index][0]) == sorted(part for part in parts if len(part) > 1)


def test_a_directory_without_a_fast_tokenizer_is_refused(files, store, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"has no tokenizer; say where it is with model\.tokenizer\.path"):
        prepare(recipe_for(files, tokenizer={"path": str(tmp_path)}), store)
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(UserError, match=r"has no tokenizer\.json; .*save_pretrained"):
        prepare(recipe_for(files, tokenizer={"path": str(tmp_path)}), store)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="the tokenizer cannot be read"):
        prepare(recipe_for(files, tokenizer={"path": str(tmp_path)}), store)


def test_transformers_loads_the_trained_tokenizer(files, store):
    from transformers import AutoTokenizer

    facts = prepare(recipe_for(files), store).tokenizer
    tokenizer = AutoTokenizer.from_pretrained(store.local(f"tokenizer/{facts.fingerprint}/tokenizer.json").parent)
    assert (len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id) == (facts.vocab_size, facts.eos, facts.pad)
    messages = [{"role": "user", "content": "hi"}]
    assert tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) == \
        "<|turn|>user\nhi<|end|>\n<|turn|>assistant\n"


def test_the_holdout_goes_by_content_alone(files, store):
    recipe = recipe_for({"sums": {"path": files["sums"], "holdout": "30%"}})
    index = prepare(recipe, store).sources["sums"]
    held = set(documents_of(store, index, "holdout"))
    assert held == {place for place, row in enumerate(SUMS) if document_hash(row.values()) < 0.3 * 2**64}
    assert 2 < len(held) < 24 and held.isdisjoint(documents_of(store, index))
    # Reordered, repeated and with other columns beside: the same documents are held.
    write_rows(files["sums"], [{"id": 7, **row} for row in SUMS[::-1] + SUMS])
    index = prepare(recipe, store).sources["sums"]
    expected = {72 - 37 - place for place in held} | {36 + place for place in held}
    assert set(documents_of(store, index, "holdout")) == expected
    assert sum(document_hash([str(number)]) < 0.1 * 2**64 for number in range(4000)) == pytest.approx(400, abs=80)


@pytest.mark.parametrize(("too_long", "counts", "documents"), [
    ("truncate", {"truncated": 1, "dropped_empty": 1}, 2), ("drop", {"dropped_long": 2}, 1),
    ("split", {"split_up": 2}, 5)])
def test_long_documents(tmp_path, store, too_long, counts, documents):
    # The second is long in its answer, the third in its question: cut off, nothing of it is left to learn.
    rows = [{"prompt": "1", "completion": "2"}, {"prompt": "1", "completion": "2" * 60},
            {"prompt": "1" * 60, "completion": "2" * 30}]
    path = write_rows(tmp_path / "long.jsonl", rows)
    index = prepare(recipe_for({"long": {"path": path, "too_long": too_long, "max_unlearnable": "50%"}},
                               sequence_length=40),
                    store).sources["long"]
    assert index.read == 3
    for name in ("truncated", "split_up", "dropped_long", "dropped_empty"):
        assert getattr(index, name) == counts.get(name, 0), name
    assert index.train.documents == documents
    packed = PackedSplit(store, index, "train")
    assert packed.tokens_in.max() <= 40
    for number in range(packed.rows):
        row = packed.row(number)
        assert not row.supervised[row.positions == 0].any()


def test_one_document_per_row(files, store):
    index = prepare(recipe_for({"sums": {"path": files["sums"], "packing": "one_per_row"}}), store).sources["sums"]
    assert index.train.rows == index.train.documents == 36
    assert prepare(recipe_for({"sums": files["sums"]}), store).sources["sums"].train.rows < 10


LOOK_UP = """
import sys, time
from pathlib import Path
from launcher.core.recipe import Recipe
from launcher.storage.store import open_store
from launcher.data.prepare import look_up
recipe = Recipe.from_json(Path(sys.argv[1]).read_text())
began = time.process_time()
assert (look_up(recipe, open_store(sys.argv[2])) is not None) == (sys.argv[3] == "found")
print(time.process_time() - began)
print(*sorted({"torch", "transformers", "tokenizers", "numpy", "jinja2", "datasets"} & set(sys.modules)))
"""


def look_up_elsewhere(recipe, store, folder, expected):
    """Return the seconds that looking up takes in a new process, and the heavy modules it imports."""
    (folder / "recipe.json").write_text(recipe.to_json())
    output = subprocess.run([sys.executable, "-c", LOOK_UP, str(folder / "recipe.json"), store.url, expected],
                            capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    seconds, modules = output.stdout.split("\n")[:2]
    return float(seconds), modules


def test_looking_up_is_quick_and_light(files, store, tmp_path):
    prepare(recipe_for(files), store)
    seconds, modules = look_up_elsewhere(recipe_for(files), store, tmp_path, "found")
    assert (seconds < 0.2, modules) == (True, "")
    # 20 MB are hashed once, and remembered once the file has settled.
    large = tmp_path / "large.jsonl"
    large.write_bytes(b'{"text": "word"}\n' * (20_000_000 // 17))
    settled = time.time() - 60
    os.utime(large, (settled, settled))
    look_up_elsewhere(recipe_for({"large": large}), store, tmp_path, "missing")
    seconds, modules = look_up_elsewhere(recipe_for({"large": large}), store, tmp_path, "missing")
    assert (seconds < 0.2, modules) == (True, "")
    assert len(list(store.list("hashes/"))) == 1


def test_preparing_needs_no_torch(files, store, tmp_path):
    (tmp_path / "recipe.json").write_text(recipe_for(files).to_json())
    script = ("import sys; from pathlib import Path; from launcher.core.recipe import Recipe\n"
              "from launcher.storage.store import open_store; from launcher.data.prepare import prepare\n"
              "prepare(Recipe.from_json(Path(sys.argv[1]).read_text()), open_store(sys.argv[2]))\n"
              "sys.exit('torch' in sys.modules)")
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "recipe.json"), store.url], check=True,
                   env={**os.environ, "OMP_NUM_THREADS": "1"})

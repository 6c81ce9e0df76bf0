"""What a source is known by: its bytes in their order and what is asked of them, and nothing else."""

import gzip
import os
import subprocess
import sys
import time

import pytest

from launcher.core.errors import DataInvalid
from launcher.data.identity import identify_sources, tokenizer_fingerprint
from launcher.data.reading import open_source
from launcher.storage.store import LocalStore
from tests.data.files import SUMS, csv_file, lines, parquet_file
from tests.data.making import recipe_for


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "cache")


@pytest.fixture
def known(tmp_path, store):
    """Return what a source is known by, with a tokenizer that does not depend on it."""
    for name, data in {"a.jsonl": lines(SUMS[:20]), "b.jsonl": lines(SUMS[20:]), "all.jsonl": lines(SUMS)}.items():
        (tmp_path / name).write_bytes(data)

    def of(*names, **said):
        recipe = recipe_for({"s": {"path": "x", **said}})
        source = recipe.sources["s"].model_copy(update={"path": tuple(str(tmp_path / name) for name in names)})
        (identity,) = identify_sources(recipe.model_copy(update={"sources": {"s": source}}), store)
        return identity.fingerprint("tokenizer", 64)

    return of


def test_names_places_and_times_do_not_matter(known, tmp_path):
    before = known("a.jsonl", "b.jsonl")
    (tmp_path / "moved").mkdir()
    for old, new in (("a.jsonl", "moved/1.ndjson"), ("b.jsonl", "moved/2.json")):
        (tmp_path / old).rename(tmp_path / new)
        os.utime(tmp_path / new, (1, 1))
    assert known("moved") == known("moved/*") == known("moved/1.ndjson", "moved/2.json") == before


def test_bytes_and_their_order_matter(known, tmp_path):
    seen = {known("a.jsonl", "b.jsonl"), known("b.jsonl", "a.jsonl"), known("all.jsonl"), known("a.jsonl")}
    (tmp_path / "all.jsonl.gz").write_bytes(gzip.compress(lines(SUMS), mtime=0))
    seen |= {known("all.jsonl.gz")}
    data = bytearray((tmp_path / "b.jsonl").read_bytes())
    data[20] ^= 1
    (tmp_path / "b.jsonl").write_bytes(data)
    seen |= {known("a.jsonl", "b.jsonl")}
    assert len(seen) == 6


def test_the_same_bytes_in_another_format_are_other_rows(known, tmp_path):
    (tmp_path / "a.csv").write_bytes(b"text,n\none,1\n")
    (tmp_path / "a.tsv").write_bytes(b"text,n\none,1\n")
    assert known("a.csv") != known("a.tsv", fields={"text": "text,n"})


@pytest.mark.parametrize("said", [
    {"holdout": "1%"}, {"holdout": 3}, {"holdout": "b.jsonl"}, {"too_long": "drop"}, {"packing": "one_per_row"},
    {"duplicates": "drop"}, {"skip_bad": "1%"}, {"max_unlearnable": "1%"}, {"separator": "-"}, {"loss": "all"},
    {"fields": {"prompt": "Sum: {prompt}"}}], ids=str)
def test_what_is_asked_of_the_rows_matters(known, tmp_path, monkeypatch, said):
    monkeypatch.chdir(tmp_path)
    assert known("a.jsonl", **said) != known("a.jsonl")


@pytest.mark.parametrize("said", [{"format": "prompt_completion"}, {"loss": "completion"}, {"tokens": "3M"}], ids=str)
def test_what_changes_no_row_does_not_matter(known, said):
    assert known("a.jsonl", **said) == known("a.jsonl")


def test_a_holdouts_content_matters_and_its_name_does_not(known, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = known("a.jsonl", holdout="b.jsonl")
    (tmp_path / "c.jsonl").write_bytes((tmp_path / "b.jsonl").read_bytes())
    assert known("a.jsonl", holdout="c.jsonl") == before
    (tmp_path / "c.jsonl").write_bytes(lines(SUMS[21:]))
    assert known("a.jsonl", holdout="c.jsonl") != before


def test_a_trained_tokenizer_does_not_depend_on_what_is_held_out(tmp_path, store):
    (tmp_path / "a.jsonl").write_bytes(lines(SUMS))

    def tokenizer(**said):
        recipe = recipe_for({"s": {"path": tmp_path / "a.jsonl", **said}})
        return tokenizer_fingerprint(recipe, identify_sources(recipe, store), store)

    assert tokenizer() == tokenizer(too_long="drop") == tokenizer(skip_bad="1%")
    assert tokenizer() != tokenizer(fields={"prompt": "completion"})


@pytest.mark.parametrize("change", ["grows", "is replaced", "goes"])
def test_a_file_that_changes_while_it_is_read_is_told(tmp_path, change):
    from launcher.core.recipe_sources import Source

    path = tmp_path / "a.jsonl"
    path.write_bytes(lines(SUMS))
    files = open_source(Source(path=str(path)))
    list(files.batches())
    files.check_unchanged()
    match change:
        case "grows":
            path.write_bytes(lines(SUMS) + lines(SUMS[:1]))
        case "is replaced":
            (tmp_path / "new").write_bytes(lines(SUMS[::-1]))
            (tmp_path / "new").replace(path)
        case _:
            path.unlink()
    with pytest.raises(DataInvalid, match=r"a\.jsonl: (was changed while it was read|cannot be read)"):
        files.check_unchanged()


def test_a_name_that_is_no_text_is_known_too(tmp_path, store):
    name = os.fsdecode(b"gr\xf6\xdfe.jsonl")
    (tmp_path / name).write_bytes(lines(SUMS * 100))
    os.utime(tmp_path / name, (time.time() - 60,) * 2)
    identify_sources(recipe_for({"s": tmp_path}), store)
    assert len(list(store.list("hashes/"))) == 1


LOOK = ("import sys; from pathlib import Path; from launcher.core.recipe import Recipe\n"
        "from launcher.storage.store import open_store; from launcher.data.prepare import look_up\n"
        "look_up(Recipe.from_json(Path(sys.argv[1]).read_text()), open_store(sys.argv[2]))\n"
        "print(*{'torch', 'transformers', 'tokenizers', 'datasets', 'pandas', 'huggingface_hub', 'fsspec', 'pyarrow'}"
        " & set(sys.modules))")


@pytest.mark.parametrize(("name", "write", "needed"), [
    ("a.csv.gz", lambda rows: gzip.compress(csv_file(rows)), ""),
    ("a.parquet", parquet_file, "pyarrow")])
def test_looking_at_a_source_imports_what_its_format_needs(tmp_path, store, name, write, needed):
    (tmp_path / name).write_bytes(write(SUMS))
    (tmp_path / "recipe.json").write_text(recipe_for({"s": tmp_path / name}).to_json())
    done = subprocess.run([sys.executable, "-c", LOOK, str(tmp_path / "recipe.json"), store.url], check=True,
                          capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.stdout.strip() == needed

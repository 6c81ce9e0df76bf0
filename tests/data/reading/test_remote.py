"""Sources behind URLs: read as local ones are, known by what the server says of them, told when they cannot be had."""

import gzip
import os
from http.server import SimpleHTTPRequestHandler

import pytest

from launcher.core.errors import DataInvalid
from launcher.core.recipe_sources import Source
from launcher.data.prepare import look_up, prepare
from launcher.data.reading import open_source
from launcher.storage.store import LocalStore
from tests.data.files import SUMS, arrow_file, csv_file, lines, parquet_file
from tests.data.making import recipe_for
from tests.data.reading.servers import web_server

FILES = {"a.jsonl": lines(SUMS), "a.jsonl.gz": gzip.compress(lines(SUMS)), "a.csv": csv_file(SUMS),
         "a.parquet": parquet_file(SUMS), "a.arrow": arrow_file(SUMS, stream=True),
         "many/b.jsonl": lines(SUMS[20:]), "many/a.jsonl": lines(SUMS[:20])}


def rows_of(url):
    return [row.columns for batch in open_source(Source(path=url)).batches() for row in batch.rows()]


@pytest.fixture
def web(tmp_path):
    (tmp_path / "many").mkdir()
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    with web_server(tmp_path) as address:
        yield address


@pytest.mark.parametrize("path", [*(name for name in FILES if "/" not in name), "a.jsonl?download=1", "many/",
                                  "many/*.jsonl"])
def test_the_web_serves_every_format(web, path):
    assert rows_of(f"{web}/{path}") == SUMS


def test_what_is_prepared_from_the_web_is_found_until_it_changes(web, tmp_path):
    store, recipe = LocalStore(tmp_path / "cache"), recipe_for({"s": {"path": f"{web}/a.jsonl"}})
    prepared = prepare(recipe, store)
    assert look_up(recipe, store) == prepared
    (tmp_path / "a.jsonl").write_bytes(lines(SUMS[1:]))
    assert look_up(recipe, store) is None


class _Unpacks(SimpleHTTPRequestHandler):
    """A server that says of packed files that it packed them to send them, and of all others that they are pages."""

    def do_GET(self) -> None:
        packed = "page" not in self.path
        data = FILES["a.jsonl.gz"] if packed else b"<html>"
        self.send_response(200)
        for name, value in (("Content-Encoding", "gzip" if packed else "identity"), ("Content-Length", str(len(data)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


def test_what_a_server_unpacks_is_read_and_a_page_in_its_place_is_not(tmp_path):
    with web_server(tmp_path, _Unpacks) as address:
        assert rows_of(f"{address}/a.jsonl.gz") == SUMS
        with pytest.raises(DataInvalid, match=r"is named \.gz but is not compressed so; it looks like a web page"):
            rows_of(f"{address}/page.jsonl.gz")


class _Breaks(SimpleHTTPRequestHandler):
    """A server without ranges that ends in the middle of what it promised."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(FILES["a.jsonl"])))
        self.end_headers()
        self.wfile.write(FILES["a.jsonl"][:700])

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


def test_a_server_without_ranges_gives_large_files_too(tmp_path):
    rows = [{"text": chr(97 + place % 26) * 1000} for place in range(9000)]
    (tmp_path / "large.jsonl").write_bytes(lines(rows))
    with web_server(tmp_path) as address:
        assert rows_of(f"{address}/large.jsonl") == rows


def test_large_files_come_in_blocks(s3):
    rows = [{"text": chr(97 + place % 26) * 1000} for place in range(9000)]
    s3.pipe("bucket/large/a.jsonl", lines(rows))
    s3.pipe("bucket/large/a.parquet", parquet_file(rows, compression="none", use_dictionary=False))
    assert rows_of("s3://bucket/large/a.jsonl") == rows == rows_of("s3://bucket/large/a.parquet")


def test_a_server_that_breaks_off_is_told(tmp_path):
    with web_server(tmp_path, _Breaks) as address, pytest.raises(DataInvalid, match=r"a\.jsonl: cannot be read "):
        rows_of(f"{address}/a.jsonl")


def test_a_page_that_is_not_there_is_told(web):
    with pytest.raises(DataInvalid, match=r"/gone\.jsonl: there is no such file; check the URL"):
        rows_of(f"{web}/gone.jsonl")


def test_files_in_memory_are_read_and_changes_seen(tmp_path):
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/m/a.jsonl", lines(SUMS))
    files = open_source(Source(path="memory://m/a.jsonl"))
    assert len(list(files.batches())) == 1
    memory.pipe("/m/a.jsonl", lines(SUMS[1:]))
    with pytest.raises(DataInvalid, match="was changed while it was read"):
        files.check_unchanged()
    assert rows_of("memory://m/*.jsonl") == rows_of("memory://m") == SUMS[1:]
    memory.rm("/m", recursive=True)


@pytest.fixture(scope="module")
def s3(moto):
    said = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**said, "AWS_ENDPOINT_URL": moto}.items():
            patch.setenv(name, value)
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        files = s3fs.S3FileSystem()
        files.mkdir("bucket")
        for name, data in FILES.items():
            files.pipe(f"bucket/{name}", data)
        yield files
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize("path", [*(name for name in FILES if "/" not in name), "many", "many/", "many/*.jsonl"])
def test_s3_serves_every_format(s3, path):
    assert rows_of(f"s3://bucket/{path}") == SUMS


def test_what_is_prepared_from_s3_is_found_until_it_changes(s3, tmp_path):
    s3.pipe("bucket/changing/a.jsonl", lines(SUMS))
    store, recipe = LocalStore(tmp_path), recipe_for({"s": {"path": "s3://bucket/changing/*.jsonl"}})
    prepared = prepare(recipe, store)
    assert look_up(recipe, store) == prepared and prepared.sources["s"].read == 36
    s3.pipe("bucket/changing/a.jsonl", lines(SUMS[::-1]))
    assert look_up(recipe, store) is None


@pytest.mark.parametrize(("path", "message"), [
    ("s3://bucket/gone.jsonl", "there is no such file"), ("s3://no-bucket/a.jsonl", "bucket does not exist"),
    ("s3://bucket/gone*.jsonl", "no file matches")])
def test_what_s3_does_not_have_is_told(s3, path, message):
    with pytest.raises(DataInvalid, match=message):
        rows_of(path)


def test_s3_without_credentials_is_told(s3, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("HOME", os.devnull)
    type(s3).clear_instance_cache()
    with pytest.raises(DataInvalid, match=r"s3://bucket/a\.jsonl: cannot be read \(NoCredentials.*check the URL"):
        rows_of("s3://bucket/a.jsonl")

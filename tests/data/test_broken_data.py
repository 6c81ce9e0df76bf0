"""Broken data through the real command: one message that names the file and the row and says what to do."""

import os
import re
import subprocess
import sys

import pytest

from launcher.core.errors import DataInvalid
from launcher.data.prepare import look_up
from launcher.data.prepare import prepare as make
from launcher.storage.store import LocalStore
from tests.data.broken_files import LINES, PACKED, TABLES
from tests.data.broken_places import PLACES
from tests.data.files import GOOD, SUMS, lines
from tests.data.making import recipe_for
from tests.data.preparing import Command, write_recipe

BROKEN = LINES | PACKED | TABLES


@pytest.fixture
def prepare(tmp_path, monkeypatch, capfd):
    return Command(tmp_path, monkeypatch, capfd)


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_told_in_one_message(prepare, case):
    broken = BROKEN[case]
    files = broken.data if isinstance(broken.data, dict) else {"data.jsonl": broken.data}
    for name, data in files.items():
        (prepare.folder / name).write_bytes(data)
    told = prepare.refused({"path": next(iter(files)), **broken.source}, broken.row_length)
    assert re.search(broken.message, told), told
    assert str(prepare.folder / next(iter(files))) in told
    assert not list((prepare.folder / "cache").rglob("index.json"))


@pytest.mark.parametrize("case", PLACES)
def test_a_place_without_good_data_is_told_in_one_message(prepare, case):
    files, source, message = PLACES[case]
    for name, data in files.items():
        (prepare.folder / name).parent.mkdir(exist_ok=True)
        (prepare.folder / name).write_bytes(data)
    told = prepare.refused(source)
    assert re.search(message, told), told


def test_a_link_to_nothing_a_pipe_and_what_one_may_not_read_are_told(prepare, tmp_path):
    (tmp_path / "link.jsonl").symlink_to("gone.jsonl")
    assert "is a link to gone.jsonl, which is not there" in prepare.refused({"path": "link.jsonl"})
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert "(a pipe or a device), and data is read more than once" in prepare.refused({"path": "pipe.jsonl"})
    for pattern in ("pipe.*", "p*"):
        assert "a pipe or a device, not a file" in prepare.refused({"path": pattern})
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.jsonl").write_bytes(GOOD)
    (tmp_path / "folder" / "b.jsonl").symlink_to("gone.jsonl")
    assert re.search(r"folder/b\.jsonl: cannot be read: No such file", prepare.refused({"path": "folder"}))
    (tmp_path / "secret.jsonl").write_bytes(GOOD)
    (tmp_path / "secret.jsonl").chmod(0)
    if os.geteuid():
        assert "secret.jsonl: cannot be read: Permission denied" in prepare.refused({"path": "secret.jsonl"})


def test_a_hub_id_that_cannot_be_asked_for_is_told(prepare, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    told = prepare.refused({"path": "nobody/nothing-at-all"})
    assert told.startswith("sources.s: hub:nobody/nothing-at-all: there is no such local path, and the Hugging Face")


def test_a_line_beyond_all_measure_is_told_and_may_be_skipped(prepare, monkeypatch):
    for module in ("lines", "json_rows"):
        monkeypatch.setattr(f"launcher.data.reading.{module}.LARGEST_ROW_BYTES", 1 << 16)
    long = b'{"text": "' + b"a" * (1 << 20) + b'"}\n'
    (prepare.folder / "data.jsonl").write_bytes(b'{"text": "one"}\n' + long + b'{"text": "three"}\n')
    assert "data.jsonl:row 2: is larger than 64 MiB; remove the row" in prepare.refused({"path": "data.jsonl"})
    index = prepare.prepared({"path": "data.jsonl", "skip_bad": "34%"})
    assert (index["read"], index["skipped"], index["train"]["documents"]) == (3, 1, 2)


@pytest.mark.slow
def test_a_line_of_200_mb_is_told_in_bounded_memory(tmp_path):
    with (tmp_path / "data.jsonl").open("wb") as file:
        file.write(GOOD + b'{"prompt": "')
        for _ in range(200):
            file.write(b"a" * 1_000_000)
        file.write(b'", "completion": "b"}\n' + GOOD)
    recipe = write_recipe(tmp_path, {"path": "data.jsonl"})
    # Not ru_maxrss, which begins at what the process had that started this one.
    script = ("from launcher.cli.main import main\ntry:\n    main()\nfinally:\n    status = open('/proc/self/status')\n"
              "    print(next(int(line.split()[1]) // 1024 for line in status if line.startswith('VmHWM')))")
    done = subprocess.run([sys.executable, "-c", script, "prepare", str(recipe), "--cache", str(tmp_path / "cache")],
                          capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
    assert done.returncode == 2 and "data.jsonl:row 2: is larger than 64 MiB" in done.stderr
    assert int(done.stdout) < 600


@pytest.mark.parametrize("case", ["not json", "parquet cut off"])
def test_a_broken_file_ends_the_command_itself(tmp_path, case):
    broken = BROKEN[case]
    files = broken.data if isinstance(broken.data, dict) else {"data.jsonl": broken.data}
    name = next(iter(files))
    (tmp_path / name).write_bytes(files[name])
    recipe = write_recipe(tmp_path, {"path": name})
    done = subprocess.run([sys.executable, "-m", "launcher.cli.main", "prepare", str(recipe), "--cache",
                           str(tmp_path / "cache")], capture_output=True, text=True, check=False,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 2 and done.stdout == "" and "Traceback" not in done.stderr
    assert re.search(broken.message, done.stderr)


def test_all_sources_that_cannot_be_read_are_told_at_once(tmp_path):
    (tmp_path / "folder").mkdir()
    recipe = recipe_for({"gone": tmp_path / "gone.jsonl", "folder": tmp_path / "folder"})
    for ask in (make, look_up):
        with pytest.raises(DataInvalid) as caught:
            ask(recipe, LocalStore(tmp_path / "cache"))
        first, second = str(caught.value).split("\n")
        assert first.startswith("sources.gone: ") and "no such file" in first
        assert second.startswith("sources.folder: ") and "holds no data files" in second


MIXED = lines(SUMS) + b'{"prompt": 1}\n{"prompt": "Gr\xf6\xdfe", "completion": "1"}\nnonsense\n[]\n'


def test_bad_rows_within_what_the_recipe_allows_are_left_out_and_counted(prepare):
    (prepare.folder / "data.jsonl").write_bytes(MIXED)
    assert re.search(r"data\.jsonl:row 37: ", prepare.refused({"path": "data.jsonl"}))
    index = prepare.prepared({"path": "data.jsonl", "skip_bad": "10%"})
    assert (index["read"], index["skipped"], index["train"]["documents"]) == (40, 4, 36)
    code, _, err = prepare({"path": "data.jsonl", "skip_bad": "9.9%"})
    assert code == 2 and "4 of 40 rows (10.0%)" in err


def test_a_first_row_that_is_bad_does_not_hide_the_form(prepare):
    (prepare.folder / "data.jsonl").write_bytes(b"nonsense\n" + lines(SUMS))
    assert prepare.prepared({"path": "data.jsonl", "skip_bad": "5%"})["skipped"] == 1

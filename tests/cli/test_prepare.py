"""`launcher prepare`: a table for people, JSON for machines, and what is learnt for the doubtful."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

import launcher.data.prepare as launcher_data_prepare
from launcher.cli.main import app
from launcher.cli.prepare import notes, print_prepared, table
from launcher.cli.show_rows import in_colour
from launcher.core.errors import UserError
from launcher.core.source_index import Prepared, SourceIndex, SplitIndex, TokenizerFacts

RECIPE = """\
name: tiny
model: {init: {architecture: llama}, tokenizer: {train: {vocab_size: 320}}, precision: fp32}
sequence_length: 32
sources: {sums: {path: sums.jsonl, separator: " "}}
stages: [{name: s, length: {steps: 1}, mix: {sums: 1}, learning_rate: 1e-3}]
batch: {rows: 1}
"""


@pytest.fixture
def launcher(tmp_path):
    (tmp_path / "r.yaml").write_text(RECIPE)
    rows = [{"prompt": f"{a} + 1 =", "completion": str(a + 1)} for a in range(10)]
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def run(*options):
        command = ["prepare", str(tmp_path / "r.yaml"), "--cache", str(tmp_path / "cache"), *options]
        return CliRunner().invoke(app, command, catch_exceptions=False)

    return run


def test_the_table_says_what_became_of_the_documents_and_what_to_type_next(launcher, tmp_path):
    result = launcher()
    assert result.exit_code == 0
    source = next(line for line in result.stdout.splitlines() if line.startswith("sums"))
    assert source.split()[:5] == ["sums", "10", "10", "0", "3"]
    assert f"launcher run {tmp_path / 'r.yaml'}" in result.stdout.splitlines()[-1]


def test_json_is_the_prepared_document_and_nothing_else(launcher):
    assert Prepared.from_json(launcher("--json").stdout).sources["sums"].read == 10


def test_data_is_looked_at_once_whether_it_is_prepared_or_not(launcher, monkeypatch):
    asked = []
    identify = launcher_data_prepare.identify_sources
    monkeypatch.setattr(launcher_data_prepare, "identify_sources", lambda *each: asked.append(1) or identify(*each))
    for times in (1, 2):
        assert launcher().exit_code == 0 and len(asked) == times


def test_ctrl_c_says_what_is_kept(launcher, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(launcher_data_prepare.Preparation, "make", interrupted)
    result = launcher()
    assert result.exit_code == 130 and result.stderr.splitlines()[-1] == (
        "launcher: stopped; sources that are prepared are kept, and the same command goes on with the others")


@pytest.mark.parametrize("options", [["--json"], []])
def test_a_full_disk_behind_the_output_is_told_in_one_line(launcher, tmp_path, options):
    assert launcher().exit_code == 0
    command = [sys.executable, "-m", "launcher.cli.main", "prepare", str(tmp_path / "r.yaml"), *options, "--cache",
               str(tmp_path / "cache")]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        76, "launcher: standard output cannot be written to: No space left on device\n")


def test_rows_are_shown_with_their_borders_and_what_is_learnt(launcher):
    printed = launcher("--show", "1").stdout
    assert "sums, row 0 of 3: 3 documents, 25 of 32 tokens" in printed and "sums, row 1" not in printed
    assert re.search(r"-- document 0: \d tokens, 2 learnt\n0 \+ 1 = >>>1<\|end\|><<<\n-- document \d: ", printed)


def test_data_cannot_move_the_cursor_of_the_terminal_it_is_looked_at_in():
    shown = in_colour([("a\x1b[2J\u202eb\n\tc\r", True)], coloured=True).plain
    assert shown == r"a\x1b[2J\u202eb" + "\n\tc" + r"\r"


def test_what_cannot_be_a_cache_is_not_told_as_unreadable_data(launcher, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"the cache .*file cannot be a folder: File exists; --cache or"):
        launcher("--cache", str(tmp_path / "file"))


def test_no_terminal_is_too_narrow_for_the_names_of_sources(launcher):
    prepared = Prepared.from_json(launcher("--json").stdout)
    printed = {}
    for width in (60, 79, 80):
        console = Console(width=width, force_terminal=True, no_color=True, highlight=False)
        with console.capture() as capture:
            print_prepared(prepared, "r.yaml", console)
        printed[width] = capture.get()
        assert "sums" in printed[width] and "\u2026" not in printed[width]
    assert "sums: 10 read, 10 train, 0 holdout, 3 rows" in printed[60] and "sums: 10 read" not in printed[80]


def test_overrides_reach_the_data(launcher):
    prepared = Prepared.from_json(launcher("--json", "--set", "sources.sums.packing=one_per_row").stdout)
    assert prepared.sources["sums"].train.rows == 10


def test_learnt_text_is_coloured_where_there_are_colours():
    console = Console(force_terminal=True, color_system="standard", no_color=False)
    with console.capture() as capture:
        console.print(in_colour([("2 =", False), (" 2", True)], coloured=True))
    assert capture.get() == "2 =\x1b[1;32m 2\x1b[0m\n"


def test_the_table_of_large_sources_fits_80_columns():
    split = SplitIndex(rows=12_345_678, documents=98_765_432, tokens=98_765_432_100, supervised_tokens=9)
    index = SourceIndex(source="s", fingerprint="f", sequence_length=8192, train=split, holdout=split, read=99_999_999,
                        truncated=12_345, dropped_long=1, dropped_empty=99)
    prepared = Prepared(tokenizer=TokenizerFacts(fingerprint="f", vocab_size=9, bos=None, eos=1, pad=None,
                                                 chat_template=False), sources={"a_source_of_some_name": index})
    console = Console(width=80)
    with console.capture() as capture:
        console.print(table(prepared))
    assert all(len(line.rstrip()) <= 80 for line in capture.get().splitlines())
    assert "98.8M" in capture.get() and "98.8B" in capture.get() and "12,345" in capture.get()
    assert list(notes(prepared)) == ["a_source_of_some_name: of 99,999,999 documents 12,345 cut off at 8192 tokens; "
                                     "1 dropped, being longer than 8192 tokens; "
                                     "99 dropped, having nothing to learn in 8192 tokens"]

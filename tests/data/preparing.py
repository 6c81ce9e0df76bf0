"""`launcher prepare` as a person types it, on a recipe of one source."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from launcher.cli.main import main

RECIPE = {"name": "tiny", "model": {"init": {"architecture": "llama"}, "tokenizer": {"train": {"vocab_size": 300}}},
          "stages": [{"name": "s", "length": {"steps": 1}, "mix": {"s": 1}, "learning_rate": 1e-3}],
              "batch": {"rows": 1}}


def write_recipe(folder: Path, source: dict[str, Any], row_length: int = 64) -> Path:
    """Write a recipe. JSON is YAML too."""
    path = folder / "r.yaml"
    path.write_text(json.dumps({**RECIPE, "sequence_length": row_length, "sources": {"s": source}}))
    return path


class Command:
    """Runs `launcher prepare` in this process."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self.folder, self._monkeypatch, self._capfd = folder, monkeypatch, capfd

    def __call__(self, source: dict[str, Any], row_length: int = 64) -> tuple[int, str, str]:
        """Return the exit code, and what was printed and told."""
        recipe = write_recipe(self.folder, source, row_length)
        self._monkeypatch.setattr(sys, "argv", ["launcher", "prepare", str(recipe),
            "--cache", str(self.folder / "cache"),
                                                "--json"])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = self._capfd.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    def refused(self, source: dict[str, Any], row_length: int = 64) -> str:
        """Return the one message that a person is told."""
        code, out, err = self(source, row_length)
        told = [line for line in err.splitlines() if not line.startswith("preparing ")]
        assert (code, out) == (2, ""), (code, out, err)
        assert len(told) == 1 and told[0].startswith("launcher: "), err
        return told[0].removeprefix("launcher: ")

    def prepared(self, source: dict[str, Any], row_length: int = 64) -> dict[str, Any]:
        """Return the index of the source."""
        code, out, err = self(source, row_length)
        assert code == 0, err
        return json.loads(out)["sources"]["s"]

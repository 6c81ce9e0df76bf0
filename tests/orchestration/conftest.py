"""Workers of these tests are fakes, started with `python -m` like real ones."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def fakes_can_be_imported(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))

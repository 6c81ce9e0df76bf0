"""Workers of these tests are fakes, started like real ones: see tests/fakes/sitecustomize.py."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def fakes_can_be_imported(monkeypatch):
    root = Path(__file__).parents[2]
    monkeypatch.setenv("PYTHONPATH", f"{root / 'tests/fakes'}:{root}")

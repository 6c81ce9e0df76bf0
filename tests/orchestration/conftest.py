"""Workers of these tests are fakes, started like real ones: see tests/fakes/sitecustomize.py."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAKES = f"{ROOT / 'tests/fakes'}:{ROOT}"
"""PYTHONPATH of processes whose workers are fakes."""


@pytest.fixture(autouse=True)
def fakes_can_be_imported(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", FAKES)

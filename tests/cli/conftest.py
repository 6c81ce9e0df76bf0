"""Where several files' tests of the command line take place."""

import os
from pathlib import Path

import pytest

import launcher
from launcher.platforms.site_file import CODE, PYTHON, SITE
from launcher.storage import submitting
from tests.cli.a_submission import sit_down, write_recipe


@pytest.fixture
def slurm_desk(tmp_path, monkeypatch):
    """Sit in an empty folder, from which jobs can be submitted and none runs; little is copied of launcher's code."""
    monkeypatch.chdir(tmp_path)
    for name in (PYTHON, SITE, CODE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LAUNCHER_CACHE", "cache")
    monkeypatch.setattr(submitting, "own_code", lambda: ({"launcher/__init__.py": Path(launcher.__file__)}, []))
    monkeypatch.setenv("PATH", f"{sit_down(tmp_path)}:{os.environ['PATH']}")


@pytest.fixture
def recipe(slurm_desk):
    """Write a recipe that names files of every kind."""
    return write_recipe()

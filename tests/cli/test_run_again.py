"""Continuing a run with further overrides asks for the same run: its directory, its overrides, its prepared data."""

import pytest

from launcher.cli import run
from launcher.cli.run import RunOptions, run_again
from launcher.storage.run_dir import RunDir
from launcher.storage.run_start import Submission


@pytest.mark.parametrize(("said", "meant"), [(None, "/data/cache"), ("/else/where", "/else/where")])
def test_a_run_is_continued_with_the_cache_it_began_with(said, meant, monkeypatch, tmp_path):
    monkeypatch.setattr(run, "run", lambda argument, options: (argument, options))
    (recipe := tmp_path / "r.yaml").touch()
    submission = Submission.model_construct(file=str(recipe), overrides=("a=1",), cache="/data/cache")
    options = RunOptions(None, 3, ("b=2",), said, None)
    assert run_again(RunDir("runs/r"), "runs/r", submission, options) == (
        str(recipe), RunOptions("runs/r", 3, ("a=1", "b=2"), meant, None))

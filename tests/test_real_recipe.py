"""A recipe over real data runs to its end, and what is trained is learnt."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RECIPE = Path(__file__).parent / "recipes/medical_small.yaml"
DATA = Path(__file__).parent.parent.parent / "shared/data"
SHORT = [f"--set=stages.{stage}.length.steps=6" for stage in range(3)]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not DATA.is_dir(), reason="the real data is not beside the repository")
def test_each_stage_of_a_real_recipe_learns_its_own_source(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "launcher.cli.main", "run", str(RECIPE), "--run-dir", str(tmp_path / "run"),
               "--cache", str(tmp_path / "cache"), "--set", "batch.rows=8", *SHORT]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "TMPDIR": "/tmp"})
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    events = [json.loads(line) for line in (tmp_path / "run/journal.jsonl").read_text().split("\n") if line]
    base, *after = (event["sources"] for event in events if event["event"] == "evaluation")
    for before, now, source in zip([base, *after], after, ("reasoning", "medicine", "cardiology"), strict=False):
        assert now[source]["loss"] < before[source]["loss"], source

"""What workers get when whoever held them is gone."""

import subprocess
import sys

import pytest

from launcher.core.errors import UserError
from launcher.storage.orphan_grace import NAME, orphan_grace_s


@pytest.mark.parametrize(("said", "seconds"), [({}, 10.0), ({NAME: ""}, 10.0), ({NAME: "2min"}, 120.0),
                                               ({NAME: "90s"}, 90.0)])
def test_the_environment_says_how_long_or_the_usual_time_holds(said: dict[str, str], seconds: float):
    assert orphan_grace_s(said) == seconds


def test_a_time_without_a_unit_is_told_by_its_name():
    with pytest.raises(UserError, match="LAUNCHER_ORPHAN_GRACE=120: '120' needs a unit of time"):
        orphan_grace_s({NAME: "120"})


def test_workers_agents_and_jobs_share_one_time(monkeypatch):
    monkeypatch.setenv(NAME, "2min")
    asked = ("from launcher.orchestration import node_agent; from launcher.platforms import slurm_steps; "
             "print(node_agent.ORPHAN_GRACE_S, slurm_steps.CLOSE_S)")
    assert subprocess.check_output([sys.executable, "-c", asked], text=True).split() == ["120.0", "135.0"]

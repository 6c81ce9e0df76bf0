"""A whole run on Ray names the worker that is held now and then, in what people and machines read, and trains the same.
"""

import signal
from pathlib import Path
from typing import Any

import pytest

from benchmarks.breaking import Place, finish
from launcher.cli.status import status
from launcher.core.drill import shortened
from launcher.core.straggler import IN_A_ROW
from launcher.orchestration.drilled_command import Command
from tests.runtime.pulses import held_now_and_then

SLOW = 1


def told(command: Command, name: str) -> list[dict[str, Any]]:
    return [event for event in command.events() if event["event"] == name]


@pytest.mark.campaign
@pytest.mark.timeout(400)
def test_a_worker_on_ray_that_is_held_is_named_in_status_and_gauges_and_nobody_before(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gauge_file = tmp_path / "run.prom"
    lengths = [word for each in shortened(3, 2_000, 500) for word in ("--set", each)]
    tracking = f"tracking={{prometheus: {{file: {gauge_file}}}}}"
    drill = Place(tmp_path, "quickstart", ("--cache", str(tmp_path / "cache"), *lengths, "--set", tracking)).drill(
        ray=True)
    with drill.begun("run") as command:
        command.until(lambda: len(told(command, "rank_pace")) > IN_A_ROW, "windows in which all are alike")
        assert told(command, "straggler") == [], told(command, "rank_pace")
        places = told(command, "attempt_started")[-1]["workers"]
        with held_now_and_then(places[SLOW]["pid"]):
            command.until(lambda: told(command, "straggler"), "a straggler")
            line = f'launcher_straggler{{run="quickstart",rank="{SLOW}",node="{places[SLOW]["node"]}"}} 1'
            command.until(lambda: gauge_file.exists() and line in gauge_file.read_text(), "its gauge")
            status(str(command.run.url), as_json=False)
        assert [(event["rank"], event["node"], event["slow"]) for event in told(command, "straggler")] == [
            (SLOW, places[SLOW]["node"], True)]
        assert f"rank {SLOW} on" in capsys.readouterr().out
        command.until(lambda: len(told(command, "straggler")) == 2, "that it is cleared")
        print([event["scores"] for event in told(command, "rank_pace")])
        command.living.command.signal(signal.SIGTERM)
        finish(command, (75,))

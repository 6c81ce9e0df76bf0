"""A living run from other terminals: detached, looked at, stopped, continued; and what is said where nothing can be.

Real command lines and processes; the workers are fakes, as in test_run_commands.
"""

import json
import os
import re
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from launcher.core.events import StopRequested
from launcher.core.planning import plan
from launcher.data.cache import cache_store
from launcher.data.identity import identify_sources, tokenizer_fingerprint
from launcher.data.prepare import prepare
from launcher.storage.journal import Journal
from launcher.storage.lease import Claim, claim_of
from launcher.storage.process_id import ProcessId, process_id
from launcher.storage.recipes import load_recipe
from launcher.storage.run_dir import RunDir
from launcher.storage.run_start import Submission, begin_run
from launcher.storage.stop_file import StopFile, ask_stop
from tests.cli.test_run_commands import PATIENCE_S, Desk
from tests.orchestration.test_worker_process import awaited
from tests.report.journals import CRASHED, FINISHED

LONG = ("--without-ray", "--set", "stages.0.length.steps=2000")


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def desk(tmp_path, cache):
    desk = Desk(tmp_path, cache)
    desk.environment["LAUNCHER_FAKE_STEP_S"] = "0.02"
    yield desk
    for process in desk.started:
        process.kill()
        process.communicate()
    for lease in tmp_path.glob("runs/*/lease/*.json"):
        claim = json.loads(lease.read_text())
        for process in (claim["process"], *claim["others"]):
            if process["pid"] != os.getpid():
                ProcessId.model_validate(process).kill()


@pytest.mark.slow
def test_a_detached_run_is_looked_at_stopped_and_continued_from_other_terminals(desk):
    """The journey of an evening: start, log out, look, stop, find it stopped, start again."""
    code, output = desk.type("run", "tiny.yaml", "--detach", *LONG)
    assert code == 0, output
    assert "attempt 1 goes on without this terminal: process" in output and "launcher stop runs/tiny" in output
    pid = int(re.findall(r"process (\d+)", output)[0])
    assert os.getsid(pid) == pid, "the terminal's end would end it too"
    shown = desk.status()
    assert shown["state"] in ("starting", "running") and shown["holder"].startswith(f"process {pid} on ")
    follower = desk.start("logs", "tiny", "-f")
    code, output = desk.type("stop", "tiny", "--within", "2min")
    assert code == 0, output
    assert f"asked process {pid} on" in output and "within 2 min" in output
    assert "stopped as asked" in output and "launcher resume" in output
    journal = (desk.folder / "runs/tiny/journal.jsonl").read_text().splitlines()
    assert '"reason": "stop_command"' in next(line for line in journal if "stop_requested" in line)
    # The same request does not stop the next start, and -f has seen the end.
    assert follower.wait(PATIENCE_S) == 0
    code, output = desk.type("stop", "tiny")
    assert code == 0 and "nobody works on this run" in output
    again = desk.start("resume", "tiny")
    while (shown := desk.status())["attempt"] != 2 or shown["step"] < 5:
        assert again.poll() is None, again.communicate()
    code, output = desk.type("stop", "tiny", "--json")
    assert code == 0 and json.loads(output[output.index("{"):])["state"] == "yielded"
    assert again.wait(PATIENCE_S) == 75


@pytest.mark.slow
def test_of_commands_that_start_a_run_at_the_same_time_one_does(desk):
    started = [desk.start("run", "tiny.yaml", "--without-ray") for _ in range(3)]
    told = [process.communicate(timeout=PATIENCE_S)[0] for process in started]
    # The others came while it was at work, or when it had finished already.
    assert sum("tiny finished: 3 steps" in output for output in told) == 1
    assert all(process.returncode in (0, 2) for process in started)
    assert [path.name for path in (desk.folder / "runs/tiny/attempts").iterdir()] == ["001"]


@pytest.mark.slow
def test_a_second_stop_does_not_wait_for_a_worker_that_hangs(desk):
    desk.environment["LAUNCHER_FAKE"] = json.dumps({"1": {"at": 3, "do": "hang"}})
    process = desk.start("run", "tiny.yaml", *LONG)
    desk.wait_for("step")
    assert desk.type("stop", "tiny", "--no-wait")[0] == 0
    awaited(lambda: "stop_requested" in (desk.folder / "runs/tiny/journal.jsonl").read_text(), PATIENCE_S)
    code, output = desk.type("stop", "tiny")
    assert code == 0 and "to stop at once" in output
    assert process.wait(PATIENCE_S) == 75


@pytest.mark.slow
def test_a_run_that_waits_for_its_data_is_stopped_and_nothing_of_it_is_left(desk, tmp_path):
    """Somebody else prepares the same data; one command waits for that in its terminal, another detached."""
    desk.environment["LAUNCHER_CACHE"] = str(tmp_path / "cache")
    (tmp_path / "runs").mkdir()  # Whichever of the two made it could not remove it while the other's run lies there.
    loaded, store = load_recipe(str(desk.folder / "tiny.yaml")), cache_store(str(tmp_path / "cache"))
    tokenizer = tokenizer_fingerprint(loaded.recipe, identify_sources(loaded.recipe, store), store)
    store.put(f"leases/{tokenizer}/000001.json", claim_of(process_id()).to_json().encode())
    commands = [desk.start("run", "tiny.yaml", "--without-ray", "--run-dir", "runs/here"),
                desk.start("run", "tiny.yaml", "--without-ray", "--run-dir", "runs/away", "--detach")]
    awaited(lambda: len(list(tmp_path.glob("runs/*/lease/*.json"))) == 2, PATIENCE_S)
    assert json.loads(desk.type("status", "here", "--json")[1])["state"] == "preparing"
    for name, command in zip(("here", "away"), commands, strict=True):
        code, output = desk.type("stop", name)
        assert code == 0 and f"runs/{name} was stopped before it began" in output
        told, _ = command.communicate(timeout=PATIENCE_S)
        assert command.returncode == 75 and "tiny was stopped before it began" in told and "Traceback" not in told
    assert not list((tmp_path / "runs").iterdir())


@pytest.mark.slow
def test_after_its_command_is_killed_the_run_is_interrupted_and_goes_on_by_the_same_command(desk):
    process = desk.start("run", "tiny.yaml", *LONG)
    desk.wait_for("step")
    process.kill()
    process.wait()
    # Its controller leaves by itself, and the new command waits for that.
    code, output = desk.type("run", "tiny.yaml", "--detach", *LONG)
    assert code == 0, output
    assert "attempt 2 goes on" in output
    desk.type("stop", "tiny", "--now")
    assert desk.status()["state"] == "yielded"


@pytest.mark.slow
def test_status_is_watched_to_the_end_of_the_run_by_people_and_machines(desk):
    desk.type("run", "tiny.yaml", "--detach", *LONG)
    watched = desk.start("status", "tiny", "--watch")
    parsed = desk.start("status", "tiny", "--watch", "--json")
    time.sleep(1.5)
    desk.type("stop", "tiny")
    output, _ = watched.communicate(timeout=PATIENCE_S)
    assert watched.returncode == 0 and "stopping (launcher stop)" in output and "yielded" in output
    lines, _ = parsed.communicate(timeout=PATIENCE_S)
    told = [json.loads(line) for line in lines.splitlines()]
    states = [each["state"] for each in told]
    assert states[-1] == "yielded" and "running" in states
    # A line is something new of the run, not of the clock.
    news = [{name: value for name, value in each.items() if name != "account"} for each in told]
    assert all(one != other for one, other in pairwise(news))


@pytest.mark.slow
def test_a_run_told_to_answer_in_json_does(desk):
    process = subprocess.run([sys.executable, "-m", "launcher.cli.main", "run", "tiny.yaml", "--without-ray", "--json"],
                             cwd=desk.folder, env=desk.environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout)["state"] == "finished"
    assert "tiny finished" in process.stderr


def a_run(desk: Desk, name: str, holder: Claim | None = None) -> None:
    """A run of the recipe as it would begin; it is finished unless somebody holds or held it."""
    loaded = load_recipe(str(desk.folder / "tiny.yaml"))
    cache = cache_store(desk.environment["LAUNCHER_CACHE"])
    made = plan(loaded.recipe, prepare(loaded.recipe, cache), loaded.ds_template)
    run = RunDir(desk.folder / "runs" / name)
    begin_run(run, made, loaded.text, Submission(file="tiny.yaml", recipe=loaded.recipe, cache=cache.url))
    journal = Journal(run, 1)
    for event in FINISHED if holder is None else CRASHED:
        journal.append(event)
    journal.close()
    if holder is not None:
        run.store.put("lease/000001.json", holder.to_json().encode())


def somebody_dead() -> Claim:
    dead = subprocess.Popen(["sleep", "60"])
    claim = claim_of(process_id(dead.pid))
    dead.kill()
    dead.wait()
    return claim


@pytest.mark.slow
def test_bad_situations_are_one_message_each_with_the_right_exit_code(desk):
    """All at the same time: a person meets them one by one, and the machine has better to do than to wait."""
    a_run(desk, "tiny")
    a_run(desk, "stale", somebody_dead())
    a_run(desk, "held", claim_of(process_id()))
    situations = {
        ("status", "tony"): (2, "tony: no run here; did you mean tiny?"),
        ("ls", "nowhere"): (2, "nowhere: no such directory"),
        ("stop", "tiny", "--within", "soon"): (2, "--within soon: 'soon' is not a duration; write it like 20min"),
        ("logs", "tiny", "--attempt", "9"): (2, "no attempt 9; the last one is 1"),
        ("stop", "tiny"): (0, "nobody works on this run, so there is nothing to stop; it is finished"),
        ("stop", "stale"): (0, "nobody works on this run, so there is nothing to stop; it is interrupted"),
        ("run", "tiny.yaml", "--run-dir", "runs/held", "--without-ray"): (2, f"worked on by process {os.getpid()} on"),
        ("run", "tiny.yaml", "--without-ray", "--set", "seed=7"): (2, "seed: was 0, is now 7"),
        ("run", "tiny.yaml", "--run-dir", "runs/new", "--address", "127.0.0.1:1"): (76, "Connection refused"),
        ("run", "tiny.yaml", "--run-dir", "runs/far", "--detach", "--without-ray", "--set", "cluster={nodes: 4}"):
            (2, "4 nodes are needed"),
    }
    started = {typed: desk.start(*typed) for typed in situations}
    for typed, process in started.items():
        told, _ = process.communicate(timeout=PATIENCE_S)
        code, message = situations[typed]
        assert (process.returncode, "Traceback" in told) == (code, False), (typed, told)
        assert message in told, (typed, told)
        assert len(told.splitlines()) <= 4, (typed, told)
    assert not any((desk.folder / "runs" / name).exists() for name in ("new", "far"))


@pytest.mark.slow
def test_a_stop_for_an_earlier_holder_is_not_obeyed_and_is_cleared_away(desk):
    run = RunDir(desk.folder / "runs/tiny")
    ask_stop(run, 0, StopFile(request=StopRequested(reason="stop_command", deadline=None)))
    code, output = desk.type("run", "tiny.yaml", "--without-ray", "--set", "stages.0.length.steps=2")
    assert code == 0 and "tiny finished" in output
    assert list(run.store.list("stops/")) == []



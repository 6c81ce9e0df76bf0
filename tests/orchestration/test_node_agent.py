"""The agent of a node carries letters down and events up, and leaves nothing."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from launcher.orchestration.agent_folder import AgentFolder, sweep
from launcher.orchestration.node_agent import NodeAgent
from launcher.orchestration.worker_process import WorkerProcess
from launcher.storage.mailbox import Mailbox
from launcher.storage.process_id import children
from tests.orchestration.test_worker_process import awaited


def all_ready(agent: NodeAgent) -> bool:
    all_ready.seen |= {report.slot for report in agent.poll() for event in report.events if event["event"] == "ready"}
    return all_ready.seen == {0, 1}


def test_standbys_pass_from_one_agent_to_another_and_end_with_it(tmp_path):
    all_ready.seen = set()
    first = NodeAgent(tmp_path)
    folders = first.start(2, 1, "cpu")
    awaited(lambda: all_ready(first))
    second = NodeAgent(tmp_path)
    second.adopt(folders, 1, "cpu")
    first.let_go()
    assert [report.exit_code for report in second.poll()] == [None, None]
    processes = second.processes()
    assert second.end(5.0)
    # The first agent's process is their parent, and writes down how they ended a moment after they are gone.
    awaited(lambda: [report.exit_code for report in second.poll()] == [-15, -15])
    assert not any(process.alive() for process in processes)
    second.close()


def test_an_agent_that_made_its_own_folder_removes_it():
    agent = NodeAgent()
    agent.start(1, 1, "cpu")
    agent.close()
    assert not agent.scratch.exists()


def test_a_spare_node_s_standbys_become_the_workers_of_the_attempt_that_needs_it(tmp_path):
    before, agent = set(children()), NodeAgent(tmp_path)
    agent.stand_by(2, 1, "cpu")
    assert agent.poll() == []
    standbys = set(children()) - before
    agent.start(2, 1, "cpu")
    assert set(agent.processes()) == standbys
    agent.close()
    assert not any(process.alive() for process in standbys)


def test_standbys_of_another_kind_are_not_taken(tmp_path):
    before, agent = set(children()), NodeAgent(tmp_path)
    agent.stand_by(1, 1, "cpu")
    (other,) = set(children()) - before
    agent.start(1, 2, "cpu")
    assert other not in agent.processes() and not other.alive()
    agent.close()


def test_where_a_worker_cannot_be_started_those_before_it_end_with_the_agent(tmp_path, monkeypatch):
    spawn = WorkerProcess.spawn
    monkeypatch.setattr(WorkerProcess, "spawn", staticmethod(only_the_first(spawn)))
    agent = NodeAgent(tmp_path)
    with pytest.raises(OSError, match="no more processes"):
        agent.start(2, 1, "cpu")
    started = agent.processes()
    agent.close()
    assert len(started) == 1 and not started[0].alive()


def only_the_first(spawn):
    def spawned(folder, *arguments, **more):
        if folder.name != "worker-0":
            raise OSError("no more processes")
        return spawn(folder, *arguments, **more)

    return spawned


KILLED = """
import os
from launcher.orchestration.agent_folder import AgentFolder
print(AgentFolder().path, flush=True)
os.kill(os.getpid(), 9)
"""


def test_what_a_killed_agent_left_is_swept_when_nobody_uses_it_any_more(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    killed = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, check=False)
    left, living = Path(killed.stdout.strip()), AgentFolder()
    (tmp_path / "lr-controllers").mkdir()
    saving = os.open(Mailbox(left / "worker-0").create().lifeline, os.O_RDONLY | os.O_NONBLOCK)
    assert sweep() == []
    os.close(saving)
    assert sweep() == [left] and living.path.exists() and (tmp_path / "lr-controllers").exists()
    living.remove()
    assert not living.path.exists()

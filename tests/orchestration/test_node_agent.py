"""The agent of a node carries letters down and events up, and leaves nothing."""

from launcher.orchestration.node_agent import NodeAgent
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
    assert [report.exit_code for report in second.poll()] == [-15, -15]
    assert not any(process.alive() for process in processes)
    second.close()


def test_an_agent_that_made_its_own_folder_removes_it():
    agent = NodeAgent()
    agent.start(1, 1, "cpu")
    agent.close()
    assert not agent.scratch.exists()

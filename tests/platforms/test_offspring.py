"""A process below which daemons are started ends these, and no others."""

import subprocess
import sys

import pytest

from launcher.storage.process_id import process_id

WAITING = """
import subprocess
from launcher.platforms.offspring import forget_the_dead, heeding_the_dead
forget_the_dead()
print(subprocess.run(["false"]).returncode)
with heeding_the_dead():
    print(subprocess.run(["false"]).returncode)
"""
PARENT = """
import subprocess, sys
from launcher.platforms.offspring import end_offspring, keep_orphans, offspring
keep_orphans()
subprocess.run(["sh", "-c", "setsid sleep 60 &"], check=True)
print(*(process.pid for process in offspring()), flush=True)
end_offspring(lambda process: False, 0.0)
print(*(process.pid for process in offspring()), flush=True)
"""


@pytest.mark.timeout(20)
def test_a_daemon_whose_parent_is_gone_is_still_found_and_ended():
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    daemon, = map(int, parent.stdout.readline().split())
    assert daemon != parent.pid and parent.stdout.readline() == "\n"
    assert bystander.poll() is None and process_id(bystander.pid).alive()
    for process in (parent, bystander):
        process.communicate()


def test_a_command_can_be_waited_for_where_children_are_forgotten():
    done = subprocess.run([sys.executable, "-c", WAITING], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "1"], "forgotten, it would look as if it had succeeded"

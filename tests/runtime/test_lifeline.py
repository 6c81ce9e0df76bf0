"""A worker that nobody holds leaves by itself, at whatever moment its starter died."""

import os
import subprocess
import sys

import pytest

from launcher.core.errors import YIELDED
from launcher.storage.mailbox import Mailbox


@pytest.mark.slow
def test_a_worker_whose_starter_died_before_it_looked_leaves(tmp_path):
    mailbox = Mailbox(tmp_path / "w").create()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "launcher.runtime.worker", str(mailbox.folder)]
    assert subprocess.run(command, env=environment, timeout=90).returncode == YIELDED

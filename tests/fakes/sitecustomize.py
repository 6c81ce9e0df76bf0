"""With this folder on PYTHONPATH every `python -m launcher.runtime.worker` is a fake: see orchestration/fake_worker.py.

The interpreter imports this file before anything else, so nothing in the product knows of fakes.
"""

import os
import sys
from pathlib import Path

if "launcher.runtime.worker" in sys.orig_argv:
    from tests.orchestration.fake_worker import FakeWorker

    code = FakeWorker(Path(sys.orig_argv[-1])).run()
    sys.stdout.flush()
    os._exit(code)

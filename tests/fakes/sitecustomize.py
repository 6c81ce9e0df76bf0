"""With this folder on PYTHONPATH every `python -m launcher.runtime.worker` is a fake: see orchestration/fake_worker.py.

The interpreter imports this file before anything else, so nothing in the product knows of fakes.
"""

import os
import sys
from pathlib import Path

if "launcher.runtime.worker" in sys.orig_argv:
    from tests.orchestration.fake_worker import FakeWorker

    folder = sys.orig_argv[sys.orig_argv.index("launcher.runtime.worker") + 1]
    code = FakeWorker(Path(folder)).run()
    sys.stdout.flush()
    os._exit(code)

"""Files that cannot be written whole: nothing is left, and the message says which it was."""

import subprocess
import sys

SCRIPT = """\
import resource, sys
from pathlib import Path
from launcher.storage.store import LocalStore
# No file may grow beyond some bytes, as on a full disk.
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
folder = Path(sys.argv[1])
store = LocalStore(folder)
store.put("a/b", b"old")
try:
    store.put("a/b", (b"x" * 4000 for _ in range(3)))
except OSError as error:
    assert error.filename == str(folder / "a/b"), error
else:
    raise AssertionError("it was written")
assert store.get("a/b") == b"old" and [path.name for path in (folder / "a").iterdir()] == ["b"]
"""


def test_a_full_disk_names_the_file_and_keeps_the_old_one(tmp_path):
    # In a process of its own: the limit holds for whatever the test's process writes, its report too.
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_line_that_does_not_fit_on_the_disk_leaves_no_part_of_itself(tmp_path):
    program = """
import os, resource, signal, sys
from launcher.storage.files import append_whole
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
append_whole(file, b"a" * 79 + b"\\n")
try:
    append_whole(file, b"b" * 79 + b"\\n")
except OSError:
    append_whole(file, b"short\\n")
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "lines")], check=True)
    assert (tmp_path / "lines").read_bytes() == b"a" * 79 + b"\nshort\n"

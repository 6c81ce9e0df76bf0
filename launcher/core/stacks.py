"""What the stacks say that Python's fault handler wrote: where the main thread was, and which rank stands elsewhere.

Pure. Writing them is `runtime.stacks`, asking for them the controller's.
"""

import re
from collections import Counter
from collections.abc import Mapping

_THREAD = re.compile(r"(?m)^(?:Thread|Current thread) 0x[0-9a-f]+.*\(most recent call first\):\n")
_FRAME = re.compile(r'(?m)^  File "(.*)", line (\d+) in (.*)$')
_STARTS_THREADS = "_bootstrap"
"""Python's function at the bottom of every thread but the main one."""
_STARTS_MAIN = ("_run_module_as_main", "<module>")
_WAITS_FOR_BACKWARD = "_engine_run_backward"
"""On a GPU gradients are computed, and their hooks run, in a thread of torch's own."""
_INSTALLED = re.compile(r".*/(?:site-packages|dist-packages|lib/python3\.\d+)/")


def main_frames(text: str) -> tuple[str, ...]:
    """Return where the main thread was when the last stacks were written, the innermost call first; may be empty."""
    threads = [_FRAME.findall(thread) for thread in _THREAD.split(text)[1:]]
    foreign = [frames for frames in threads if frames and frames[-1][2] != _STARTS_THREADS]
    mains = [frames for frames in foreign if frames[-1][2] in _STARTS_MAIN] or foreign
    if not mains:
        return ()
    hooks = [frames for frames in foreign if frames is not mains[-1] and frames[-1][2] not in _STARTS_MAIN]
    working = hooks[-1] if hooks and mains[-1][0][2] == _WAITS_FOR_BACKWARD else mains[-1]
    return tuple(f"{short(path)}:{line} in {function}" for path, line, function in working)


def odd_one_out(frames: Mapping[int, tuple[str, ...]]) -> int | None:
    """Return the rank that is somewhere else than the most: where many wait, that one is being waited for."""
    there = {rank: found for rank, found in frames.items() if found}
    places = Counter(there.values())
    return min(there, key=lambda rank: (places[there[rank]], rank), default=None)


def short(path: str) -> str:
    """Return a source file's path without what is the same for all of them."""
    path = _INSTALLED.sub("", path)
    return "launcher/" + path.rpartition("/launcher/")[2] if "/launcher/" in path else path

"""What the stacks say that Python's fault handler wrote: where the main thread was, and which rank stands elsewhere.

Pure. Writing them is `runtime.stacks`, asking for them the controller's.
"""

import re
from collections import Counter
from collections.abc import Mapping

_THREAD = re.compile(r"(?m)^(?:Thread|Current thread) 0x[0-9a-f]+.*\(most recent call first\):\n")
_CRASH, _CURRENT = "Fatal Python error:", "Current thread "
_FRAME = re.compile(r'(?m)^  File "(.*)", line (\d+) in (.*)$')
_STARTS_THREADS = "_bootstrap"
"""Python's function at the bottom of every thread but the main one."""
_STARTS_MAIN = ("_run_module_as_main", "<module>")
_WAITS_FOR_BACKWARD = "_engine_run_backward"
"""On a GPU gradients are computed, and their hooks run, in a thread of torch's own."""
_WRAPPERS = ("torch/nn/modules/module.py", "torch/utils/_contextlib.py", "torch/_dynamo/", "torch/_compile.py",
             "deepspeed/utils/nvtx.py", "transformers/utils/generic.py", "transformers/utils/output_capturing.py")
"""Files whose functions only call others: half of a stack, and none of what it says."""
_COLLECTIVES = ("torch/distributed/", "deepspeed/comm/", "deepspeed/runtime/zero/partition_parameters.py",
                "launcher/runtime/process_group.py")
_INSTALLED = re.compile(r".*/(?:site-packages|dist-packages|lib/python3\.\d+)/")


def main_frames(text: str) -> tuple[str, ...]:
    """Return where the main thread was when the last stacks were written, or the one that crashed.

    The innermost call first; may be empty.
    """
    _, crash, crashed = text.rpartition(_CRASH)
    if crash:
        text = _CURRENT + crashed.rpartition(_CURRENT)[2]
    threads = [_FRAME.findall(thread) for thread in _THREAD.split(text)[1:]]
    foreign = [frames for frames in threads if frames and (crash or frames[-1][2] != _STARTS_THREADS)]
    mains = [frames for frames in foreign if frames[-1][2] in _STARTS_MAIN] or foreign
    if not mains:
        return ()
    hooks = [frames for frames in foreign if frames is not mains[-1] and frames[-1][2] not in _STARTS_MAIN]
    working = hooks[-1] if hooks and mains[-1][0][2] == _WAITS_FOR_BACKWARD else mains[-1]
    told = [f"{short(path)}:{line} in {function}" for path, line, function in working]
    return tuple(frame for frame in told if not frame.startswith(_WRAPPERS)) or tuple(told)


def odd_one_out(frames: Mapping[int, tuple[str, ...]]) -> int | None:
    """Return the rank that the others wait for: one that is not waiting itself, otherwise one that is alone."""
    there = {rank: found for rank, found in frames.items() if found}
    places = Counter(there.values())
    return min(there, key=lambda rank: (_waits(there[rank]), places[there[rank]], rank), default=None)


def _waits(frames: tuple[str, ...]) -> bool:
    """Return whether a rank is in a collective."""
    return any(frame.startswith(_COLLECTIVES) for frame in frames[:4])


def short(path: str) -> str:
    """Return a source file's path without what is the same for all of them."""
    path = _INSTALLED.sub("", path)
    return "launcher/" + path.rpartition("/launcher/")[2] if "/launcher/" in path else path

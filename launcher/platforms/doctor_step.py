"""A short job of its own for a doctor, from the machine where people log in: one srun, one task on each node.

Decides how srun is called and how the job is found and ended: by a name that no other job has, then by its number.
Questions go to all tasks through srun's input, and answers come back through its output, so nothing shared is needed.
"""

import os
import queue
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Self

from launcher.core.errors import PlatformError
from launcher.platforms.doctor_node import Answer, Question
from launcher.platforms.sbatch import flags, time_limit
from launcher.platforms.slurm_client import host_names, show_job, slurm
from launcher.platforms.slurm_environment import outside

MODULE = "launcher.platforms.doctor_node"
NAME = "launcher-doctor-"
# A task that fails says nothing about the others, and nothing of the site's choice may end them for it.
STEP = ("srun", "--label", "--ntasks-per-node=1", "--kill-on-bad-exit=0", "--wait=0", "--cpu-bind=none", "--mpi=none",
        "--export=ALL")
LABEL = re.compile(r"^\s*(\d+): ?")
ENDED = re.compile(r"tasks? ([\d,-]+): (?:Exited|Killed|Terminated|Aborted|Segmentation)")
"""How srun tells of tasks that are gone: `node3: tasks 1,4-6: Exited with exit code 2`."""
POLL_S, LOOK_S = 0.2, 2.0
"""Between looks at answers; between questions to Slurm, which many people ask."""
CLOSE_S = 10.0
UNBUFFERED = {"PYTHONUNBUFFERED": "1"}
"""Into a pipe Python would write late, and answers are waited for."""
SAID = 6
"""Lines of srun's complaints that are kept."""


class DoctorStep:
    """The job, as a context: afterwards it is gone."""

    def __init__(self, nodes: int, limit_s: float, options: Mapping[str, str | int | bool | None]) -> None:
        self._nodes, self._limit_s, self._options = nodes, limit_s, options
        self._name = NAME + secrets.token_hex(4)
        self._answers: queue.Queue[Answer] = queue.Queue()
        self._said: list[tuple[int | None, str]] = []
        self._gone: set[int] = set()
        self._number = 0
        self.job: int | None = None

    def __enter__(self) -> Self:
        command = step_command(self._name, self._nodes, self._limit_s, self._options)
        # A session of its own: Ctrl-C is for the command, which then ends the job by its number.
        self._srun = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                      text=True, start_new_session=True, env=outside(os.environ) | UNBUFFERED)
        streams = ((self._read_answer, self._srun.stdout), (self._read_complaint, self._srun.stderr))
        self._readers = [threading.Thread(target=_each, args=each, daemon=True) for each in streams]
        for reader in self._readers:
            reader.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self._srun.stdin is not None
        with suppress(OSError):
            self._srun.stdin.close()
        # Tasks end with their input, but not one that hangs in a file system, and not a job that is still waiting.
        if kind is not None or not _ended(self._srun, CLOSE_S):
            self._cancel()
        for end in (self._srun.terminate, self._srun.kill):
            if _ended(self._srun, CLOSE_S):
                break
            end()
        self._srun.wait()

    def wait_for_nodes(self, patience_s: float, tell: Callable[[str], None]) -> list[str]:
        """Return the names of the job's nodes once it has them. Raises PlatformError with why it has none."""
        until, told = time.monotonic() + patience_s, ""
        while True:
            ended = self._srun.poll() is not None
            state, reason = self._state()
            if self.job is not None and state in ("RUNNING", "COMPLETING"):
                return host_names(show_job(self.job)["NodeList"])
            if ended:
                for reader in self._readers:
                    reader.join(CLOSE_S)
                raise PlatformError(self.complaint() or f"srun ended with {self._srun.returncode}")
            if time.monotonic() > until:
                raise PlatformError(f"job {self.job or self._name} still waits for its nodes ({reason or 'no reason'})")
            if (words := f"job {self.job} waits for its nodes: {reason}") != told and state == "PENDING":
                tell(words)
                told = words
            time.sleep(LOOK_S / 4 if state == "" else LOOK_S)

    def ask(self, question: Question, patience_s: float) -> dict[int, Answer]:
        """Put a question to its nodes; return the answers that came in time, by node."""
        self._number += 1
        question = question.model_copy(update={"number": self._number})
        assert self._srun.stdin is not None
        with suppress(OSError):  # srun is gone: nobody answers.
            self._srun.stdin.write(question.model_dump_json() + "\n")
            self._srun.stdin.flush()
        answers: dict[int, Answer] = {}
        until = time.monotonic() + patience_s
        while (left := until - time.monotonic()) > 0:
            # Looked at first: whatever a task that is gone has answered is read below.
            gone = set(question.nodes) if self._srun.poll() is not None else set(self._gone)
            try:
                answer = self._answers.get(timeout=min(left, POLL_S))
            except queue.Empty:
                if not set(question.nodes) - set(answers) - gone:
                    break
                continue
            if answer.number == self._number:
                answers[answer.node] = answer
            if len(answers) == len(question.nodes):
                break
        return answers

    def complaint(self, node: int | None = None, name: str = "") -> str:
        """Return what srun and the tasks complained about last, or what is about one node."""
        mine = [words for task, words in self._said if node is None or task == node or (name and name in words)]
        return "; ".join(mine[-SAID:])

    def gone(self, node: int) -> bool:
        """Return whether a node's task has ended."""
        return node in self._gone or self._srun.poll() is not None

    def _state(self) -> tuple[str, str]:
        """Return the job's state and why it waits; nothing while Slurm does not have it."""
        with suppress(PlatformError):
            lines = slurm("squeue", "--noheader", f"--name={self._name}", "--format=%A|%T|%r").splitlines()
            if lines:
                number, state, reason = lines[0].strip().split("|")
                self.job = int(number)
                return state, reason
        return "", ""

    def _cancel(self) -> None:
        self._state()
        if self.job is not None:
            with suppress(PlatformError):
                slurm("scancel", str(self.job))

    def _read_answer(self, line: str) -> None:
        try:
            self._answers.put(Answer.from_json(LABEL.sub("", line)))
        except ValueError:
            self._read_complaint(line)  # A site's prolog may print, too.

    def _read_complaint(self, line: str) -> None:
        label = LABEL.match(line)
        words = LABEL.sub("", line).strip().removeprefix("srun: error: ")
        if told := ENDED.search(words):
            self._gone |= set(numbers(told[1]))
        if words and "queued and waiting" not in words and "has been allocated" not in words:
            self._said.append((int(label[1]) if label else None, words))


def step_command(name: str, nodes: int, limit_s: float, options: Mapping[str, Any]) -> list[str]:
    """Return the command of the job."""
    named = {"job-name": name, "nodes": nodes, "ntasks": nodes, "time": time_limit(limit_s)}
    return [*STEP, *flags(named | dict(options)), sys.executable, "-u", "-m", MODULE]


def _each(read: Callable[[str], None], stream: Any) -> None:
    for line in stream:
        read(line)


def _ended(process: "subprocess.Popen[str]", patience_s: float) -> bool:
    with suppress(subprocess.TimeoutExpired):
        process.wait(patience_s)
    return process.returncode is not None


def numbers(listed: str) -> list[int]:
    """Return the numbers in a list such as `1,4-6`."""
    ranges = ([int(number) for number in part.split("-")] for part in listed.split(","))
    return [number for each in ranges for number in range(each[0], each[-1] + 1)]

"""The process of the batch script, on a job's first node: `python -m launcher.platforms.slurm_job RECIPE [options]`.

Carries out the life of one allocation: Ray on all nodes, the controller on the first one, every notice to it, and at
the end what `slurm_verdict` says. Decides nothing about the run; its options are those of `launcher run`.
"""

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from launcher.core.errors import YIELDED, LauncherError, PlatformError
from launcher.platforms.addresses import head_address
from launcher.platforms.ports import hold_block
from launcher.platforms.slurm_client import host_names, requeue, show_job
from launcher.platforms.slurm_command import Asked, asked, run_command
from launcher.platforms.slurm_container import container
from launcher.platforms.slurm_environment import (
    Allocation,
    allocation,
    allocations,
    end_of,
    start_of,
    too_few_cores,
)
from launcher.platforms.slurm_notices import Messenger, Notices
from launcher.platforms.slurm_ray import Orders, ray_environment
from launcher.platforms.slurm_steps import CLOSE_S, POLL_S, NodesStep, controller_command, end, start_controller
from launcher.platforms.slurm_verdict import Verdict, exit_code, fruitless_allocations, margin_s, verdict
from launcher.storage.jobs import job_record, record_began
from launcher.storage.journal import read_journal
from launcher.storage.lock import token_of
from launcher.storage.run_dir import RunDir
from launcher.storage.stop_file import stops_asked

REQUEUED_S = 60.0
"""For Slurm to end a job that was queued again."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Live one allocation of the job; return the exit code of its batch script."""
    notices = Notices()
    notices.take_signals()
    try:
        job = allocation(os.environ)
        wanted = asked(arguments, job.task)
        if job.task is not None:
            _to_own_log(job, RunDir(wanted.run_dir))
        return Job(job, wanted, notices).live()
    except LauncherError as error:
        sys.stderr.write(f"launcher: {error}\n")
        return error.exit_code


class Job:
    """One allocation of one job."""

    def __init__(self, job: Allocation, wanted: Asked, notices: Notices) -> None:
        self._job, self._wanted, self._notices = job, wanted, notices
        self._run = RunDir(wanted.run_dir)
        self._token, self._known = token_of(self._run), 0
        self._where = container(os.environ, str(Path.cwd()))

    def live(self) -> int:
        """Work on the run until it has ended or the allocation does; return the exit code."""
        names = host_names(self._job.node_list)
        self._watch_clock()
        address = head_address(names)
        block = hold_block(self._job.job, 0)
        _say(f"job {self._job.job} on {', '.join(names)}; run {self._wanted.run_dir}")
        if words := too_few_cores(os.environ, self._wanted.wish.gpus_per_node or 1):
            _say(f"note: {words}")
        orders = Orders(job=self._job.job, address=address, port=block.ports[0], token=secrets.token_hex(32))
        with NodesStep(names, orders, self._where) as nodes:
            ready = nodes.wait_ready(lambda: self._notices.request() is not None)
            code = self._control(orders, names[0]) if ready else YIELDED
            if self._notices.over():
                # At once: a moment later Slurm would take the job for timed out.
                return self._conclude(code)
        return self._conclude(code)

    def _watch_clock(self) -> None:
        """Find out when the allocation ends, and record that it has begun. Where Slurm does not tell, its signals must
        do."""
        try:
            shown = show_job(self._job.handle)
        except PlatformError as error:
            _say(f"note: {error}")
            shown = {}
        with suppress(OSError):  # Only for people who look; what needs the run directory will say so.
            record_began(self._run, self._job.handle, time.time(), allocations=allocations(os.environ),
                         folder=shown.get("WorkDir", ""))
        begin, self._notices.end = start_of(shown), end_of(os.environ, shown)
        length = None if begin is None or self._notices.end is None else self._notices.end - begin
        events = list(read_journal(self._run))
        saves = [event["seconds"] for event in events if event["event"] == "checkpoint_committed"]
        self._known, self._notices.margin_s = len(events), margin_s(saves, length)

    def _control(self, orders: Orders, first_node: str) -> int:
        """Run the controller and pass every notice on to it; return its exit code."""
        _say("Ray is up on all nodes")
        messenger = Messenger(self._run, time.time())
        command = run_command(self._wanted, f"{orders.address}:{orders.port}", self._job.nodes,
                              self._where.python)
        environment = ray_environment(os.environ, self._job.job, 0) | {"PYTHONUNBUFFERED": "1"}
        step = start_controller(controller_command(first_node, command, self._where), environment)
        while (code := step.poll()) is None and not self._notices.over():
            if (request := self._notices.request()) is not None:
                messenger.tell(request)
            time.sleep(POLL_S)
        if code is None:
            self._end(step)
        asked = self._notices.request() is not None
        return exit_code(step.returncode, ended_by_us=code is None, asked=asked)

    def _end(self, step: "subprocess.Popen[bytes]") -> None:
        _say("the allocation ends; what was saved last stands")
        step.terminate()
        end(step, CLOSE_S)

    def _conclude(self, code: int) -> int:
        """Do what follows from the controller's exit code; return the batch script's."""
        fruitless = fruitless_allocations(list(read_journal(self._run)), self._known,
                                          out_of_time=self._notices.out_of_time())
        decided = verdict(code, self._state(), stop_asked=self._stop_asked(), fruitless=fruitless)
        if decided == "requeue":
            self._requeue()
        elif words := _words(decided, self._wanted):
            _say(words)
        return code

    def _state(self) -> str:
        """Return what Slurm calls the job's state; where it does not answer, what its signals say."""
        try:
            return show_job(self._job.handle).get("JobState", "")
        except PlatformError:
            return "" if self._notices.ended else "RUNNING"

    def _stop_asked(self) -> bool:
        """Return whether somebody asked this job, or the controller of this allocation, to stop for good."""
        # A run that was stopped before it began has left no trace of a controller.
        record = job_record(self._run, self._job.handle)
        if record is not None and record.stopped:
            return True
        token = token_of(self._run)
        return token > self._token and any(found.request.reason == "stop_command"
                                           for found in stops_asked(self._run, token))

    def _requeue(self) -> None:
        try:
            requeue(self._job.handle)
        except PlatformError as error:
            _say(f"the run has yielded, and this job cannot be queued again ({error}); the same sbatch command goes on")
            return
        _say(f"job {self._job.job} is queued again and goes on from what is saved")
        until = time.monotonic() + REQUEUED_S
        # An exit of its own could come before Slurm's word and be taken for the job's end.
        while not self._notices.ended and time.monotonic() < until:
            time.sleep(POLL_S)


def _to_own_log(job: Allocation, run: RunDir) -> None:
    """Write on into the run's directory: sbatch has one log for all tasks of a job array."""
    run.path.mkdir(parents=True, exist_ok=True)
    log = run.path / run.SLURM_LOG.replace("%j", str(job.job))
    _say(f"task {job.task} of the array is {run.url}; its log is {log}")
    with log.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())


def _words(decided: Verdict, wanted: Asked) -> str:
    shown = wanted.run_dir
    return {
        "stopped": f"stopped on request, so it is not queued again; the same sbatch command goes on with {shown}",
        "left to Slurm": "Slurm ends this job; the same sbatch command goes on with what is saved, unless Slurm queues "
                         "it again itself",
        "fruitless": "not queued again: the time of this allocation, or of several in a row, ended before anything new "
                     "was saved. Ask for more (sbatch --time), or be warned later (--signal=B:USR1@60)",
    }.get(decided, "")


def _say(line: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} launcher on {socket.gethostname()}: {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

"""The process of the batch script, on a job's first node: `python -m launcher.platforms.slurm_job RECIPE [options]`.

Carries out the life of one allocation, once `slurm_admission` has found something to do for it: Ray on all nodes, the
controller on the first one, every notice to it, and at the end what `slurm_verdict` says. Decides nothing about the
run; its options are those of `launcher run`.
"""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from launcher.core.errors import FAILED, FINISHED, INFRASTRUCTURE, REFUSED, YIELDED, LauncherError, PlatformError
from launcher.platforms.addresses import head_address
from launcher.platforms.ports import hold_block
from launcher.platforms.slurm_admission import admit
from launcher.platforms.slurm_client import host_names, requeue, show_job, sound_nodes
from launcher.platforms.slurm_command import Asked, run_command
from launcher.platforms.slurm_container import container, mounted
from launcher.platforms.slurm_environment import NODES_MAY_COME, Allocation, end_of, start_of, too_few_cores
from launcher.platforms.slurm_following import Follower
from launcher.platforms.slurm_log import say, trouble
from launcher.platforms.slurm_notices import Messenger, Notices
from launcher.platforms.slurm_ray import Orders, ray_environment
from launcher.platforms.slurm_steps import CLOSE_S, POLL_S, NodesStep, clear, controller_command, end, start_controller
from launcher.platforms.slurm_taking import taken
from launcher.platforms.slurm_verdict import FRUITLESS, Verdict, exit_code, fruitless_allocations, preempted, verdict
from launcher.storage.jobs import job_record, record_began, record_ends, record_failed_start, record_started
from launcher.storage.journal import read_journal
from launcher.storage.lock import token_of
from launcher.storage.orphan_grace import orphan_grace_s
from launcher.storage.run_dir import RunDir
from launcher.storage.stop_file import stops_asked

REQUEUED_S = 60.0
"""For Slurm to end a job that was queued again."""
AWAY_S, ASK_S = 900.0, 5.0
"""For a controller of Slurm's that is restarted: until it is back, nobody ends the allocation either."""
OWN_CODES = (FINISHED, FAILED, REFUSED, YIELDED)
"""Of a controller that ended by itself."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Live one allocation of the job; return the exit code of its batch script."""
    notices = Notices()
    notices.take_signals()
    try:
        orphan_grace_s(os.environ)
        admitted = admit(arguments)
        if isinstance(admitted, int):
            return admitted
        return Job(admitted.job, admitted.wanted, notices, admitted.shown).live()
    except LauncherError as error:
        sys.stderr.write(f"launcher: {error}\n")
        return error.exit_code
    except NotADirectoryError as error:  # Of a run directory below a file, which no other allocation mends.
        sys.stderr.write(f"launcher: {trouble(error)}; --run-dir names another place\n")
        return REFUSED
    except OSError as error:
        sys.stderr.write(f"launcher: {trouble(error)}\n")
        return INFRASTRUCTURE


class Job:
    """One allocation of one job."""

    def __init__(self, job: Allocation, wanted: Asked, notices: Notices, shown: Mapping[str, str]) -> None:
        self._job, self._wanted, self._notices = job, wanted, notices
        self._run = RunDir(wanted.run_dir)
        self._where = container(os.environ, str(Path.cwd()), *mounted(self._run, os.environ))
        self._token, self._folder = token_of(self._run), shown.get("WorkDir", "")
        begin, notices.end = start_of(shown), end_of(os.environ, shown)
        self._follower = Follower(self._run, notices, None if begin is None or notices.end is None
                                  else notices.end - begin)

    def live(self) -> int:
        """Work on the run until it has ended or the allocation does; return the exit code."""
        names = host_names(self._job.node_list)
        with suppress(OSError):  # Only for people who look; what needs the run directory will say so.
            record_began(self._run, self._job.handle, time.time(), allocations=self._job.restarts + 1,
                         folder=self._folder)
        address = head_address(names)
        block = hold_block(self._job.job, 0)
        say(f"job {self._job.job} on {', '.join(names)}; run {self._wanted.run_dir}")
        if words := too_few_cores(os.environ, self._wanted.wish.gpus_per_node or 1):
            say(f"note: {words}")
        orders = Orders(job=self._job.job, handle=self._job.handle, address=address, port=block.ports[0],
                        token=secrets.token_hex(32), restarts=self._job.restarts,
                        run=self._run.url if self._run.remote else "")
        with NodesStep(names, orders, self._where) as nodes:
            code = self._control(orders, names) if self._bring_up(nodes, names) else YIELDED
            if self._notices.over():
                # At once: a moment later Slurm would take the job for timed out.
                return self._conclude(code)
        if nodes.broken and not self._notices.ended:
            clear(self._job.job, sound_nodes(self._job.handle, names))
        return self._conclude(code)

    def _bring_up(self, nodes: NodesStep, names: Sequence[str]) -> bool:
        """Wait for Ray on all nodes; return False if there is no use in it any more. Raises PlatformError."""
        try:
            return nodes.wait_ready(lambda: self._notices.request() is not None)
        except PlatformError as error:
            how = taken(self._job.handle, names, lambda: self._notices.request() is not None, say)
            if not (how := how or self._worth_another()):
                raise
            # Not this job's fault: Slurm gives it others.
            say(f"{error}. {how}")
            return False

    def _worth_another(self) -> str:
        """Return why another allocation is worth its wait although Ray did not come up in this one."""
        # Where nothing of the run has ever worked, somebody waits for the sentence that says why.
        if not self._follower.before or (failed := record_failed_start(self._run, self._job.handle)) >= FRUITLESS:
            return ""
        return f"The run has worked before, so it is tried in another allocation ({failed} of {FRUITLESS - 1})"

    def _control(self, orders: Orders, names: Sequence[str]) -> int:
        """Run the controller and pass every notice on to it; return its exit code."""
        say("Ray is up on all nodes")
        with suppress(OSError):
            record_started(self._run, self._job.handle)
        messenger = Messenger(self._run, time.time())
        command = run_command(self._wanted, f"{orders.address}:{orders.port}", self._job.nodes,
                              self._where.python)
        environment = ray_environment(os.environ, self._job.job, 0) | {
            "PYTHONUNBUFFERED": "1", NODES_MAY_COME: "1"}
        step = start_controller(controller_command(names[0], command, self._where), environment)
        while (code := step.poll()) is None and not self._notices.over():
            self._follower.look(self._job.handle, names)
            if (request := self._notices.request()) is not None:
                with suppress(OSError):  # Files or storage that fail for a moment: it is told at the next look.
                    messenger.tell(request)
            time.sleep(POLL_S)
        if code is None:
            self._end(step)
        asked = self._notices.request() is not None or (step.returncode not in OWN_CODES and self._preempted())
        return exit_code(step.returncode, ended_by_us=code is None, asked=asked)

    def _preempted(self) -> bool:
        """Return whether Slurm told the job's steps alone that it takes the nodes away, for all that it answers."""
        try:
            return preempted(show_job(self._job.handle))
        except PlatformError:
            return False

    def _end(self, step: "subprocess.Popen[bytes]") -> None:
        say("the allocation ends; what was saved last stands")
        step.terminate()
        end(step, CLOSE_S)

    def _conclude(self, code: int) -> int:
        """Do what follows from the controller's exit code; return the batch script's."""
        with suppress(OSError):
            record_ends(self._run, self._job.handle)
        fruitless, stop_asked = self._told_by_files() if code == YIELDED else (0, False)
        decided = verdict(code, self._state(), stop_asked=stop_asked, fruitless=fruitless)
        if decided == "requeue":
            self._requeue()
        elif words := _words(decided, self._wanted):
            say(words)
        return code

    def _told_by_files(self) -> tuple[int, bool]:
        """Return how many allocations in a row were in vain, and whether somebody asked for a stop for good."""
        try:
            return (fruitless_allocations(list(read_journal(self._run)), self._follower.before,
                                          out_of_time=self._notices.out_of_time()), self._stop_asked())
        except OSError as error:
            # The next allocation asks first of all, and ends where it cannot either.
            say(f"note: {trouble(error)}")
            return 0, False

    def _state(self, unheard: str = "RUNNING") -> str:
        """Return what Slurm calls the job's state; where it does not answer and no signal came, `unheard`."""
        try:
            return show_job(self._job.handle).get("JobState", "")
        except PlatformError:
            return "" if self._notices.ended else unheard

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
            self._ask_requeue()
        except PlatformError as error:
            say(f"the run has yielded, and this job cannot be queued again ({error}); the next link of its "
                "chain goes on, or the same sbatch command")
            return
        say(f"job {self._job.job} is queued again and goes on from what is saved")
        until = time.monotonic() + REQUEUED_S
        # An exit of its own could come before Slurm's word and be taken for the job's end.
        while not self._notices.ended and time.monotonic() < until:
            time.sleep(POLL_S)

    def _ask_requeue(self) -> None:
        """Ask Slurm to queue the job again, however long it restarts. Raises PlatformError if it refuses."""
        until = time.monotonic() + AWAY_S
        while True:
            try:
                return requeue(self._job.handle)
            except PlatformError:
                if (state := self._state("")) not in ("", "RUNNING"):
                    return None  # Slurm has heard an earlier question whose answer was lost.
                if state or self._notices.ended or time.monotonic() >= until:
                    raise
            time.sleep(ASK_S)


def _words(decided: Verdict, wanted: Asked) -> str:
    shown = wanted.run_dir
    return {
        "stopped": f"stopped on request, so it is not queued again; the same sbatch command goes on with {shown}",
        "left to Slurm": "Slurm ends this job; the same sbatch command goes on with what is saved, unless Slurm queues "
                         "it again itself",
        "fruitless": "not queued again: this allocation, or several in a row, ended for want of time or nodes before "
                     "anything new was saved. Ask for more (sbatch --time), or be warned later (--signal=B:USR1@60)",
    }.get(decided, "")


if __name__ == "__main__":
    sys.exit(main())

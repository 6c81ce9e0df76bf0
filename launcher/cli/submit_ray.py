"""`launcher submit RECIPE --on ray`: the run as a job of a Ray cluster, followed to its end.

Parses and prints, and submits again where that was asked for. What is submitted is `cli.ray_submission`, how a job is
followed `cli.follow_ray`, what its end means `platforms.ray_jobs_verdict`.
"""

import sys
import time

from launcher.cli.follow_ray import Follower, events_of, saved_since
from launcher.cli.plan import plan_of, print_plan
from launcher.cli.queue import refuse_queued
from launcher.cli.ray_queue import stopping
from launcher.cli.ray_submission import RayOptions, RaySubmission
from launcher.cli.submit import INTERRUPTED, copied, told_finished
from launcher.core.errors import PlatformError, ProblemsError
from launcher.platforms.ray_jobs_client import CALL_S, Dashboard, Unsure
from launcher.platforms.ray_jobs_verdict import FRUITLESS, Verdict, given_up_after, pause_s
from launcher.report.fitting import columns, commands
from launcher.report.words import duration
from launcher.storage.jobs import JobRecord, jobs_of


def submit(recipe: str, options: RayOptions, *, dry_run: bool) -> int:
    """Submit a recipe's run and follow it, or with `dry_run` print what would be; return the exit code."""
    submission = RaySubmission.of(recipe, options)
    if dry_run:
        _describe(submission)
        return 0
    run = submission.run
    if run.nothing_to_do():
        return told_finished([run])
    refuse_queued(run.directory, run.shown)
    run.refuse_held(_note)
    try:
        return _until_it_ends(submission)
    except KeyboardInterrupt:
        return _left_alone(submission)


def _until_it_ends(submission: RaySubmission) -> int:
    """Submit the run, follow its job, and submit it again as long as that is asked for and helps."""
    run, options, in_vain, given_up = submission.run.directory, submission.options, 0, 0
    while True:
        known = events_of(run)
        board, record = _submitted(submission)
        if not options.wait:
            return 0
        ended = Follower(board, run, record, known, _note, patient=options.retry_forever).follow()
        if not (ended.again and options.retry_forever):
            return _told(submission, ended)
        saved = saved_since(run, known)
        in_vain, given_up = 0 if saved else in_vain + 1, given_up_after(ended, given_up, saved=saved)
        if given_up >= FRUITLESS:
            _note(f"{given_up} jobs in a row could not go on and saved nothing new; more of them would not either")
            return _told(submission, ended)
        pause = pause_s(in_vain)
        _note(f"{ended.said}; the run is submitted again in {duration(pause)}")
        time.sleep(pause)


def _submitted(submission: RaySubmission) -> tuple[Dashboard, JobRecord]:
    """Submit a job; where the run is submitted for ever, once there is a cluster that takes it."""
    in_vain = 0
    while True:
        try:
            board = Dashboard(submission.address, CALL_S)
            return board, _submit(submission, board)
        except PlatformError as error:
            if not submission.options.retry_forever:
                raise
            pause = pause_s(in_vain)
            _note(f"{error} Trying again in {duration(pause)}")
            time.sleep(pause)
            in_vain += 1


def _submit(submission: RaySubmission, board: Dashboard) -> JobRecord:
    """Submit a job and tell of it. Raises PlatformError where it was not submitted, or nobody waits to find out."""
    try:
        record = submission.submit(board)
    except Unsure as error:
        record = jobs_of(submission.run.directory)[0]
        if not submission.options.wait:
            raise Unsure(f"{error} Job {record.job} may have been submitted all the same: `launcher status "
                         f"{submission.run.shown}` tells") from None
        # Whether it was is seen when it is asked about.
        _note(f"{error} It may have understood")
    _tell(submission, record)
    return record


def _tell(submission: RaySubmission, record: JobRecord) -> None:
    shown = submission.run.shown
    print(f"job {record.job} is submitted to {submission.address}")
    for line in copied(submission.snapshot):
        print(f"sent   {line}")
    for line in submission.data.notes:
        print(f"note   {line}")
    following = f"launcher status {shown}    launcher logs {shown} -f    launcher stop {shown}"
    print(commands("next   ", following, columns(sys.stdout)), flush=True)


def _told(submission: RaySubmission, ended: Verdict) -> int:
    shown = submission.run.shown
    print(f"{ended.said}: exit code {ended.code}\nnext   launcher status {shown}    launcher logs {shown}")
    return ended.code


def _left_alone(submission: RaySubmission) -> int:
    """Tell what goes on after Ctrl-C, which ends only the following."""
    shown, jobs = submission.run.shown, jobs_of(submission.run.directory)
    again = "; nothing submits it again" if submission.options.retry_forever else ""
    if jobs:
        sys.stderr.write(f"\nlauncher: job {jobs[0].job} goes on without this terminal{again}\n"
                         f"next   launcher logs {shown} -f    launcher stop {shown}    "
                         f"{stopping(submission.address, jobs[0].job)}\n")
    else:
        sys.stderr.write("\nlauncher: stopped, nothing was submitted\n")
    return INTERRUPTED


def _describe(submission: RaySubmission) -> None:
    """Print what would be submitted: never a value of the environment."""
    request, snapshot, run = submission.request(submission.next_id([])), submission.snapshot, submission.run
    names = sorted(request.environment)
    print(f"address\n{submission.address}\n\nentrypoint\n{request.entrypoint}\n"
          f"\nsubmission id\n{request.submission_id}\n"
          f"\nmetadata\n{' '.join(f'{name}={value}' for name, value in request.metadata.items())}\n"
          f"\nenvironment, by name (the values stand in the job's record; all else comes from the cluster's nodes)\n"
          f"{' '.join(names)}\n"
          f"\nwould be sent ({snapshot.size:,} bytes; nothing else of any folder here)")
    print("\n".join(copied(snapshot)))
    if not snapshot.has_code:
        print(f"not launcher, which is installed here: the cluster's nodes need it too ({request.metadata['version']})")
    for line in submission.data.notes:
        print(f"note   {line}")
    print()
    try:
        print_plan(plan_of(run.loaded, run.loaded.prepared), run.loaded.recipe, submission.options.workers)
    except ProblemsError as error:
        print(f"plan     not known here: {error}")
    how = "would be prepared by the job, in" if run.loaded.prepared is None else "is prepared; the job reads it from"
    print(f"data     {how} {submission.cache}\nnothing was submitted")


def _note(line: str) -> None:
    sys.stderr.write(f"launcher: {line}\n")
    sys.stderr.flush()


"""Asking Slurm about a job before it is submitted, and for it. A job that can never run would wait for ever.

Decides when a doubt is certain. What is doubtful is `slurm_fit`, what a refusal means `slurm_refusals`.
"""

import re
from collections.abc import Mapping, Sequence

from launcher.core.errors import LauncherError, PlatformError, UserError
from launcher.core.site_facts import Partition
from launcher.platforms.slurm_client import Unsure, slurm, start_estimate
from launcher.platforms.slurm_fit import SINFO, kinds, misfit, request
from launcher.platforms.slurm_refusals import refusal
from launcher.platforms.slurm_rules import partitions

NO_ANSWER = re.compile(r"contact slurm controller|timed out|no such command", re.IGNORECASE)
"""Where sbatch has not come to judge the job."""
ASK_S = 10.0
"""For a question whose answer the submission can do without."""


def refuse_unfit(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Raise UserError for what the cluster can never run, as far as Slurm answers. `environment` is sbatch's."""
    try:
        known = _partitions()
        doubt = misfit(request(command, environment), known, kinds(slurm(*SINFO, patience_s=ASK_S)))
    except PlatformError:
        return
    if not doubt:
        return
    try:
        # A site's plugin may move the job to where it fits, which only sbatch itself can tell.
        start_estimate(command, environment)
    except PlatformError as error:
        if not (isinstance(error, Unsure) or NO_ANSWER.search(str(error))):
            raise UserError(doubt) from None


def submit(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return what sbatch printed. Raises UserError for what it refuses because of the request, else PlatformError."""
    try:
        return slurm(*command, environment=environment)
    except Unsure:
        raise
    except PlatformError as error:
        raise in_words(error) from None


def in_words(error: PlatformError) -> LauncherError:
    """Return sbatch's refusal as what the person is to do about it, or itself where it is nothing of theirs."""
    said = str(error).partition(": ")[2]
    if not refusal(said):
        return error
    try:
        names = [partition.name for partition in _partitions()]
    except PlatformError:
        names = []
    return UserError(refusal(said, names))


def _partitions() -> list[Partition]:
    return partitions(slurm("scontrol", "--oneliner", "show", "partition", patience_s=ASK_S))

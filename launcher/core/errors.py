"""What can go wrong, and whose move it is. The exit code of the command follows from the type.

    LauncherError
    |-- UserError            exit 2   the recipe, the data, the plan or the command line
    |   |-- RecipeInvalid            several problems, each with its place
    |   |-- DataInvalid              a source cannot be read or rendered
    |   |-- Unplannable              a mix, length or cluster that cannot work, with numbers
    |   `-- PlanChanged              the run exists and was begun with another plan
    |-- RunFailed            exit 1   training ended in a way that another try would not mend
    |-- Diverged             exit 1   rows threw the run off its track; another try must leave them out
    |-- Yielded              exit 75  stopped on request; the same command continues
    `-- PlatformError        exit 76  Ray, the file system or the machine
"""

from collections.abc import Sequence
from dataclasses import dataclass

FINISHED, FAILED, REFUSED, YIELDED, INFRASTRUCTURE = 0, 1, 2, 75, 76


class LauncherError(Exception):
    """The base of all errors that a person is told in one message, without a traceback."""

    exit_code = FAILED


class UserError(LauncherError):
    """The person's move: the recipe, the data or the command line is wrong."""

    exit_code = REFUSED


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a text a person wrote, and what to do about it."""

    where: str
    """`file:line:column` as far as known, or the name of the option."""
    path: str
    """The dotted path of the field, for example `stages.1.mix.maths`; empty for the whole."""
    message: str
    """What is wrong and what would be right, in one sentence."""

    def __str__(self) -> str:
        """Return the problem as one line."""
        return ": ".join(part for part in (self.where, self.path, self.message) if part)


class ProblemsError(UserError):
    """Several problems told at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class RecipeInvalid(ProblemsError):
    """The recipe cannot be read, or says something that cannot be."""


class Unplannable(ProblemsError):
    """The recipe reads well, but no plan follows from it: an impossible mix, length or cluster."""


class NodesMissing(Unplannable):
    """Fewer nodes are there than an attempt needs; in a cloud more may be on their way."""


class DataInvalid(UserError):
    """A source cannot be read, rendered or masked; the message names the file and the row."""


class PlanChanged(UserError):
    """The run was begun with another plan; the message is the difference."""


class RunFailed(LauncherError):
    """Training ended, and the same again would end the same."""


class Diverged(LauncherError):
    """A step's rows threw the run off its track, or too many steps were not finite; the message names the rows."""


class Yielded(LauncherError):
    """The run stopped on request before its end; the same command continues it."""

    exit_code = YIELDED


class PlatformError(LauncherError):
    """Ray, the file system or the machine failed; the recipe is not at fault."""

    exit_code = INFRASTRUCTURE

    def __init__(self, message: str, node: str = "") -> None:
        super().__init__(message)
        self.node = node
        """The node it speaks against, where it is one alone."""

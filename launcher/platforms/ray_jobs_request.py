"""What is sent to a Ray cluster to submit a run: the command, the environment, what is told of it. Pure.

Decides which variables of this machine go along, and that nothing secret does: whoever may open the dashboard, or type
`ray job list`, reads the command and the values of the environment.
"""

import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from launcher.core.errors import UserError
from launcher.core.recipe_checks import SECRET_NAME, SECRET_VALUE
from launcher.platforms.ray_jobs import RUN_DIR
from launcher.platforms.slurm_told import Told
from launcher.platforms.slurm_verdict import margin_s

STOP_WAIT = "RAY_JOB_STOP_WAIT_TIME_S"
"""How long `ray job stop` waits before it kills; 3 s where nobody says it."""
GO_ALONG = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_ENDPOINT",
            "HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT", "HF_HUB_DISABLE_XET")
"""Variables that mean the same on any machine. Not HF_HOME, a path of this one; never HF_TOKEN."""
TOKEN_NAME = re.compile(r"token(?!iz)|credential|private_?key|access_?key|session_?key|passphrase", re.IGNORECASE)
SHORTEST_SECRET = 8
"""Characters: what is shorter is found in any text by chance."""
LAUNCHER_RUN = "launcher_run"


@dataclass(frozen=True)
class Request:
    """A job as it is submitted."""

    submission_id: str
    entrypoint: str
    environment: Mapping[str, str]
    metadata: Mapping[str, str]
    cpus: float = 0.0
    """That the command takes of its node; without any it runs on the head."""
    resources: Mapping[str, float] = field(default_factory=dict[str, float])

    def texts(self) -> Iterable[tuple[str, str]]:
        """Yield all that anybody may read of it, with what it is."""
        yield "the job's command", self.entrypoint
        yield "the job's id", self.submission_id
        for name, value in self.environment.items():
            yield f"{name} in the job's environment", value
        for name, value in self.metadata.items():
            yield f"{name} in the job's metadata", value


def entrypoint(python: str, arguments: Sequence[str]) -> str:
    """Return the command of a job. `exec`: the shell that Ray starts it with must not stand between it and a signal."""
    return f"exec {shlex.join([python, '-m', 'launcher.cli.main', *arguments])}"


def metadata(name: str, run_dir: str, recipe: str, version: str) -> dict[str, str]:
    """Return what the job's record tells of the run."""
    return {LAUNCHER_RUN: name, RUN_DIR: run_dir, "recipe": recipe, "version": version}


def environment(told: Told, surrounding: Mapping[str, str], passed: Sequence[str]) -> dict[str, str]:
    """Return the variables that are set for a job. Raises UserError for one that is asked for and may be a secret."""
    asked = {name: _passed(name, surrounding) for name in passed}
    along = {name: surrounding[name] for name in GO_ALONG if surrounding.get(name)}
    for name, value in along.items():
        _refuse_user_in(name, value)
    return {**along, **asked, "PYTHONUNBUFFERED": "1", STOP_WAIT: str(math.ceil(margin_s(told, None)))}


def _passed(name: str, surrounding: Mapping[str, str]) -> str:
    if _secret(name) or SECRET_VALUE.search(surrounding.get(name, "")):
        raise UserError(f"--pass-env {name}: looks like a secret, and Ray keeps the values of a job's environment "
                        "where everybody who sees the dashboard or `ray job list` reads them. Put it into the "
                        "environment of the cluster's nodes instead (of Kubernetes: a Secret in the pod template of "
                        "head and workers); the job inherits it from there")
    if name not in surrounding:
        raise UserError(f"--pass-env {name}: is not set here")
    _refuse_user_in(name, surrounding[name])
    return surrounding[name]


def _refuse_user_in(name: str, value: str) -> None:
    if has_password(value):
        raise UserError(f"{name}: is a URL with a password in it, and would stand in the job's record; set it in the "
                        "environment of the cluster's nodes")


def has_password(text: str) -> bool:
    """Return whether a text is a URL that carries a name or a password."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme and (parts.username or parts.password))


def secrets_in(surrounding: Mapping[str, str], texts: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return which variables of this machine's environment, that look like secrets, have their values in some texts:
    pairs of the variable's name and what the text is."""
    secrets = {name: value for name, value in surrounding.items()
               if _secret(name) and len(value) >= SHORTEST_SECRET and not value.startswith("/")}
    return [(name, what) for what, text in texts for name, value in secrets.items() if value in text]


def refuse_secrets(surrounding: Mapping[str, str], texts: Iterable[tuple[str, str]]) -> None:
    """Raise UserError, by names alone, if a secret of this machine's environment would be sent."""
    if found := secrets_in(surrounding, texts):
        lines = "; ".join(f"{what} holds the value of {name}" for name, what in found)
        raise UserError(f"nothing is submitted: {lines}. Everybody who sees the dashboard would read it; set "
                        f"{found[0][0]} in the environment of the cluster's nodes")


def _secret(name: str) -> bool:
    return bool(SECRET_NAME.search(name) or TOKEN_NAME.search(name))

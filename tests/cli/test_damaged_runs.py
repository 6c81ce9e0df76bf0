"""Run directories that launcher did not write, or not to their end: commands say so in one line or do without."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.cli.checkpoints import checkpoints
from launcher.cli.logs import logs
from launcher.cli.report import report
from launcher.cli.run import RunOptions, resume
from launcher.cli.status import ls, status
from launcher.core.errors import UserError
from launcher.storage.journal import read_journal
from launcher.storage.run_dir import RunDir
from launcher.storage.run_start import SUBMISSION, read_plan, read_submission
from tests.orchestration.scenes import plan_of
from tests.report.journals import FINISHED

WHOLE = plan_of(("one", 2), ("two", 2)).to_json().encode()
LINES = "".join(json.dumps(event) + "\n" for event in FINISHED).encode()
NOT_JOURNALS = {"a damaged line": (LINES[:300] + b"\0\0\0" + LINES[303:], 2),
                "another program's": (b'{"loss": 3}\n', 1), "a list": (LINES + b"[1, 2]\n", len(FINISHED) + 1),
                "not text": (b"\xff\xfe\n", 1)}
COMMANDS: dict[str, Callable[[str], object]] = {
    "status": lambda run: status(run, as_json=False), "status --json": lambda run: status(run, as_json=True),
    "report": lambda run: report(run, out=None, show=False), "ls": lambda run: ls(run, as_json=False),
    "logs": lambda run: logs(run, rank=None, attempt=None, follow=False, as_json=False),
    "checkpoints": lambda run: checkpoints(run, verify=False, as_json=False),
    "resume": lambda run: resume(run, RunOptions())}


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    found = RunDir(tmp_path / "run")
    found.store.put(found.PLAN, WHOLE)
    found.store.put(found.JOURNAL, LINES)
    return found


@pytest.mark.parametrize("kind", NOT_JOURNALS)
def test_a_line_that_is_no_event_is_named(run: RunDir, kind: str) -> None:
    text, line = NOT_JOURNALS[kind]
    run.store.put(run.JOURNAL, text)
    with pytest.raises(UserError, match=rf"journal\.jsonl:{line}: no event"):
        list(read_journal(run))


@pytest.mark.parametrize("damaged", [b"", b"{", WHOLE[:200], b"[]", b'{"project": "another tool"}', b"\xff\xfe"])
def test_files_that_launcher_has_not_written_are_named(run: RunDir, damaged: bytes) -> None:
    run.store.put(SUBMISSION, damaged)
    with pytest.raises(UserError, match=r"submission\.json: not a file that"):
        read_submission(run)
    run.store.put("amendments/0001.json", damaged)
    with pytest.raises(UserError, match=r"amendments/0001\.json: not a file that"):
        read_plan(run)
    run.store.put(run.PLAN, damaged)
    with pytest.raises(UserError, match=r"plan\.json: not a file that"):
        read_plan(run)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("key", [RunDir.PLAN, RunDir.JOURNAL, SUBMISSION, "amendments/0001.json"])
def test_every_command_says_so_or_does_without(run: RunDir, command: str, key: str) -> None:
    run.store.put(key, b'{"project": "another tool"}\n')
    try:
        COMMANDS[command](str(run.path))
    except UserError as error:
        assert str(error).count("\n") == 0

"""The run directory: every path of a run is named here and nowhere else.

    recipe.yaml               as submitted, byte for byte
    plan.json                 the plan
    amendments/0001.json      changes of the plan
    journal.jsonl             every event
    lease/                    who works on the run: `storage.lock`
    stops/                    requests to stop: `storage.stop_file`
    jobs/slurm-42.json        which jobs of a batch system it has had: `storage.jobs`
    launcher.log              what a detached command printed
    slurm-42.out              what job 42 printed, over all its allocations
    submitted/                what queued jobs run: `storage.submitted`
    attempts/003/             attempt.json, journal.jsonl, controller.log, node-0.log, rank-000.log,
                              rank-000.stacks, failure.txt
    checkpoints/              named by `storage.checkpoints`
    model/                    the exported result
"""

from pathlib import Path

from launcher.storage.store import Store, open_store

RUNS = Path("runs")


def default_run_dir(name: str) -> str:
    """Return where a recipe's run lies unless `--run-dir` says otherwise."""
    return str(RUNS / name)


class RunDir:
    """Keys and paths of one run."""

    RECIPE, PLAN, JOURNAL, MODEL = "recipe.yaml", "plan.json", "journal.jsonl", "model"
    SUBMITTED = "submitted"
    LOG = "launcher.log"
    SLURM_LOG = "slurm-%j.out"
    """As sbatch takes it."""

    def __init__(self, url: str | Path) -> None:
        self.store: Store = open_store(str(url))
        self.url = self.store.url

    @property
    def name(self) -> str:
        """Return the directory's own name."""
        return self.url.rstrip("/").rpartition("/")[2]

    @property
    def path(self) -> Path:
        """Return the directory on a local or shared file system."""
        return Path(self.url)

    @staticmethod
    def attempt_key(attempt: int, name: str) -> str:
        """Return the key of an attempt's file."""
        return f"attempts/{attempt:03d}/{name}"

    def attempt_path(self, attempt: int, name: str) -> Path:
        """Return the path of an attempt's file, its folder made: for logs, which processes append to."""
        path = self.path / self.attempt_key(attempt, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def rank_log(self, attempt: int, rank: int) -> Path:
        """Return the path of a rank's log."""
        return self.attempt_path(attempt, f"rank-{rank:03d}.log")

    def rank_stacks(self, attempt: int, rank: int) -> Path:
        """Return the path of the file that a rank's stacks are written to when it hangs or crashes."""
        return self.attempt_path(attempt, f"rank-{rank:03d}.stacks")

    def read_stacks(self, attempt: int, rank: int) -> str:
        """Return what a rank wrote of its stacks, if anything."""
        try:
            return (self.path / self.attempt_key(attempt, f"rank-{rank:03d}.stacks")).read_text(errors="replace")
        except OSError:
            return ""

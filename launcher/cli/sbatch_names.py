"""What people who know sbatch type first: its own options, which are fields of the recipe here."""

from typing import Any

from typer.core import TyperCommand

FIELDS = {
    "--partition": "slurm.partition", "-p": "slurm.partition", "--account": "slurm.account", "-A": "slurm.account",
    "--qos": "slurm.qos", "-q": "slurm.qos", "--time": "slurm.time", "-t": "slurm.time",
    "--time-min": "slurm.time_min", "--constraint": "slurm.constraint", "-C": "slurm.constraint",
    "--reservation": "slurm.reservation", "--exclude": "slurm.exclude", "-x": "slurm.exclude",
    "--exclusive": "slurm.exclusive", "--cpus-per-task": "slurm.cpus_per_task", "-c": "slurm.cpus_per_task",
    "--gpus-per-node": "cluster.gpus_per_node",
} | {f"--{name}": f"slurm.extra.{name.replace('-', '_')}" for name in (
    "mem", "mem-per-cpu", "mem-per-gpu", "gres", "gpus", "nodelist", "mail-type", "mail-user", "dependency", "comment",
    "begin", "signal", "hold", "nice", "licenses", "switches", "tmp", "wckey", "requeue")}
EXAMPLES = {"slurm.time": "2h", "slurm.exclusive": "true", "slurm.cpus_per_task": "8", "cluster.gpus_per_node": "8",
            "slurm.extra.hold": "true", "slurm.extra.requeue": "false"}
OTHERS = {"-N": "--nodes", "--ntasks": "--workers", "-n": "--workers"}


def meant(option: str) -> str:
    """Return what to type in place of an option of sbatch, as a sentence; nothing for what is no option of its."""
    if option in OTHERS:
        return f"Type {OTHERS[option]}."
    field = FIELDS.get(option)
    return "" if field is None else f"Flags are the recipe's fields: --set {field}={EXAMPLES.get(field, 'VALUE')}"


class SubmittingCommand(TyperCommand):
    """A command that submits runs, and knows what is meant by sbatch's options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, and tell of an option of sbatch how it is said here."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            # Typer has had its errors from click and, since, from a copy of its own: the option's name is in both.
            option = str(getattr(error, "option_name", "")) if type(error).__name__ == "NoSuchOption" else ""
            if said := meant(option):
                vars(error).update(message=f"No such option: {option}. {said}", possibilities=None)
            raise

"""The options of commands that submit a run: `launcher submit`, and `launcher resume --on`. What of them means nothing
where a run is submitted is refused here."""

from collections.abc import Mapping
from typing import Annotated, Literal

import typer

from launcher.core.errors import UserError

SLURM, RAY = "Slurm", "Ray"
Names = list[str] | None
On = Literal["slurm", "ray"]

Sets = Annotated[Names, typer.Option("--set", metavar="FIELD=VALUE", help="Override a recipe field, for example "
                                     "stages.0.length.steps=20. May be repeated.")]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Worker processes in all, over any number of "
                                             "cores. Stands for the recipe's whole cluster.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the command, the names in the environment, what would "
                                      "be copied and the plan; submit nothing.")]
Nodes = Annotated[int | None, typer.Option("--nodes", min=1, rich_help_panel=SLURM, help="Machines to ask for. "
                                           "Default: the recipe's cluster.nodes and its spares, else 1.")]
Site = Annotated[str | None, typer.Option("--site", metavar="NAME|PATH", rich_help_panel=SLURM, help="A site file: "
                 "modules, Python, container. Default: the recipe's slurm.site, else $LAUNCHER_SITE.")]
Prepare = Annotated[bool, typer.Option("--prepare/--no-prepare", rich_help_panel=SLURM, help="Fetch and prepare model "
                    "and data here, so that the job needs no internet; without, its first node does.")]
Chain = Annotated[int, typer.Option("--chain", metavar="N", min=1, max=50, rich_help_panel=SLURM, help="Jobs in a row, "
                                    "each waiting for the one before: where jobs may not be queued again.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", rich_help_panel=RAY, help="Print what the job prints and end "
                                    "with the run's exit code.")]
RetryForever = Annotated[bool, typer.Option("--retry-forever", rich_help_panel=RAY, help="Submit a run again that "
                         "yielded, or lost its cluster or found none, till it finishes or fails.")]
WithData = Annotated[bool, typer.Option("--with-data", rich_help_panel=RAY, help="Send the recipe's local data files "
                                        "along, up to 50 MiB.")]
PassEnv = Annotated[Names, typer.Option("--pass-env", metavar="NAME", rich_help_panel=RAY, help="Set a variable for "
                    "the job as it is here; never a secret, since all see it. May be repeated.")]
Cpus = Annotated[float, typer.Option("--entrypoint-num-cpus", min=0.0, rich_help_panel=RAY, help="That the job's "
                 "command takes of its node. Default: none, on the head.")]
Resource = Annotated[Names, typer.Option("--entrypoint-resource", metavar="NAME=AMOUNT", rich_help_panel=RAY, help=
                     "The same, of a resource of the cluster's own. May be repeated.")]
Python = Annotated[str, typer.Option("--python", metavar="PATH", rich_help_panel=RAY, help="On the cluster's nodes.")]


def refuse_foreign(on: On | None, command: str, given: Mapping[str, object]) -> None:
    """Raise UserError for options that mean nothing where a run is submitted, or where it is not submitted at all."""
    if foreign := [name for name, value in given.items() if value]:
        where = f"not with --on {on}" if on else "only with --on slurm or --on ray"
        raise UserError(f"{', '.join(foreign)}: {where}; `launcher {command} --help` tells which is for what")

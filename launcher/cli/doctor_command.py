"""The options of `launcher doctor`; what it does is `cli.doctor`."""

from typing import Annotated, Literal

import typer

Names = list[str] | None


def doctor_command(
    on: Annotated[Literal["slurm"] | None, typer.Option("--on", help="Examine a cluster. Default: this machine.")
                  ] = None,
    nodes: Annotated[int | None, typer.Option("--nodes", min=1, help="Nodes to look at, in a short job. Default: 2.")
                     ] = None,
    partition: Annotated[Names, typer.Option("--partition", metavar="NAME", help="Where; a job in each. Default: "
                                             "Slurm's. May be repeated.")] = None,
    option: Annotated[Names, typer.Option("--option", metavar="NAME=VALUE", help="Of srun, by its long name: "
                                          "account=x, gpus-per-node=8. May be repeated.")] = None,
    shared: Annotated[Names, typer.Option("--shared", metavar="DIR", help="What all nodes must see. Default: this "
                                          "folder and the cache. May be repeated.")] = None,
    limit: Annotated[str | None, typer.Option("--time", metavar="10min", help="The job's time limit. Default: 10min.")
                     ] = None,
    within: Annotated[str | None, typer.Option("--within", metavar="10min", help="Wait for nodes no longer than this. "
                                               "Default: 10min.")] = None,
    learn: Annotated[str | None, typer.Option("--learn", metavar="PATH", help="Write what was learnt to a site file.")
                     ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Look whether a cluster, or this machine, is fit for runs, and say what to do where it is not."""
    from launcher.cli.doctor import DoctorOptions, doctor

    options = DoctorOptions(on, nodes, tuple(partition or ()), tuple(option or ()), tuple(shared or ()), limit, within,
                            learn)
    raise typer.Exit(doctor(options, as_json=as_json))

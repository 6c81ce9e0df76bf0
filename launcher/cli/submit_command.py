"""The options of `launcher submit`; what it does is `cli.submit` on Slurm and `cli.submit_ray` on Ray."""

from typing import Annotated, Literal

import typer

Names = list[str] | None
SLURM, RAY = "Slurm", "Ray"


def submit_command(
    recipes: Annotated[list[str], typer.Argument(metavar="RECIPE...", help="A recipe file, or the name of a shipped "
                                                 "one; several with --array.")],
    on: Annotated[Literal["slurm", "ray"], typer.Option("--on", help="Where nodes come from.")],
    run_dir: Annotated[str | None, typer.Option("--run-dir", help="Default: runs/<recipe name>. On Ray a URL, or an "
                                                "absolute path that all nodes see.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Worker processes in all. Stands for the "
                                                "recipe's whole cluster.")] = None,
    overrides: Annotated[Names, typer.Option("--set", metavar="FIELD=VALUE", help="Override a recipe field, for "
                                             "example stages.0.length.steps=20. May be repeated.")] = None,
    cache: Annotated[str | None, typer.Option("--cache", help="Prepared data. Default: $LAUNCHER_CACHE, else "
                                              "~/.cache/launcher; on Ray, in the run directory.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the command, the names in the environment, what "
                                          "would be copied and the plan; submit nothing.")] = False,
    nodes: Annotated[int | None, typer.Option("--nodes", min=1, rich_help_panel=SLURM, help="Machines to ask for. "
                                              "Default: the recipe's cluster.nodes and its spares, else 1.")] = None,
    site: Annotated[str | None, typer.Option("--site", metavar="NAME|PATH", rich_help_panel=SLURM, help="A site file: "
                    "modules, Python, container. Default: the recipe's slurm.site, else $LAUNCHER_SITE.")] = None,
    array: Annotated[bool, typer.Option("--array", rich_help_panel=SLURM, help="Each recipe a run, as tasks of one "
                                        "job array.")] = False,
    prepare: Annotated[bool, typer.Option("--prepare/--no-prepare", rich_help_panel=SLURM, help="Fetch and prepare "
                       "model and data here, so that the job needs no internet; without, its first node does.")] = True,
    chain: Annotated[int, typer.Option("--chain", metavar="N", min=1, max=50, rich_help_panel=SLURM, help="Jobs in a "
                                       "row, each waiting for the one before: where jobs may not be queued again.")
                     ] = 1,
    address: Annotated[str | None, typer.Option("--address", metavar="URL", rich_help_panel=RAY, help="The cluster's "
                       "dashboard, http://HEAD:8265. Default: $RAY_API_SERVER_ADDRESS.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", rich_help_panel=RAY, help="Print what the job prints and "
                                       "end with the run's exit code.")] = True,
    retry_forever: Annotated[bool, typer.Option("--retry-forever", rich_help_panel=RAY, help="Submit a run again that "
                             "yielded, or lost its cluster or found none, till it finishes or fails.")] = False,
    with_data: Annotated[bool, typer.Option("--with-data", rich_help_panel=RAY, help="Send the recipe's local data "
                                            "files along, up to 50 MiB.")] = False,
    pass_env: Annotated[Names, typer.Option("--pass-env", metavar="NAME", rich_help_panel=RAY, help="Set a variable "
                        "for the job as it is here; never a secret, since all see it. May be repeated.")] = None,
    cpus: Annotated[float, typer.Option("--entrypoint-num-cpus", min=0.0, rich_help_panel=RAY, help="That the job's "
                    "command takes of its node. Default: none, on the head.")] = 0.0,
    resource: Annotated[Names, typer.Option("--entrypoint-resource", metavar="NAME=AMOUNT", rich_help_panel=RAY, help=
                        "The same, of a resource of the cluster's own. May be repeated.")] = None,
    python: Annotated[str, typer.Option("--python", metavar="PATH", rich_help_panel=RAY, help="On the cluster's "
                      "nodes.")] = "python",
) -> None:
    """Submit a recipe's run as a job. On Slurm, flags are the recipe's `slurm:` section (--set slurm.time=2h)."""
    sets = tuple(overrides or ())
    if on == "slurm":
        from launcher.cli import submit

        _refuse(on, {"--address": address, "--no-wait": not wait, "--retry-forever": retry_forever,
                     "--with-data": with_data, "--pass-env": pass_env, "--entrypoint-num-cpus": cpus,
                     "--entrypoint-resource": resource, "--python": python != "python"})
        options = submit.SubmitOptions(run_dir, workers, nodes, sets, cache, site, array, prepare, chain)
        raise typer.Exit(submit.submit(recipes, options, dry_run=dry_run))
    from launcher.cli import submit_ray

    _refuse(on, {"--nodes": nodes, "--site": site, "--array": array or len(recipes) > 1, "--no-prepare": not prepare,
                 "--chain": chain > 1})
    ray = submit_ray.RayOptions(address, run_dir, workers, sets, cache, with_data, tuple(pass_env or ()), cpus,
                                tuple(resource or ()), python, wait, retry_forever)
    raise typer.Exit(submit_ray.submit(recipes[0], ray, dry_run=dry_run))


def _refuse(on: str, given: dict[str, object]) -> None:
    """Raise UserError for options that mean nothing where a run is submitted."""
    from launcher.core.errors import UserError

    if foreign := [name for name, value in given.items() if value]:
        raise UserError(f"{', '.join(foreign)}: not with --on {on}; `launcher submit --help` tells which is for what")

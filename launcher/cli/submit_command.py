"""The options of `launcher submit`; what it does is `cli.submit` on Slurm and `cli.submit_ray` on Ray."""

from typing import Annotated

import typer

from launcher.cli.submit_options import (
    RAY,
    SLURM,
    Chain,
    Cpus,
    DryRun,
    Nodes,
    On,
    PassEnv,
    Prepare,
    Python,
    Resource,
    RetryForever,
    Sets,
    Site,
    Wait,
    WithData,
    Workers,
    refuse_foreign,
)


def submit_command(
    recipes: Annotated[list[str], typer.Argument(metavar="RECIPE...", help="A recipe file, or the name of a shipped "
                                                 "one; several with --array.")],
    on: Annotated[On, typer.Option("--on", help="Where nodes come from.")],
    run_dir: Annotated[str | None, typer.Option("--run-dir", help="A path or URL. Default: runs/<recipe name>. On Ray "
                                                "a URL, or an absolute path that all nodes see.")] = None,
    workers: Workers = None, overrides: Sets = None,
    cache: Annotated[str | None, typer.Option("--cache", help="Prepared data. Default: $LAUNCHER_CACHE, else "
                                              "~/.cache/launcher; on Ray, or where the run directory is a URL, in "
                                              "it.")] = None,
    dry_run: DryRun = False, nodes: Nodes = None, site: Site = None,
    array: Annotated[bool, typer.Option("--array", rich_help_panel=SLURM, help="Each recipe a run, as tasks of one "
                                        "job array.")] = False,
    prepare: Prepare = True, chain: Chain = 1,
    address: Annotated[str | None, typer.Option("--address", metavar="URL", rich_help_panel=RAY, help="The cluster's "
                       "dashboard, http://HEAD:8265. Default: $RAY_API_SERVER_ADDRESS.")] = None,
    wait: Wait = True, retry_forever: RetryForever = False, with_data: WithData = False, pass_env: PassEnv = None,
    cpus: Cpus = 0.0, resource: Resource = None, python: Python = "python",
) -> None:
    """Submit a recipe's run as a job. On Slurm, flags are the recipe's `slurm:` section (--set slurm.time=2h)."""
    sets = tuple(overrides or ())
    if on == "slurm":
        from launcher.cli import submit

        refuse_foreign(on, "submit", {
            "--address": address, "--no-wait": not wait, "--retry-forever": retry_forever, "--with-data": with_data,
            "--pass-env": pass_env, "--entrypoint-num-cpus": cpus, "--entrypoint-resource": resource,
            "--python": python != "python"})
        options = submit.SubmitOptions(run_dir, workers, nodes, sets, cache, site, array, prepare, chain)
        raise typer.Exit(submit.submit(recipes, options, dry_run=dry_run))
    from launcher.cli import submit_ray

    refuse_foreign(on, "submit", {"--nodes": nodes, "--site": site, "--array": array or len(recipes) > 1,
                                  "--no-prepare": not prepare, "--chain": chain > 1})
    ray = submit_ray.RayOptions(address, run_dir, workers, sets, cache, with_data, tuple(pass_env or ()), cpus,
                                tuple(resource or ()), python, wait, retry_forever)
    raise typer.Exit(submit_ray.submit(recipes[0], ray, dry_run=dry_run))

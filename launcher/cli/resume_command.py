"""The options of `launcher resume`; what it does is `cli.run`, and with --on `cli.resume_elsewhere`."""

from typing import Annotated

import typer

from launcher.cli.submit_options import (
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


def resume_command(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run directory, its URL, or a name under runs/.")],
    on: Annotated[On | None, typer.Option("--on", help="Go on as a job there. Default: here, now.")] = None,
    workers: Workers = None, overrides: Sets = None,
    cache: Annotated[str | None, typer.Option("--cache", help="Prepared data. Default: where the run had it.")] = None,
    address: Annotated[str | None, typer.Option("--address", metavar="HOST:PORT", help="An existing Ray cluster. "
                       "Default: a private one on this machine; in a job of Ray, its cluster. With --on ray the "
                       "cluster's dashboard, http://HEAD:8265.")] = None,
    without_ray: Annotated[bool, typer.Option("--without-ray", help="Plain worker processes on this machine.")] = False,
    detached: Annotated[bool, typer.Option("--detach", help="Go on without this terminal, once the run has begun.")
                        ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run's last status as JSON; all else goes to "
                                          "standard error.")] = False,
    dry_run: DryRun = False, nodes: Nodes = None, site: Site = None, prepare: Prepare = True, chain: Chain = 1,
    wait: Wait = True, retry_forever: RetryForever = False, with_data: WithData = False, pass_env: PassEnv = None,
    cpus: Cpus = 0.0, resource: Resource = None, python: Python = "python",
) -> None:
    """Continue a run from its directory, here or as a job elsewhere."""
    sets = tuple(overrides or ())
    here = {"--without-ray": without_ray, "--detach": detached, "--json": as_json}
    of_slurm = {"--nodes": nodes, "--site": site, "--no-prepare": not prepare, "--chain": chain > 1}
    of_ray = {"--no-wait": not wait, "--retry-forever": retry_forever, "--with-data": with_data, "--pass-env": pass_env,
              "--entrypoint-num-cpus": cpus, "--entrypoint-resource": resource, "--python": python != "python"}
    if on is None:
        from launcher.cli import starting
        from launcher.cli.find_run import find_run
        from launcher.cli.run import RunOptions, resume

        refuse_foreign(on, "resume", {"--dry-run": dry_run, **of_slurm, **of_ray})
        asked = RunOptions(None, workers, sets, cache, address, without_ray)
        raise typer.Exit(starting.start(lambda: resume(run, asked), lambda: find_run(run)[1], detached=detached,
                                        as_json=as_json))
    from launcher.cli import resume_elsewhere

    if on == "slurm":
        refuse_foreign(on, "resume", {"--address": address, **here, **of_ray})
        slurm = resume_elsewhere.SubmitOptions(None, workers, nodes, sets, cache, site, prepare=prepare, chain=chain)
        raise typer.Exit(resume_elsewhere.resume_on_slurm(run, slurm, dry_run=dry_run))
    refuse_foreign(on, "resume", {**here, **of_slurm})
    ray = resume_elsewhere.RayOptions(address, None, workers, sets, cache, with_data, tuple(pass_env or ()), cpus,
                                      tuple(resource or ()), python, wait, retry_forever)
    raise typer.Exit(resume_elsewhere.resume_on_ray(run, ray, dry_run=dry_run))

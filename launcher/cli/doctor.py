"""`launcher doctor`: what a cluster or this machine offers a run, before anything is trained.

Parses and prints. What is looked at is `platforms.doctor_job` and the modules `*_facts`, what it means
`report.findings`; a cluster and a single machine are told in the same words.
"""

import json
import os
import secrets
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from launcher.cli.watch import interrupted_by_signals
from launcher.core.errors import FAILED, PlatformError, RunFailed, UserError
from launcher.core.quantities import parse_seconds
from launcher.core.site_facts import Folder, Partition, SiteFacts
from launcher.core.suggestions import did_you_mean
from launcher.data.cache import cache_store
from launcher.platforms import folder_facts
from launcher.platforms.doctor_job import Wish, examine
from launcher.platforms.machine_facts import look
from launcher.platforms.site_learning import learnt
from launcher.platforms.slurm_client import slurm
from launcher.platforms.slurm_rules import partitions, rules
from launcher.report.finding import Finding, any_bad
from launcher.report.findings import findings
from launcher.storage.data_paths import is_url
from launcher.storage.files import write_atomic
from launcher.storage.typed_paths import typed_path

STYLES = {"ok": "green", "note": "dim", "warn": "yellow", "bad": "bold red"}
WIDTH, INDENT = 80, 6
NODES, LIMIT_S, WAIT = 2, 600.0, "10min"


@dataclass(frozen=True, slots=True)
class DoctorOptions:
    """What the command line says."""

    on: str | None = None
    nodes: int | None = None
    partitions: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    limit: str | None = None
    within: str | None = None
    learn: str | None = None


def doctor(asked: DoctorOptions, *, as_json: bool) -> int:
    """Examine a cluster or this machine and print what there is to say; return 1 if something is bad."""
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    if asked.learn is not None and Path(asked.learn).exists():
        raise UserError(f"--learn {asked.learn}: is there already, and may hold what you wrote; name another file, or "
                        "remove this one")
    folders, nonce = _folders(asked), secrets.token_hex(8)
    try:
        with interrupted_by_signals():
            site = _slurm(asked, folders, nonce, console) if asked.on else _this_machine(asked, folders, nonce)
    except KeyboardInterrupt:
        raise RunFailed("the doctor was stopped; its job and its files are gone") from None
    finally:
        for folder in folders:
            folder_facts.clear(folder, nonce)
    sections = findings(site)
    told = [finding for _, section in sections for finding in section]
    if as_json:
        sys.stdout.write(json.dumps({"bad": sum(finding.level == "bad" for finding in told),
                                     "findings": [finding.model_dump() for finding in told],
                                     "facts": site.model_dump(mode="json")}, indent=1) + "\n")
    else:
        _print(console, sections, _next(told, asked))
    if asked.learn is not None:
        write_atomic(Path(asked.learn), [learnt(site, _options(asked.options), _cache()).encode()])
        console.print(f"learnt {asked.learn}")
    return FAILED if any_bad(told) else 0


def _slurm(asked: DoctorOptions, folders: Sequence[str], nonce: str, console: Console) -> SiteFacts:
    try:
        all_partitions = partitions(slurm("scontrol", "--oneliner", "show", "partition"))
        told = rules(slurm("scontrol", "show", "config"))
    except PlatformError as error:
        why = str(error).splitlines()[-1].removeprefix("scontrol: ")
        raise PlatformError(f"no Slurm answers ({why}); type this where sbatch works, or without --on slurm") from None
    wanted = _wanted(asked.partitions, all_partitions)
    nodes, limit_s, wait_s = _nodes(asked, wanted), _limit(asked, wanted), _seconds("--within", asked.within or WAIT)
    here = _put(folders, nonce)
    wish = Wish(nodes=nodes, limit_s=limit_s, wait_s=wait_s, nonce=nonce, options=_options(asked.options),
                folders=tuple(folder.path for folder in here if not folder.problem))

    def tell(line: str) -> None:
        console.print(line, style="dim", markup=False)

    jobs = tuple(examine(wish, name, tell) for name in asked.partitions or ("",))
    return SiteFacts(here=look(os.environ), rules=told, partitions=tuple(wanted), folders=here,
                      tiers=tuple(each.tier for each in all_partitions), jobs=jobs)


def _this_machine(asked: DoctorOptions, folders: Sequence[str], nonce: str) -> SiteFacts:
    only_slurm = {"--nodes": asked.nodes, "--partition": asked.partitions, "--option": asked.options,
                  "--time": asked.limit, "--within": asked.within, "--learn": asked.learn}
    if given := [name for name, value in only_slurm.items() if value]:
        raise UserError(f"{', '.join(given)}: only with --on slurm; without it this machine alone is looked at")
    here = look(os.environ)
    found = (folder if folder.problem else folder_facts.write(folder.path, nonce, here.name)
             for folder in _put(folders, nonce))
    return SiteFacts(here=here, folders=tuple(found))


def _put(folders: Sequence[str], nonce: str) -> tuple[Folder, ...]:
    """Begin the exchange of files in each folder."""
    found: list[Folder] = []
    for folder in folders:
        try:
            folder_facts.put(folder, nonce)
            found.append(Folder(path=folder))
        except OSError as error:
            found.append(Folder(path=folder, problem=error.strerror or str(error)))
    return tuple(found)


def _folders(asked: DoctorOptions) -> list[str]:
    """Return the folders that must be shared: those said, else the present one, where runs go, and the cache's."""
    cache = [] if is_url(_cache()) else [_cache()]
    return list(dict.fromkeys(str(typed_path(folder).absolute()) for folder in asked.shared or (".", *cache)))


def _cache() -> str:
    return cache_store(None).url


def _wanted(names: Sequence[str], known: Sequence[Partition]) -> list[Partition]:
    by_name = {partition.name: partition for partition in known}
    for name in names:
        if name not in by_name:
            raise UserError(f"--partition {name}: there is no such partition; {did_you_mean(name, by_name)}")
    wanted = [by_name[name] for name in names] or [partition for partition in known if partition.default]
    if not wanted:
        raise UserError(f"no partition is the default one: name one with --partition ({', '.join(by_name)})")
    return wanted


def _nodes(asked: DoctorOptions, wanted: Sequence[Partition]) -> int:
    """Return how many nodes to look at: Slurm would let a job wait for ever that asks for more than there are."""
    for partition in wanted:
        most = partition.nodes if partition.max_nodes is None else min(partition.nodes, partition.max_nodes)
        if asked.nodes is not None and asked.nodes > most:
            raise UserError(f"--nodes {asked.nodes}: a job of partition {partition.name} has {most} at most")
    return asked.nodes or max(1, min([NODES, *(partition.nodes for partition in wanted)]))


def _limit(asked: DoctorOptions, wanted: Sequence[Partition]) -> float:
    if asked.limit is not None:
        return _seconds("--time", asked.limit)
    return min([LIMIT_S, *(partition.max_time_s for partition in wanted if partition.max_time_s)])


def _options(given: Sequence[str]) -> dict[str, str | bool]:
    """Return options of srun by their long names from NAME=VALUE, or NAME alone."""
    pairs = (each.lstrip("-").partition("=") for each in given)
    return {name: value if equals else True for name, equals, value in pairs}


def _seconds(option: str, text: str) -> float:
    try:
        return float(parse_seconds(text))
    except ValueError as error:
        raise UserError(f"{option} {text}: {error}") from None


def _next(told: Sequence[Finding], asked: DoctorOptions) -> str:
    if any_bad(told):
        return "mend what is bad, and type the same again"
    return "launcher submit RECIPE --on slurm --dry-run" if asked.on else "launcher run quickstart"


def _print(console: Console, sections: Sequence[tuple[str, Sequence[Finding]]], following: str) -> None:
    for heading, section in sections:
        console.print(f"\n{heading}", style="bold", markup=False)
        for finding in section:
            first, *others = lines(finding)
            console.print(f"{finding.level:<{INDENT}}", style=STYLES[finding.level], end="")
            console.print(first[INDENT:], markup=False)
            for line in others:
                console.print(line, style="dim", markup=False)
    counts = {level: sum(finding.level == level for _, section in sections for finding in section)
              for level in ("bad", "warn")}
    console.print(f"\n{counts['bad']} bad, {counts['warn']} to be warned of" if any(counts.values()) else
                  "\nnothing to be warned of")
    console.print(f"next   {following}")


def lines(finding: Finding) -> list[str]:
    """Return what is printed of a finding, within 80 columns: what, why, what to do."""
    parts = (("", finding.what), ("why: ", finding.why), ("do: ", finding.do))
    wrapped = [textwrap.wrap(f"{label}{text}", WIDTH, initial_indent=" " * INDENT, break_long_words=False,
                             break_on_hyphens=False, subsequent_indent=" " * (INDENT + 2 * bool(label)))
               for label, text in parts if text]
    first, *others = [line for part in wrapped for line in part]
    return [f"{finding.level:<{INDENT}}{first[INDENT:]}", *others]

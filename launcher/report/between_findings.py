"""What a job's nodes mean to each other and to the login machine: who answered, shared folders, clocks, ways. Pure.

Decides which difference still lets a run work. What a machine is by itself is `report.node_findings`.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from launcher.core.site_facts import Folder, Job, Reduction
from launcher.report.finding import Finding, bad, by_words, ok, warn, who
from launcher.report.words import size

SLOW_FOLDER = 100e6
"""Bytes a second and node: an 8B model's state is about 100 GB."""
LITTLE_ROOM = 50 * 2**30
SKEW_S, MUCH_SKEW_S = 2.0, 60.0
"""From the first on times in logs and journals mislead; from the second on Slurm's and others' credentials are refused
soon."""
SLOW_NETWORK = 100e6
"""Bytes a second: ZeRO-3 moves a model's weights several times in each step."""


def between_findings(job: Job) -> Iterator[Finding]:
    """Yield what the nodes of one job mean to each other."""
    if job.problem:
        yield bad(f"no job came to anything: {job.problem}", "nothing is known of the nodes",
                  "the same options as with `launcher submit`: --partition, --option account=NAME, --within 1h")
    for words, names in by_words(job.silent).items():
        yield bad(f"{who(names)}: {words}", "a run waits for every node that it was given",
                  "exclude it (--exclude), and see that the environment lies where all nodes see it")
    yield from chain(_clocks(job), folder_findings(job.folders), _ways(job), _reductions(job))


def folder_findings(folders: Mapping[str, Sequence[Folder]]) -> Iterator[Finding]:
    """Yield what machines found in the folders that they must share."""
    for path in dict.fromkeys(folder.path for each in folders.values() for folder in each):
        here = {name: folder for name, each in folders.items() for folder in each if folder.path == path}
        troubles = by_words({name: _trouble(folder) for name, folder in here.items()})
        for words, names in troubles.items():
            yield bad(f"{who(names)}: {path} {words}", "all nodes write one checkpoint and read one recipe and cache",
                      "work in a folder of a shared file system; --shared PATH looks at others")
        if not troubles:
            yield from _speed(path, here)


def _trouble(folder: Folder) -> str:
    if folder.problem:
        return f"cannot be used: {folder.problem}"
    if not folder.same:
        return "is another folder than on the machine where this was typed"
    return f"does not show what {who(folder.unseen)} wrote" if folder.unseen else ""


def _speed(path: str, here: Mapping[str, Folder]) -> Iterator[Finding]:
    speeds = {name: folder.bytes_s for name, folder in here.items() if folder.bytes_s is not None}
    free = min(folder.free for folder in here.values())
    words = f"{path}: {'the same on all nodes' if len(here) > 1 else 'can be written'}, {size(free)} free"
    if free < LITTLE_ROOM:
        yield warn(words, "two checkpoints of an 8B model need 200 GB", "make room, or work elsewhere")
    else:
        yield ok(words)
    if not speeds:
        return
    slowest = min(speeds, key=lambda name: speeds[name])
    rate = _rate(speeds[slowest])
    told = f"{path}: {rate} are written" + (f" by each of {len(speeds)} nodes at once" if len(speeds) > 1 else "")
    if speeds[slowest] < SLOW_FOLDER:
        yield warn(f"{told} (slowest: {slowest})", "a save takes long, and so does what is lost when it does not end",
                   "put runs on a faster file system (--run-dir), warn earlier (--signal=B:USR1@600)")
    else:
        yield ok(told)


def _clocks(job: Job) -> Iterator[Finding]:
    def words(name: str) -> str:
        clock = job.clocks[name]
        return "" if abs(clock.ahead_s) - clock.uncertain_s < SKEW_S else (
            f"its clock is {abs(clock.ahead_s):.1f} s {'ahead' if clock.ahead_s > 0 else 'behind'} "
            f"(+- {clock.uncertain_s:.1f} s)")

    off = {name: told for name in job.clocks if (told := words(name))}
    for name, told in off.items():
        if abs(job.clocks[name].ahead_s) >= MUCH_SKEW_S:
            yield bad(f"{name}: {told}", "Slurm refuses credentials from another time", "tell the administrators (NTP)")
        else:
            yield warn(f"{name}: {told}", "times in logs, journals and deadlines mislead by as much",
                       "tell the administrators (NTP)")
    if job.clocks and not off:
        most = max(abs(clock.ahead_s) + clock.uncertain_s for clock in job.clocks.values())
        yield ok(f"clocks agree to {most:.2g} s")


def _ways(job: Job) -> Iterator[Finding]:
    for words, names in by_words(job.no_way).items():
        yield bad(f"{who(names)}: {words}", "nodes of a run find each other by the names that Slurm has for them",
                  "ask the administrators for names that the nodes know (/etc/hosts, DNS)")
    for (kind, problem), pairs in _blocked(job).items():
        ports = "a port between 20000 and 32000" if kind == "block" else "a port that the kernel gave"
        yield bad(f"{who(pairs)}: no connection to {ports}: {problem}", "Ray talks over the ones, gloo and NCCL over "
                  "the others", "the nodes of a job must reach each other on all ports (firewall)")
    if job.ways and not any(way.problem for ways in job.ways.values() for way in ways):
        yield ok("every node that was tried reaches the others' ports")


def _blocked(job: Job) -> dict[tuple[str, str], list[str]]:
    """Return who did not get through to whom, by what kind of port and why."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, ways in job.ways.items():
        for way in ways:
            pair = f"{name} to {way.to}"
            if way.problem and pair not in (pairs := found.setdefault((way.kind, way.problem), [])):
                pairs.append(pair)
    return found


def _reductions(job: Job) -> Iterator[Finding]:
    for backend in dict.fromkeys(found.backend for each in job.reductions.values() for found in each):
        seen = {name: found for name, each in job.reductions.items() for found in each if found.backend == backend}
        troubles = by_words({name: found.problem or ("" if found.right else "a wrong sum") for name, found in
                             seen.items()})
        for words, names in troubles.items():
            yield bad(f"{who(names)}: all-reduce with {backend}: {words}", "every step of a run is made of these",
                      "look at the interface: GLOO_SOCKET_IFNAME, NCCL_SOCKET_IFNAME; NCCL_DEBUG=INFO says more")
        if not troubles:
            yield _network(backend, seen)


def _network(backend: str, seen: Mapping[str, Reduction]) -> Finding:
    speed = min(found.bytes_s or 0.0 for found in seen.values())
    interfaces = ", ".join(sorted({found.interface for found in seen.values() if found.interface}))
    over = f" over {interfaces}" if interfaces and backend == "gloo" else ""
    words = f"all-reduce with {backend} of {len(seen)} nodes{over}: right, {_rate(speed)} from each"
    if speed < SLOW_NETWORK:
        return warn(words, "ZeRO-3 moves a model's weights several times in each step",
                    "use the fast interface (GLOO_SOCKET_IFNAME, NCCL_SOCKET_IFNAME), or fewer nodes")
    return ok(words)


def _rate(bytes_s: float) -> str:
    return f"{bytes_s / 1e9:.1f} GB/s" if bytes_s >= 1e9 else f"{bytes_s / 1e6:.0f} MB/s"

"""From raw files to packed rows: rows a second beside TRL's preparation, and the memory that a large source takes.

Chats (medquad) and prompts with completions (gsm8k), if `--data` names a folder with those two files; else as many made
up. Both use one tokenizer, trained here once, and the same template; both read raw files and end with packed rows on
disk. Contestants take turns; `--gigabytes` instead prepares one generated source and watches all its processes.
"""

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from subprocess import Popen
from typing import Any

import psutil
import typer

from benchmarks.harness import environment, run, save, spread
from benchmarks.prepare_inputs import (
    LENGTH,
    find_sources,
    write_large,
    write_recipe,
    write_stand_ins,
    write_tokenizer,
)

MOST_BYTES = 1.5e9
HERE = Path(__file__).parent


def contestant(who: str, processes: int, folder: Path) -> dict[str, Any]:
    """Prepare once, from nothing; return seconds and what was made."""
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        out, common = folder / "out.json", [cache, str(folder / "out.json"), str(processes)]
        if who == "trl":
            script = ["prepare_trl.py", str(folder / "tokenizer"), str(folder / "sources.json"), *common, str(LENGTH)]
        else:
            script = ["prepare_launcher.py", str(folder / "recipe.json"), *common]
        run([sys.executable, str(HERE / script[0]), *script[1:]], folder)
        made = json.loads(out.read_text())
    made["rows_per_second"] = sum(source["read"] for source in made["sources"].values()) / made["seconds"]
    return made


def compare(data: Path | None, rounds: int) -> None:
    found: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = find_sources(data, folder)
        write_recipe(paths, write_tokenizer(list(paths.values()), folder), folder)
        contestant("launcher", 1, folder)  # bytecode and pages of both files are warm for everybody
        for number in range(rounds):
            for processes in (1, 2):
                for who in ("launcher", "trl") if number % 2 == 0 else ("trl", "launcher"):
                    made = contestant(who, processes, folder)
                    found.setdefault(f"{who}, {processes}", []).append(made)
                    print(f"round {number + 1}: {who}, {processes} processes: {made['rows_per_second']:,.0f} rows/s",
                          flush=True)
    report(found, data is not None)


def report(found: dict[str, list[dict[str, Any]]], real: bool) -> None:
    for who, rounds in found.items():
        print(f"{who + ' processes':24} {spread([made['rows_per_second'] for made in rounds])} rows/s")
    ratios = {}
    for processes in (1, 2):
        pairs = zip(found[f"launcher, {processes}"], found[f"trl, {processes}"], strict=True)
        ratios[processes] = [mine["rows_per_second"] / theirs["rows_per_second"] for mine, theirs in pairs]
        print(f"launcher to TRL, {processes} processes: {spread(ratios[processes])}")
    results = {"data": "medquad and gsm8k" if real else "made up", "rounds": found, "launcher_to_trl": ratios}
    print(save("preparing", results, ("trl", "datasets", "tokenizers", "numpy")))


def memory_of(process: psutil.Process) -> tuple[int, int, int]:
    """Return the bytes of a process and all below it, shared pages counted once; of it alone; how many there are."""
    sizes = []
    for each in [process, *process.children(recursive=True)]:
        try:
            sizes.append(each.memory_full_info().pss)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return sum(sizes), sizes[0] if sizes else 0, len(sizes)


def watch(argv: list[str], folder: Path) -> dict[str, Any]:
    """Run a command and return the most memory that its processes took together."""
    begin, most, most_alone, processes = time.time(), 0, 0, 0
    child = Popen(argv, cwd=folder, env=environment())
    process = psutil.Process(child.pid)
    while child.poll() is None:
        together, alone, count = memory_of(process)
        if together > 1.02 * most:
            print(f"{time.time() - begin:7.0f} s: {together / 1e6:,.0f} MB in {count} processes", flush=True)
        most, most_alone, processes = max(most, together), max(most_alone, alone), max(processes, count)
        time.sleep(0.5)  # reading it takes tenths of a second of the core that is measured
    if child.returncode:
        raise RuntimeError(f"ended with {child.returncode}")
    return {"seconds": time.time() - begin, "peak_bytes": most, "peak_bytes_first_process": most_alone,
            "processes": processes}


def measure_memory(gigabytes: float, processes: int, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "large.jsonl"
    write_large(data, int(gigabytes * 1e9))
    paths = {"large": data}
    tokenizer = folder / "tokenizer"
    if not tokenizer.exists():
        write_tokenizer([*write_stand_ins(folder).values()], folder)
    recipe = write_recipe(paths, tokenizer, folder)
    shutil.rmtree(folder / "cache", ignore_errors=True)
    out = folder / "out.json"
    script = str(HERE / "prepare_launcher.py")
    argv = [sys.executable, script, str(recipe), "cache", str(out), str(processes)]
    found = watch(argv, folder) | {"bytes": data.stat().st_size} | json.loads(out.read_text())
    print(f"{found['bytes'] / 1e9:.1f} GB in {found['seconds']:,.0f} s: at most {found['peak_bytes'] / 1e6:,.0f} MB "
          f"over {found['processes']} processes, {found['peak_bytes_first_process'] / 1e6:,.0f} MB in the first")
    print(save("preparing_memory", found, ("tokenizers", "numpy")))
    shutil.rmtree(folder)
    raise SystemExit(0 if found["peak_bytes"] < MOST_BYTES else 1)


def main(data: Path | None = None, rounds: int = 5, gigabytes: float = 0, processes: int = 2,
         folder: Path = Path("preparing.tmp")) -> None:
    """Compare speeds, or with --gigabytes measure memory; what is generated stays in --folder until it is done."""
    if gigabytes:
        measure_memory(gigabytes, processes, folder.absolute())
    else:
        compare(data, rounds)


if __name__ == "__main__":
    typer.run(main)

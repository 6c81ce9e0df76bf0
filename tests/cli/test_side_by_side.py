"""Many places asked at once: one that is silent costs what it may cost, and the others are heard."""

import threading
import time

import pytest

from launcher.cli import queue, ray_queue
from launcher.cli.queue import sights
from launcher.cli.side_by_side import side_by_side
from launcher.core.errors import PlatformError
from launcher.platforms.ray_jobs import RayJob
from launcher.storage.jobs import JobRecord, reserve
from launcher.storage.run_dir import RunDir


def test_all_are_asked_before_any_has_answered_and_answers_keep_their_order():
    together = threading.Barrier(8, timeout=20)

    def ask(number):
        together.wait()
        return number * 2

    assert side_by_side(ask, lambda _: -1, range(8), 20) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert side_by_side(ask, lambda _: -1, [], 20) == []


def test_what_takes_too_long_is_left_and_what_is_raised_is_raised():
    over = threading.Event()
    begin = time.monotonic()
    assert side_by_side(lambda number: over.wait(60) if number else "heard", lambda number: f"{number} late", [0, 1, 2],
                        0.1) == ["heard", "1 late", "2 late"]
    assert time.monotonic() - begin < 30
    over.set()
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda number: 1 // number, lambda _: 0, [1, 0], 20)


def test_a_list_of_runs_asks_all_clusters_at_once(tmp_path, monkeypatch):
    clusters = [f"http://head-{number}:8265" for number in range(4)]
    over, together = threading.Event(), threading.Barrier(4)
    runs = [RunDir(tmp_path / f"run-{number}") for number in range(4)]
    for run, address in zip(runs, clusters, strict=True):
        reserve(run, JobRecord(job=f"{run.name}.a001", time=1.0, platform="ray", address=address))

    def look_up(address, jobs):
        together.wait(20)
        if address == clusters[1]:
            over.wait(60)
        if address == clusters[2]:
            raise PlatformError("no such host")
        return {job: RayJob(job, "RUNNING") for job in jobs}

    monkeypatch.setattr(ray_queue, "look_up", look_up)
    monkeypatch.setattr(queue, "ANSWERS_S", 1.0)
    seen = sights(runs)
    over.set()
    assert [each.live for each in seen] == [True, False, False, True]
    assert "http://head-1:8265: no answer in" in seen[1].trouble and seen[2].trouble == "no such host"

"""Who is slow, as status, report, gauges and trackers tell it."""

from typing import Any

from benchmarks.made_journals import Made, journal
from launcher.core.account import Account
from launcher.report.fold import RunFold
from launcher.report.gauges import gauges
from launcher.report.page.slow_ranks import slow_ranks
from launcher.report.panel import panel
from launcher.report.tracked import live_summary
from tests.report.journals import again, committed, ended, started, step
from tests.report.page.test_page import shown
from tests.report.test_views import lines, printed


def pace(number: int, time: float, *scores: float | None, attempt: int = 1) -> dict[str, Any]:
    return {"event": "rank_pace", "step": number, "steps": 20, "seconds": 0.1, "scores": scores, "time": time,
            "attempt": attempt}


def named(number: int, time: float, rank: int, score: float, *, slow: bool = True, attempt: int = 1) -> dict[str, Any]:
    return {"event": "straggler", "rank": rank, "node": "b17", "host": "10.0.0.7", "step": number, "slow": slow,
            "score": score, "time": time, "attempt": attempt}


def seen(fold: RunFold) -> str:
    return printed(panel(fold), 120)


SLOW = [*started(1, 1.0, 400), step(60, 2.0), pace(60, 2.0, 1.0, 1.5), named(60, 2.0, 1, 1.5), step(80, 3.0),
        pace(80, 3.0, None, 1.8)]


def test_a_straggler_is_a_line_of_status_a_gauge_by_rank_and_known_to_trackers() -> None:
    fold = RunFold(SLOW)
    assert "rank 1 on b17 (10.0.0.7) takes 1.80 times as long, since step 60" in seen(fold)
    text = gauges("tiny", fold, Account(), alive=True)
    assert 'launcher_straggler_score{run="tiny",rank="1",node="here"} 1.8\n' in text and 'rank="0"' not in text
    assert 'launcher_straggler{run="tiny",rank="1",node="b17"} 1\n' in text
    assert live_summary(fold, "run")["straggler/worst"] == 1.8
    assert fold.stragglers.fields() == [{"rank": 1, "node": "b17", "host": "10.0.0.7", "since": 60, "score": 1.8}]


def test_who_is_cleared_or_whose_workers_are_gone_is_slow_no_more_but_stays_in_the_report() -> None:
    fold = RunFold([*SLOW, named(120, 5.0, 1, 1.0, slow=False), committed(120, 5.0), again(2, 9.0, 120),
                    named(180, 12.0, 0, 1.4, attempt=2), pace(200, 13.0, 1.3, 1.0, attempt=2)])
    assert "rank 0 on b17 (10.0.0.7) takes 1.30 times as long, since step 180" in seen(fold)
    fold.add(again(3, 20.0, 120))
    assert fold.stragglers.line() == "" and "straggler" not in seen(fold)
    assert "launcher_straggler" not in gauges("tiny", fold, Account(), alive=True)
    fold.add(named(180, 30.0, 0, 1.4, attempt=3))
    table = slow_ranks(fold.stragglers)
    assert table is not None and list(table.rows) == [
        ("1", "b17 (10.0.0.7)", "1", "60", "120", "1.80"), ("0", "b17 (10.0.0.7)", "2", "180", "end", "1.40"),
        ("0", "b17 (10.0.0.7)", "3", "180", "goes on", "1.40")]
    rows = shown([*SLOW, *ended("finished", 0, 40.0)]).with_id("attempts").all("table")[1].rows()
    assert rows[1][:5] == ["1", "b17 (10.0.0.7)", "1", "60", "end"]
    fold.add(*ended("finished", 0, 40.0, 3))
    assert fold.stragglers.fields() == []


def test_lines_tell_who_is_slow_and_who_is_so_no_more() -> None:
    told = lines([*SLOW, named(120, 5.0, 1, 1.0, slow=False)])
    assert "step 60: rank 1 on b17 takes 1.50 times as long as the others for the same work" in told
    assert "step 120: rank 1 on b17 is as fast as the others again" in told


def test_a_run_without_stragglers_has_neither_line_nor_table() -> None:
    fold = RunFold(journal(Made({"one": {"sums": 1.0}}, steps=30)))
    assert slow_ranks(fold.stragglers) is None and "straggler" not in seen(fold)

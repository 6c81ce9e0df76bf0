"""Growing files of a run in a store: brought along by who writes them, read by all others, adopted by a successor."""

import threading
import time

import pytest

from launcher.core.events import RunEnded
from launcher.storage import growing
from launcher.storage.growing import Growing, Mirror, adopt
from launcher.storage.journal import Journal, JournalReader, read_journal
from tests.orchestration.test_worker_process import awaited
from tests.storage.a_store_run import StoreRun

LOG = "attempts/001/rank-000.log"


@pytest.fixture
def store_run(tmp_path, monkeypatch):
    monkeypatch.setattr(growing, "LOOK_S", 0.02)
    return StoreRun(tmp_path)


def test_what_a_node_writes_is_seen_by_others_while_it_grows(store_run):
    here, there = store_run.seen_by("head", working=True), store_run.seen_by("laptop")
    journal, reader = Journal(here, 1), JournalReader(there)
    mirror = Mirror(here, [here.JOURNAL, LOG])
    assert reader.new_events() == []
    journal.append({"event": "step", "step": 1})
    awaited(lambda: reader.new_events())
    journal.append({"event": "step", "step": 2})
    here.rank_log(1, 0).write_text("hello\n")
    awaited(lambda: [event["step"] for event in read_journal(there)] == [1, 2])
    awaited(lambda: list(Growing(there, LOG).new()) == [b"hello\n"])
    journal.append(RunEnded(outcome="finished", exit_code=0))
    journal.close()
    mirror.close()
    assert reader.new_events()[-1]["event"] == "run_ended" and list(read_journal(here)) == list(read_journal(there))


def test_last_words_are_brought_when_a_store_that_was_away_is_back(store_run, monkeypatch):
    here = store_run.seen_by("head", working=True)
    put, away = here.store.put, threading.Event()

    def failing(key, content):
        if not away.is_set():
            raise OSError(5, "no answer", key)
        put(key, content)

    monkeypatch.setattr(here.store, "put", failing)
    mirror = Mirror(here, [LOG])
    here.rank_log(1, 0).write_text("last words\n")
    closing = threading.Thread(target=mirror.close)
    closing.start()
    closing.join(0.2)
    assert closing.is_alive() and not here.store.exists(LOG)
    away.set()
    closing.join(10)
    assert not closing.is_alive() and here.store.get(LOG) == b"last words\n"


def test_a_store_that_stays_away_does_not_hold_the_end_for_long(store_run, monkeypatch):
    monkeypatch.setattr(growing, "CLOSE_S", 0.2)
    here = store_run.seen_by("head", working=True)

    def failing(_key, _content):
        raise OSError(5, "no answer")

    monkeypatch.setattr(here.store, "put", failing)
    here.rank_log(1, 0).write_text("last words\n")
    mirror, begin = Mirror(here, [LOG]), time.monotonic()
    mirror.close()
    assert time.monotonic() - begin < 10 and not here.store.exists(LOG)


@pytest.mark.parametrize("stored,here,kept", [
    ("one\ntwo\n", None, "one\ntwo\n"),
    ("one\ntwo\n", "one\n", "one\ntwo\n"),
    ("one\n", "one\ntwo\n", "one\ntwo\n"),
    ("one\nother\n", "one\ntwo\nthree\n", "one\nother\n"),
    (None, "one\n", "one\n"),
    (None, None, "")])
def test_a_successor_goes_on_from_the_newest_copy_and_never_from_an_earlier_life(store_run, stored, here, kept):
    run = store_run.seen_by("head", working=True)
    if stored is not None:
        run.store.put(run.JOURNAL, stored.encode())
    if here is not None:
        run.path.mkdir(parents=True)
        (run.path / run.JOURNAL).write_text(here)
    adopt(run, run.JOURNAL)
    assert (run.path / run.JOURNAL).read_text() == kept

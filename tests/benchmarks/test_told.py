"""What a peer's ranks append, read as attempts and steps."""

from benchmarks.told import as_events, tell


def test_an_attempt_begins_with_a_new_process_of_a_known_rank(tmp_path):
    told = tmp_path / "told.jsonl"
    for event in ({"rank": 0}, {"rank": 1}, {"step": 1}, {"step": 2}, {"rank": 1}, {"rank": 0}, {"step": 2}):
        tell(told, next(iter(event)), **event)
    events = as_events(told.read_text().splitlines(keepends=True))
    steps = [(event["attempt"], event["step"]) for event in events if event["event"] == "step"]
    assert steps == [(1, 1), (1, 2), (2, 2)]
    assert [sorted(event["workers"]) for event in events if event["event"] == "attempt_started"] == [[0, 1], [0, 1]]


def test_a_line_that_is_being_written_waits():
    whole = '{"event": "rank", "time": 1.0, "pid": 7, "rank": 0}\n'
    assert len(as_events([whole, '{"event": "st'])) == 1

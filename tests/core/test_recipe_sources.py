"""What is kept for evaluation can be said in the ways people write it."""

import pytest
from pydantic import ValidationError

from launcher.core.recipe_sources import Holdout, Source


@pytest.mark.parametrize(("written", "meant"), [
    ("2%", Holdout(share=0.02)),
    (0.02, Holdout(share=0.02)),
    (0, Holdout()),
    (1, Holdout(documents=1)),
    ("200 documents", Holdout(documents=200)),
    ("1k documents", Holdout(documents=1000)),
    ("held.jsonl", Holdout(path="held.jsonl")),
    ("2024.jsonl", Holdout(path="2024.jsonl")),
    ("5%.jsonl", Holdout(path="5%.jsonl")),
    ({"documents": 7}, Holdout(documents=7)),
])  # fmt: skip
def test_a_holdout_is_a_share_a_number_or_a_file(written, meant):
    source = Source.model_validate({"path": "a.jsonl", "holdout": written})
    assert source.holdout == meant and source.holdout.wanted == (meant != Holdout())
    assert Source.from_json(source.to_json()) == source


@pytest.mark.parametrize("written", [
    -1, "-5%", "150%", True, {"share": "2%", "documents": 3}, {"some": 1}, 1.5, None, ["a"],
])
def test_a_holdout_that_means_nothing_is_refused(written):
    with pytest.raises(ValidationError):
        Source.model_validate({"path": "a.jsonl", "holdout": written})

"""What an exported model says of itself."""

import pytest

from launcher.core.source_index import TokenizerFacts
from launcher.runtime.export import stops


def facts(turn_end: int | None) -> TokenizerFacts:
    return TokenizerFacts(fingerprint="f", vocab_size=9, bos=1, eos=2, pad=0, chat_template=True, turn_end=turn_end)


@pytest.mark.parametrize(("known", "turn_end", "told"), [
    (2, None, 2), (2, 2, 2), (2, 5, [2, 5]), ([2, 5], 5, [2, 5]), (None, 5, 5), (None, None, None),
])  # fmt: skip
def test_generation_stops_where_turns_were_learnt_to_end(known, turn_end, told):
    assert stops(known, facts(turn_end)) == told

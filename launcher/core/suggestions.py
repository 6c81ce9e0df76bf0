"""The nearest valid name to a wrong one: what an error message proposes."""

import difflib
from collections.abc import Iterable


def did_you_mean(wrong: str, valid: Iterable[str]) -> str:
    """Return `did you mean X?`, or the valid names when none is near."""
    names = sorted(set(valid))
    lowered = {name.lower(): name for name in names}
    near = difflib.get_close_matches(wrong.lower(), list(lowered), 1, cutoff=0.6)
    if near:
        return f"did you mean {lowered[near[0]]}?"
    return f"known here: {', '.join(names)}" if names else "none is known here"

"""What differs between two plans, as a person would say it: dotted paths with the old and the new value."""

from collections.abc import Iterator
from typing import Any, cast

from launcher.core.document import Document, canonical
from launcher.core.run_plan import RunPlan

_LONG = 60


def changes(before: RunPlan, after: RunPlan) -> list[str]:
    """Return one line per difference; none if the plans are equal."""
    return list(_compare("", before.model_dump(mode="json"), after.model_dump(mode="json")))


def document_changes(path: str, before: Document, after: Document) -> list[str]:
    """Return one line per difference of a part of two plans."""
    return list(_compare(path, before.model_dump(mode="json"), after.model_dump(mode="json")))


def _compare(path: str, before: Any, after: Any) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        old, new = cast(dict[str, Any], before), cast(dict[str, Any], after)
        for key in [*old, *(key for key in new if key not in old)]:
            yield from _compare(f"{path}.{key}" if path else key, old.get(key), new.get(key))
    elif isinstance(before, list) and isinstance(after, list):
        yield from _compare_lists(path, cast(list[Any], before), cast(list[Any], after))
    elif before != after:
        yield f"{path}: was {_short(before)}, is now {_short(after)}"


def _compare_lists(path: str, before: list[Any], after: list[Any]) -> Iterator[str]:
    if len(before) != len(after):
        yield f"{path}: had {len(before)} entries, has now {len(after)}"
    for index, (old, new) in enumerate(zip(before, after, strict=False)):
        yield from _compare(f"{path}.{index}", old, new)


def _short(value: Any) -> str:
    text = "absent" if value is None else canonical(value)
    return text if len(text) <= _LONG else text[: _LONG - 3] + "..."

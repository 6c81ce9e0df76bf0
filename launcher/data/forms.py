"""The four forms of a row, and what of a row is its content.

Decides which columns make a form and what they may hold; other columns are ignored. Turning content into text is
`data.rendering` and `data.chat`. Errors are ValueErrors without a place: whoever reads the rows knows it.
"""

from hashlib import blake2b
from typing import Any, assert_never

from launcher.core.document import canonical
from launcher.core.recipe_sources import Form, Source

Content = dict[str, Any]
"""The columns of a form and nothing else: strings, or `messages` as a list of {role, content}."""

COLUMNS: dict[Form, tuple[str, ...]] = {
    "messages": ("messages",),
    "prompt_completion": ("prompt", "completion"),
    "alpaca": ("instruction", "output"),
    "text": ("text",),
}
"""What a row must have to be of a form."""

LOSSES: dict[Form, tuple[str, ...]] = {
    "messages": ("assistant", "last_assistant", "all"),
    "prompt_completion": ("completion", "all"),
    "alpaca": ("completion", "all"),
    "text": ("all",),
}
"""What may be learnt of each form; the first is the default."""

ROLES = ("system", "user", "assistant")


def find_form(columns: dict[str, Any]) -> Form:
    """Return the form that a row's columns make. Raises ValueError if none fits, or more than one."""
    fitting = _fitting(columns)
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ValueError(f"the columns fit {' and '.join(fitting)}; say which with format: in the recipe")
    known = "; ".join(f"{form}: {' + '.join(names)}" for form, names in COLUMNS.items())
    raise ValueError(f"the columns {', '.join(map(repr, columns)) or '(none)'} are none of the known forms ({known}); "
                     "rename the columns")


def loss_of(source: Source, form: Form) -> str:
    """Return what is learnt of a source. Raises ValueError if the form has no such part."""
    loss = source.loss or LOSSES[form][0]
    if loss not in LOSSES[form]:
        raise ValueError(f"loss: {loss} does not go with {form}; it takes {' or '.join(LOSSES[form])}")
    if source.separator is not None and form != "prompt_completion":
        raise ValueError(f"separator goes with prompt_completion, and this source is {form}; leave it out")
    return loss


def content_of(columns: dict[str, Any], form: Form) -> Content:
    """Return a row's content. Raises ValueError when a column is missing or holds something else than text."""
    missing = [name for name in COLUMNS[form] if name not in columns]
    if missing:
        other = _fitting(columns)
        mixed = f"this row looks like {other[0]}; one source has one form, so split the file" if other else \
            "add it or remove the row"
        raise ValueError(f"no column {missing[0]!r}, which {form} needs; {mixed}")
    match form:
        case "messages":
            return {"messages": _messages(columns["messages"])}
        case "alpaca":
            instruction_input = columns.get("input")
            return {"instruction": _text(columns, "instruction"), "output": _text(columns, "output"),
                    "input": "" if instruction_input is None else _text(columns, "input")}
        case "prompt_completion" | "text":
            return {name: _text(columns, name) for name in COLUMNS[form]}
        case _:
            assert_never(form)


def in_holdout(content: Content, share: float) -> bool:
    """Return whether a document is kept for evaluation: by its content alone, so equal documents stay together."""
    digest = blake2b(canonical(content).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def texts_of(content: Content) -> list[str]:
    """Return all text in a content."""
    if "messages" in content:
        return [message["content"] for message in content["messages"]]
    return list(content.values())


def _fitting(columns: dict[str, Any]) -> list[Form]:
    return [form for form, names in COLUMNS.items() if all(name in columns for name in names)]


def _messages(value: Any) -> list[dict[str, str]]:
    if not isinstance(value, list) or not value:
        raise ValueError('messages must be a list of at least one {"role": ..., "content": ...}')
    return [_message(message, place) for place, message in enumerate(value, 1)]


def _message(message: Any, place: int) -> dict[str, str]:
    if not isinstance(message, dict) or "role" not in message or "content" not in message:
        share_gpt = isinstance(message, dict) and "from" in message and "value" in message
        hint = "; rename from to role and value to content" if share_gpt else ""
        raise ValueError(f'message {place} is not {{"role": ..., "content": ...}}{hint}')
    if message["role"] not in ROLES:
        raise ValueError(f"message {place} has the role {message['role']!r}; roles are {', '.join(ROLES)}")
    return {"role": message["role"], "content": _text(message, "content", f"message {place}: ")}


def _text(columns: dict[str, Any], name: str, place: str = "") -> str:
    value = columns[name]
    if not isinstance(value, str):
        kind = "null" if value is None else type(value).__name__
        raise ValueError(f"{place}{name} must be text, not {kind}; write it as a string or remove the row")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{place}{name} holds half of a surrogate pair at character {error.start}, which is not "
                         "Unicode text; repair or remove the row") from None
    return value

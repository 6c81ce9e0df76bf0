"""The four forms of a row, and what of a row is its content.

Decides which columns make a form and what they may hold; other columns are ignored. Messages are `rendering.messages`,
columns under other names `rendering.fields`. Turning content into text is `rendering.renderer`. Errors are ValueErrors
without a place: whoever reads the rows knows it.
"""

import json
from typing import Any, assert_never

from launcher.core.recipe_sources import Form, LossOn, Source
from launcher.data.rendering.fields import Fields
from launcher.data.rendering.messages import Message, messages_of, texts_of_messages, tools_of
from launcher.data.rendering.texts import text_in

Content = dict[str, Any]
"""The columns of a form and nothing else: strings, or lists of messages, and the `tools` of a chat that has some."""

COLUMNS: dict[Form, tuple[str, ...]] = {
    "messages": ("messages",),
    "prompt_completion": ("prompt", "completion"),
    "alpaca": ("instruction", "output"),
    "text": ("text",),
}
"""What a row must have to be of a form. `conversations` is another name of messages."""

LOSSES: dict[Form, tuple[LossOn, ...]] = {
    "messages": ("assistant", "last_assistant", "marked", "all"),
    "prompt_completion": ("completion", "all"),
    "alpaca": ("completion", "all"),
    "text": ("all",),
}
"""What may be learnt of each form; the first is the default."""


IGNORED: dict[Form, dict[str, str]] = {
    "alpaca": {"history": "alpaca rows have no earlier turns; write chats with messages",
               "system": "alpaca rows have no system turn; write chats with messages, or put it into the instruction"},
    "prompt_completion": {"label": "it marks answers that are not to be learnt; leave those rows out, and the column"},
}
"""What other tools read beside a form's columns."""


def find_form(columns: dict[str, Any], fields: Fields | None = None) -> Form:
    """Return the form that a row's columns and the recipe's fields make. Raises ValueError if not exactly one does."""
    fitting = _fitting(fields.columns(columns) if fields else columns)
    if fields and len(fitting) > 1:
        # What the recipe names is meant; a column that only happens to be there is not.
        said = set(fields.names)
        meant: list[Form] = [form for form in fitting if said.issuperset(COLUMNS[form])]
        fitting = meant or fitting
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ValueError(f"the columns fit {' and '.join(fitting)}; say which with format: in the recipe")
    known = "; ".join(f"{form}: {' + '.join(names)}" for form, names in COLUMNS.items())
    raise ValueError(f"the columns {', '.join(map(repr, columns)) or '(none)'} are none of the known forms ({known}); "
                     f"rename the columns, or say in the recipe where each is{_example(list(columns))}")


def _example(columns: list[str]) -> str:
    """Return how a recipe would map such columns, as far as their number tells."""
    if not columns:
        return ""
    names = ("text",) if len(columns) == 1 else COLUMNS["prompt_completion"]
    said = ", ".join(f"{name}: {json.dumps(column, ensure_ascii=False)}"
                     for name, column in zip(names, columns, strict=False))
    return f", such as fields: {{{said}}}"


def loss_of(source: Source, form: Form) -> LossOn:
    """Return what is learnt of a source. Raises ValueError if the form has no such part."""
    loss = source.loss or LOSSES[form][0]
    if loss not in LOSSES[form]:
        raise ValueError(f"loss: {loss} does not go with {form}; it takes {' or '.join(LOSSES[form])}")
    if source.separator is not None and form != "prompt_completion":
        raise ValueError(f"separator goes with prompt_completion, and this source is {form}; leave it out")
    return loss


def content_of(columns: dict[str, Any], form: Form) -> Content:
    """Return a row's content. Raises ValueError when a column is missing or holds something else than it must."""
    columns = _with_other_names(columns)
    if missing := missing_columns(columns, form):
        other = _fitting(columns)
        mixed = f"this row looks like {other[0]}; one source has one form, so split the file" if other else \
            "add it or remove the row"
        raise ValueError(f"no column {missing[0]!r}, which {form} needs; {mixed}")
    _refuse_ignored(columns, form)
    match form:
        case "messages":
            messages = columns["messages"]
            return _with_tools({"messages": _system(columns, messages) + messages_of(messages)}, columns)
        case "alpaca":
            instruction_input = columns.get("input")
            return {"instruction": text_in(columns, "instruction"), "output": text_in(columns, "output"),
                    "input": "" if instruction_input is None else text_in(columns, "input")}
        case "prompt_completion":
            return _prompt_completion(columns)
        case "text":
            return {"text": text_in(columns, "text")}
        case _:
            assert_never(form)


def _refuse_ignored(columns: dict[str, Any], form: Form) -> None:
    """Raise ValueError for a column that others read beside these, and that would be dropped here without a word."""
    for name, needed in IGNORED.get(form, {}).items():
        if name in columns and columns[name] not in ("", None, []) and columns[name] is not True:
            raise ValueError(f"column {name!r} would be lost: {needed}")


def missing_columns(columns: dict[str, Any], form: Form) -> list[str]:
    """Return what a form needs and the columns lack."""
    names = _with_other_names(columns)
    return [name for name in COLUMNS[form] if name not in names]


def texts_of(content: Content) -> list[str]:
    """Return all text in a content."""
    return [text for name, value in content.items() if name != "tools"
            for text in (texts_of_messages(value) if isinstance(value, list) else [value])]


def _fitting(columns: dict[str, Any]) -> list[Form]:
    columns = _with_other_names(columns)
    return [form for form, names in COLUMNS.items() if all(name in columns for name in names)]


def _with_other_names(columns: dict[str, Any]) -> dict[str, Any]:
    if "conversations" in columns and columns.get("messages") is None:
        return {**columns, "messages": columns["conversations"]}
    return columns


def _prompt_completion(columns: dict[str, Any]) -> Content:
    prompt, completion = columns["prompt"], columns["completion"]
    if isinstance(prompt, list) and isinstance(completion, list):
        made = {"prompt": _system(columns, prompt) + messages_of(prompt, "prompt"),
                "completion": messages_of(completion, "completion")}
        return _with_tools(made, columns)
    return {"prompt": text_in(columns, "prompt"), "completion": text_in(columns, "completion")}


def _system(columns: dict[str, Any], messages: Any) -> list[Message]:
    """Return a system turn from the column of that name, which goes first."""
    if not columns.get("system"):
        return []
    first = messages[0] if isinstance(messages, list) and messages else None
    if isinstance(first, dict) and (first.get("role") or first.get("from")) in ("system", "developer"):
        raise ValueError("there is a system column and a system turn; keep one of them")
    return [{"role": "system", "content": text_in(columns, "system")}]


def _with_tools(content: Content, columns: dict[str, Any]) -> Content:
    tools = tools_of(columns.get("tools"))
    return {**content, "tools": tools} if tools else content

"""Chat messages as data sets write them, made into one way of writing them.

Read are OpenAI's keys (role, content, tool_calls) and ShareGPT's (from, value). Decides which keys of a message count,
what the roles are called, and what marks a turn as learnt or not. The template's view of the result is
`rendering.templating`.
"""

from typing import Any

from launcher.core.suggestions import did_you_mean
from launcher.data.rendering.texts import checked_text, json_in, kind_of, text_in

Message = dict[str, Any]
"""`role`, `content`, and where the data has them `reasoning_content`, `tool_calls`, `name` and `tool_call_id` of a
tool turn, and `learn`: whether the data says that the turn is learnt."""

ROLES = {"system": "system", "developer": "system", "user": "user", "human": "user", "assistant": "assistant",
         "gpt": "assistant", "tool": "tool", "function": "tool", "observation": "tool", "function_call": "assistant"}
"""What a role is called in data, and here."""

REASONING = ("reasoning_content", "thinking", "reasoning")
SHOWN_ROLES = ("system", "user", "assistant", "tool")


def messages_of(value: Any, what: str = "messages") -> list[Message]:
    """Return messages in one way of writing. Raises ValueError that names the message and what is wrong with it."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = json_in(value, what)  # as tables without lists have them
    if not isinstance(value, list) or not value:
        raise ValueError(f'{what} must be a list of at least one {{"role": ..., "content": ...}}')
    return [_message(message, place) for place, message in enumerate(value, 1)]


def tools_of(value: Any) -> list[dict[str, Any]]:
    """Return the tools that a chat may use: a list, or its JSON text."""
    tools = json_in(value, "tools") if value else []
    if tools is None or tools == {}:
        return []
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise ValueError("tools must be a list of objects that describe functions, or the JSON text of one")
    return tools


def texts_of_messages(messages: list[Message]) -> list[str]:
    """Return all text in messages."""
    texts: list[str] = []
    for message in messages:
        texts += [message["content"], message.get("reasoning_content", "")]
        for call in message.get("tool_calls", ()):
            texts += [call["function"]["name"], *map(str, call["function"]["arguments"].values())]
    return [text for text in texts if text]


def _message(message: Any, place: int) -> Message:
    at = f"message {place}"
    if not isinstance(message, dict):
        raise ValueError(f'{at} is {kind_of(message)}, not {{"role": ..., "content": ...}}')
    # Tables fill in the keys of one message for all: only what is not null is there.
    open_ai = message.get("role") is not None or "from" not in message
    said, key = (message.get("role"), "content") if open_ai else (message["from"], "value")
    role = ROLES.get(said) if isinstance(said, str) else None
    if "role" not in message and "from" not in message:
        raise ValueError(f'{at} is not {{"role": ..., "content": ...}}; its keys are '
                         f"{', '.join(map(repr, message)) or '(none)'}, so rename them")
    if role is None:
        near = did_you_mean(said, ROLES) if isinstance(said, str) else ""
        hint = f"{near} " if near.startswith("did") else ""
        raise ValueError(f"{at} has the role {said!r}; {hint}roles are {', '.join(SHOWN_ROLES)}")
    calls = _calls(message, at, key) if role == "assistant" else []
    made: Message = {"role": role, "content": ""}
    if said != "function_call":
        made["content"] = _content(message, key, at, optional=bool(calls) or _reasoning(message, at) != "")
    if role == "assistant" and (reasoning := _reasoning(message, at)):
        made["reasoning_content"] = reasoning
    if calls:
        made["tool_calls"] = calls
    if role == "tool":
        made.update({name: text_in(message, name, f"{at}: ") for name in ("name", "tool_call_id")
                     if message.get(name) is not None})
    learn = _learn(message, at)
    return made if learn is None else {**made, "learn": learn}


def _content(message: Message, key: str, at: str, *, optional: bool) -> str:
    value = message.get(key)
    if value is None and optional:
        return ""
    if key not in message:
        raise ValueError(f"{at} has no {key}; add it or remove the row")
    if isinstance(value, list):
        return "".join(_part(part, at) for part in value)
    return text_in(message, key, f"{at}: ")


def _part(part: Any, at: str) -> str:
    if isinstance(part, dict) and part.get("type", "text") == "text" and isinstance(part.get("text"), str):
        return checked_text(part["text"], f"{at}: text")
    found = part.get("type") if isinstance(part, dict) else kind_of(part)
    raise ValueError(f'{at}: content has a part that is {found!r}; only text is learnt, so parts must be '
                     '{"type": "text", "text": ...}')


def _reasoning(message: Message, at: str) -> str:
    found = [text_in(message, name, f"{at}: ") for name in REASONING if message.get(name)]
    if len(set(found)) > 1:
        raise ValueError(f"{at} has two different reasonings; keep one of {', '.join(REASONING)}")
    return found[0] if found and found[0].strip() else ""


def _calls(message: Message, at: str, key: str) -> list[dict[str, Any]]:
    """Return the calls of a turn: OpenAI's tool_calls or function_call, or ShareGPT's turn from function_call."""
    if "function_call" in (message.get("from"), message.get("role")):
        value = json_in(message.get(key), f"{at}: {key}")
    else:
        value = message.get("tool_calls") or message.get("function_call")
    if not value:
        return []
    value = json_in(value, f"{at}: tool_calls")
    calls = [value] if isinstance(value, dict) else value
    if not isinstance(calls, list):
        raise ValueError(f"{at}: tool_calls must be a list, not {kind_of(calls)}")
    return [_call(call, f"{at}: call {number}") for number, call in enumerate(calls, 1)]


def _call(call: Any, at: str) -> dict[str, Any]:
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"].strip():
        raise ValueError(f'{at} is not {{"function": {{"name": ..., "arguments": ...}}}}')
    # Templates write arguments as JSON themselves; text would be written as a string of JSON.
    arguments = json_in(function.get("arguments") or {}, f"{at}: arguments")
    if not isinstance(arguments, dict):
        raise ValueError(f"{at}: arguments must be an object, not {kind_of(arguments)}")
    made = {"type": "function", "function": {"name": function["name"], "arguments": arguments}}
    return {"id": str(call["id"]), **made} if call.get("id") is not None else made


def _learn(message: Message, at: str) -> bool | None:
    """Return what the data says of learning a turn, if anything."""
    weight, train = message.get("weight"), message.get("train")
    # 1 == True in Python: both ways of writing mean the same here.
    if not (weight is None or (isinstance(weight, int | float) and weight in (0, 1))):
        raise ValueError(f"{at} has weight {weight!r}: a turn is learnt or not, so write 1 or 0; how much a source "
                         "counts is said by the mix of its stage")
    if not (train is None or isinstance(train, bool)):
        raise ValueError(f"{at} has train {train!r}; write true or false")
    if weight is not None and train is not None and bool(weight) != train:
        raise ValueError(f"{at} has weight {weight!r} and train {str(train).lower()}, which disagree; keep one")
    return bool(weight) if weight is not None else train

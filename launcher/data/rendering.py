"""Content becomes one text, with the parts that are learnt marked by character.

Decides the rendering of prompt_completion, alpaca and text; chats are rendered by the tokenizer's own template in
`data.chat`. Where the marks fall on tokens is `data.encoding`.
"""

from dataclasses import dataclass

from launcher.data.forms import Content

Span = tuple[int, int]
"""Characters [start, end)."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A document as text."""

    text: str
    spans: tuple[Span, ...]
    """What is learnt, in order. None: the document has nothing to learn."""
    whole: bool = True
    """The rendering stands alone, so a first token that the tokenizer itself adds goes before it and the end of text,
    which is learnt, after it. A chat template writes both where it wants them."""


def render(content: Content, loss: str, separator: str | None) -> Rendered:
    """Return the rendering of any content but messages."""
    if "text" in content:
        text = content["text"]
        return Rendered(text, _span(0, text))
    if "completion" in content:
        prompt, completion = content["prompt"], content["completion"]
        prompt += _separator(prompt, completion) if separator is None else separator
    else:
        prompt, completion = alpaca_prompt(content["instruction"], content["input"]), content["output"]
    if not completion.strip():
        return Rendered(prompt, ())
    text = prompt + completion
    return Rendered(text, _span(0 if loss == "all" else len(prompt), text))


def alpaca_prompt(instruction: str, given: str) -> str:
    """Return what stands before the output."""
    parts = [("Instruction", instruction), ("Input", given), ("Response", "")]
    return "\n\n".join(f"### {title}:\n{body}" for title, body in parts if body or title != "Input")


def _separator(prompt: str, completion: str) -> str:
    joined = prompt[-1:].isspace() or completion[:1].isspace() or not prompt
    return "" if joined else "\n"


def _span(start: int, text: str) -> tuple[Span, ...]:
    return ((start, len(text)),) if text[start:].strip() else ()

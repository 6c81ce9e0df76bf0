"""Prompts, completions, instructions and texts become one text each, without a template.

Decides what stands between the parts. Chats are `rendering.chat`.
"""

from launcher.core.recipe_sources import LossOn
from launcher.data.rendering.forms import Content
from launcher.data.rendering.rendered import Rendered, Span


def render_plain(content: Content, loss: LossOn, separator: str | None) -> Rendered:
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

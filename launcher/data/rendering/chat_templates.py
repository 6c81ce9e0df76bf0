"""The chat template that a recipe names: a Jinja file, or one that is shipped beside this module.

Decides which template a name means and which special tokens it cannot do without. It becomes part of the prepared
tokenizer, and so of the exported model, in `data.tokenizer`; what is written by it is `rendering.templating`.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from launcher.core.errors import UserError
from launcher.core.suggestions import did_you_mean
from launcher.storage.typed_paths import is_file, typed_path

FOLDER = Path(__file__).parent / "templates"
SUFFIX = ".jinja"
DECLARED = re.compile(r"\{#-? special tokens: (.*?) -?#\}")


def shipped_templates() -> tuple[str, ...]:
    """Return the names of the templates that are shipped."""
    return tuple(sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}")))


def template_text(choice: str) -> str:
    """Return the template of a path or a shipped name. Raises UserError if there is none."""
    shipped = choice in shipped_templates()
    path = FOLDER / f"{choice}{SUFFIX}" if shipped else typed_path(choice)
    if not is_file(path):
        raise UserError(f"model.chat_template: {choice} is neither a Jinja file nor a shipped template; "
                        f"{did_you_mean(choice, shipped_templates())}")
    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"model.chat_template: {path} cannot be read: {error}") from None
    if not text.strip():
        raise UserError(f"model.chat_template: {path} is empty; write a Jinja template in it, or give a shipped name")
    return text


def missing_tokens(template: str, tokens: Iterable[str]) -> list[str]:
    """Return the special tokens that a template writes and that are none of a tokenizer's.

    Text such as <|im_start|> that is not one token would be spelled out in letters, which no model has ever seen. A
    template of one's own is held to the tokens that shipped ones know.
    """
    known = set(tokens)
    declared = DECLARED.search(template)
    texts = [template] if declared else [path.read_text("utf-8") for path in sorted(FOLDER.glob(f"*{SUFFIX}"))]
    needed = dict.fromkeys(name for text in texts if (found := DECLARED.search(text)) for name in found[1].split())
    return [name for name in needed if name in template and name not in known]

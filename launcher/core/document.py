"""The base of everything that reaches disk or crosses a process border.

Decides that such values are frozen, refuse unknown keys and have one canonical text. Where they are written is
`storage`; what they mean is the module that declares them.
"""

import hashlib
import json
from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """A frozen, typed value that is stored as JSON."""

    # JSON has neither infinity nor NaN: they would be written as null, and not be read back.
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    def to_json(self) -> str:
        """Return the document as indented JSON text, ending in a newline."""
        return self.model_dump_json(indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Parse what `to_json` wrote. Raises pydantic's ValidationError on anything else."""
        return cls.model_validate_json(text)


def canonical(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, full float precision."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def fingerprint(*values: Any) -> str:
    """Return 32 hex digits of BLAKE2b over the canonical texts of the values, in order."""
    digest = hashlib.blake2b(digest_size=16)
    for value in values:
        digest.update(canonical(value).encode())
        digest.update(b"\n")
    return digest.hexdigest()

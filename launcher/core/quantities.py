"""Durations, sizes, counts and shares as people write them: 20min, 1M, 4GiB, 5%.

Decides what each spelling means; the fields that use these types say what is measured. M is 10^6, Mi is 2^20.
"""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

DECIMAL = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9, "T": 10**12}
BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
SECONDS = {"ms": 0.001, "s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "hours": 3600.0, "d": 86400.0}
MOST = 10**18
"""Larger than anything that can be trained on, and far from where floats overflow."""
_NUMBER = r"\s*([0-9]+(?:[._][0-9]+)*(?:e[0-9]+)?)\s*"


def _split(value: Any, what: str, example: str) -> tuple[float, str]:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"expected {what} such as {example}")
    if isinstance(value, str):
        match = re.fullmatch(_NUMBER + r"([A-Za-z%]*)\s*", value)
        if match is None:
            raise ValueError(f"{value!r} is not {what}; write it like {example}")
        number, unit = float(match[1].replace("_", "")), match[2]
    else:
        number, unit = value, ""
    if not -MOST <= number <= MOST:
        raise ValueError(f"{value!r:.40} is not {what}; at most 1e18 make sense")
    return float(number), unit


def parse_count(value: Any) -> int:
    """Return a whole number of at least 0 from 1000, "1k", "5M" or "64Ki". Raises ValueError with an example."""
    number, unit = _split(value, "a count", "1000, 5M or 64Ki")
    factor = DECIMAL.get(unit, BINARY.get(unit))
    if factor is None:
        raise ValueError(f"{value!r} has the unknown unit {unit!r}; counts take {', '.join([*DECIMAL, *BINARY][1:])}")
    result = number * factor
    if result > MOST or result != int(result) or result < 0:
        raise ValueError(f"{value!r} is not a whole number between 0 and 1e18")
    return int(result)


def parse_bytes(value: Any) -> int:
    """Return a number of bytes from 4096, "4GB" or "4GiB". Raises ValueError with an example."""
    if isinstance(value, str) and value.strip().endswith("B") and not re.fullmatch(_NUMBER + "B", value):
        value = value.strip()[:-1]
    return parse_count(value)


def parse_share(value: Any) -> float:
    """Return a share between 0 and 1 from 0.05 or "5%". Raises ValueError with an example."""
    number, unit = _split(value, "a share", "5% or 0.05")
    if unit not in ("", "%"):
        raise ValueError(f"{value!r} is not a share; write it like 5% or 0.05")
    share = number / 100 if unit == "%" else number
    if not 0 <= share <= 1:
        hint = "" if unit else "; did you mean a percent sign?"
        raise ValueError(f"{value!r} is not between 0% and 100%{hint}")
    return share


def parse_seconds(value: Any) -> float:
    """Return seconds from "20min", "30s", "1.5h" or "hh:mm:ss". Raises ValueError with an example."""
    if isinstance(value, str) and re.fullmatch(r"(\d+-)?\d+:\d\d:\d\d", value.strip()):
        days, _, clock = value.strip().rpartition("-")
        hours, minutes, seconds = (int(part) for part in clock.split(":"))
        return float(int(days or 0) * 86400 + hours * 3600 + minutes * 60 + seconds)
    number, unit = _split(value, "a duration", "20min, 30s or 1.5h")
    if unit not in SECONDS:
        raise ValueError(f"{value!r} needs a unit of time: write it like 20min, 30s or 1.5h")
    return number * SECONDS[unit]


def _schema(description: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}], "description": description,
                           "examples": list(examples)})


Count = Annotated[int, BeforeValidator(parse_count), _schema("a whole number", "1000", "5M", "64Ki")]
Bytes = Annotated[int, BeforeValidator(parse_bytes), _schema("a size in bytes", "4GB", "4GiB")]
Share = Annotated[float, BeforeValidator(parse_share), _schema("a share of a whole", "5%", "0.05")]
# With its unit, which it must have where it is read again.
Seconds = Annotated[float, BeforeValidator(parse_seconds),
                    PlainSerializer(lambda seconds: f"{seconds!r}s", when_used="json"),
                    _schema("a duration", "20min", "1.5h", "12:00:00")]

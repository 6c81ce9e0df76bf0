"""YAML text as plain values, with the place of each.

Decides how scalars are read: as in YAML 1.2, so `no`, `on` and `12:00:00` stay text and `1e-5` is a number, unlike in
PyYAML's YAML 1.1. Duplicate keys, tags and syntax errors are problems with their place. What the values mean is
`core.recipe_text`.
"""

import re
from dataclasses import dataclass, field
from typing import Any, cast

import yaml

from launcher.core.errors import Problem

FieldPath = tuple[str | int, ...]
_TAG = "tag:yaml.org,2002:"
MOST_VALUES = 100_000
"""More than any recipe says: aliases of aliases can stand for more values than a machine has room for."""
TOO_MANY = f"more than {MOST_VALUES:,} values stand here, those that aliases stand for included"


# Tag, pattern, and the characters that such a scalar may begin with, as PyYAML wants them.
_SCALARS = (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", "~|null|Null|NULL", "~nN"),
    ("int", "[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf)|\.(?:nan|NaN)",
     "-+.0123456789"),
)


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    table = {"": [(_TAG + "null", re.compile("^$"))]}
    for tag, pattern, first in _SCALARS:
        for character in first:
            table.setdefault(character, []).append((_TAG + tag, re.compile(f"^(?:{pattern})$")))
    return table


class _Loader(yaml.SafeLoader):
    """Resolves plain scalars as YAML 1.2 does."""

    yaml_implicit_resolvers = _resolvers()


@dataclass
class Tree:
    """Values, where each was written, and what was wrong with the text."""

    value: Any = None
    places: dict[FieldPath, str] = field(default_factory=dict[FieldPath, str])
    """Where a value was written: at its key in a map, at itself in a list."""
    values: dict[FieldPath, str] = field(default_factory=dict[FieldPath, str])
    """Where the value itself begins."""
    problems: list[Problem] = field(default_factory=list[Problem])


def dotted(path: FieldPath) -> str:
    """Return a path as people write it."""
    return ".".join(str(part) for part in path)


def read_tree(text: str, file: str) -> Tree:
    """Return the tree of a YAML text; on a syntax error its value is None and its problems say why."""
    tree = Tree()
    try:
        return _read(tree, text, file)
    except RecursionError:
        return Tree(problems=[Problem(file, "", "is nested too deeply to be read")])


def _read(tree: Tree, text: str, file: str) -> Tree:
    try:
        node = yaml.compose(text, _Loader)
    except yaml.MarkedYAMLError as error:
        tree.problems.append(_syntax_problem(error, file))
    except yaml.YAMLError as error:
        tree.problems.append(Problem(file, "", f"is not YAML: {str(error).splitlines()[0]}"))
    else:
        tree.places[()] = f"{file}:1:1"
        tree.value = None if node is None else _Reader(tree, file).read(node, (), ())
    return tree


def read_value(text: str) -> Any:
    """Return a single YAML value, as after `--set x=`. Raises ValueError when the text is not one."""
    tree = read_tree(text, "")
    if tree.problems:
        raise ValueError(tree.problems[0].message)
    return tree.value


def _syntax_problem(error: yaml.MarkedYAMLError, file: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    where = file if mark is None else f"{file}:{mark.line + 1}:{mark.column + 1}"
    what = " ".join(part for part in (error.context, error.problem) if part)
    if "'\\t'" in what:
        what = "a tab stands here; YAML indents with spaces only"
    elif "alias" in what:
        what = "here * begins an alias; put a path or text that begins with it in quotes, such as '*.jsonl'"
    elif "cannot start any token" in what:
        what = f"a text cannot begin with {what.partition(chr(39))[2][:1]} unless it is in quotes"
    elif "mapping values are not allowed" in what:
        what += "; put a text that contains a colon in quotes, or mend the indentation above"
    return Problem(where, "", f"is not YAML: {what}")


class _Reader:
    """Turns nodes into values, noting places and problems in the tree."""

    def __init__(self, tree: Tree, file: str) -> None:
        self._tree, self._file, self._count = tree, file, 0

    def read(self, node: yaml.Node, path: FieldPath, inside: tuple[yaml.Node, ...]) -> Any:
        self._tree.values[path] = self._place(node)
        self._count += 1
        if self._count > MOST_VALUES:
            # Told once: whatever else there is would be told, too.
            return self._problem(node, path, TOO_MANY) if self._count == MOST_VALUES + 1 else None
        if any(node is outer for outer in inside):
            return self._problem(node, path, "contains itself")
        inside = (*inside, node)
        if isinstance(node, yaml.MappingNode):
            return self._map(node, path, inside)
        if isinstance(node, yaml.SequenceNode):
            return [self._item(item, (*path, i), inside) for i, item in enumerate(node.value)]
        return self._scalar(cast(yaml.ScalarNode, node), path)

    def _item(self, node: yaml.Node, path: FieldPath, inside: tuple[yaml.Node, ...]) -> Any:
        self._tree.places[path] = self._place(node)
        return self.read(node, path, inside)

    def _map(self, node: yaml.MappingNode, path: FieldPath, inside: tuple[yaml.Node, ...]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in cast("list[tuple[yaml.Node, yaml.Node]]", node.value):
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(key_node, path, "a key must be a name")
                continue
            # Keys are names, whatever type YAML would give to `2024` or `null`.
            key = str(key_node.value)
            if key in values:
                first = self._tree.places[(*path, key)].removeprefix(f"{self._file}:").partition(":")[0]
                self._problem(key_node, (*path, key), f"is given twice, first in line {first}")
                continue
            self._tree.places[(*path, key)] = self._place(key_node)
            values[key] = self.read(value_node, (*path, key), inside)
        return values

    def _scalar(self, node: yaml.ScalarNode, path: FieldPath) -> Any:
        text = str(node.value)
        match node.tag.removeprefix(_TAG):
            case "str":
                return text
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                return self._int(node, text, path)
            case "float":
                return float(text.replace(".inf", "inf").replace(".Inf", "inf").replace(".nan", "nan"))
            case _:
                return self._problem(node, path, f"the tag {node.tag} is not supported; write a plain value")

    def _int(self, node: yaml.Node, text: str, path: FieldPath) -> int | None:
        try:
            return int(text)
        except ValueError:  # Python reads no integers of thousands of digits
            return self._problem(node, path, f"a number of {len(text)} digits")

    def _problem(self, node: yaml.Node, path: FieldPath, message: str) -> None:
        self._tree.problems.append(Problem(self._place(node), dotted(path), message))

    def _place(self, node: yaml.Node) -> str:
        return f"{self._file}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"

"""YAML as people mean it: the words of YAML 1.2 (``no`` is text), no duplicate keys, and where each part stands.

JSON is read by the same door, since it is YAML but for its tabs and escapes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

import yaml

from agentic_synth.errors import RecipeError

__all__ = ["Source", "parse", "parse_value"]

_MAX_NODES: Final = 200_000
_STRING: Final = "tag:yaml.org,2002:str"
_MERGE: Final = "tag:yaml.org,2002:merge"
_TEMPLATE: Final = re.compile(r"\{[{%]")
_WORDS: Final = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("merge", r"<<", "<"),
)


class _Loader(yaml.SafeLoader):
    """The safe loader with the words of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own protocol


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    bases = {"0o": 8, "0x": 16}
    return int(text, bases.get(text[:2], 10))


def _construct_float(loader: _Loader, node: yaml.ScalarNode) -> float:
    return float(str(loader.construct_scalar(node)))


for _tag, _pattern, _first in _WORDS:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})\\Z"), list(_first))
_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)


class Source:
    """A text that was read: its name, its nodes, and the paths that were set from outside it."""

    def __init__(self, name: str, root: yaml.Node | None = None) -> None:
        self.name = name
        self.overridden: list[tuple[str, ...]] = []
        self._root = root

    def where(self, path: Sequence[str | int]) -> str:
        """``file:line:column`` of the part at *path*, or of what holds it; steps that are not written are left out."""
        words = tuple(str(part) for part in path)
        for set_path in self.overridden:
            if words[: len(set_path)] == set_path:
                return "--set " + ".".join(set_path)
        mark = None if self._root is None else self._root.start_mark
        node = self._root
        for part in words:
            child = _child(node, part)
            if child is not None:
                mark, node = child
        return self.name if mark is None else f"{self.name}:{mark.line + 1}:{mark.column + 1}"


def _child(node: yaml.Node | None, part: str) -> tuple[yaml.Mark, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == part:
                return key.start_mark, value
    if isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
        return node.value[int(part)].start_mark, node.value[int(part)]
    return None


def parse(text: str, name: str) -> tuple[Any, Source]:
    """The value of a YAML or JSON document, and where its parts are.

    Raises:
        RecipeError: the text cannot be read; says where and why.
    """
    is_json = name.endswith(".json")
    if is_json:
        value = _json(text, name)
        text = text.replace("\t", " ")
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        _checked(root, name)
        return (value if is_json else loader.construct_document(root) if root else None), Source(name, root)
    except yaml.YAMLError as error:
        raise _unreadable(error, text, name) from None
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"this cannot be read as YAML: {error}", where=name) from None
    finally:
        loader.dispose()


def parse_value(text: str, name: str) -> Any:
    """A value as ``--set`` writes it: YAML, or plain text where that is what it looks like."""
    try:
        return parse(text, name)[0]
    except RecipeError as error:
        message = error.message.removeprefix(f"{error.where}: ")
        raise RecipeError(message, where=name, mend="Quote it as YAML wants it.") from None


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"{name}:{error.lineno}:{error.colno}"
        raise RecipeError(f"this is no JSON: {error.msg}", where=where) from None


def _checked(root: yaml.Node | None, name: str) -> None:
    """Refuse duplicate keys, keys that are no text, and aliases that unfold into a flood."""
    waiting = [root] if root is not None else []
    for count, node in enumerate(_unfolded(waiting)):
        if count > _MAX_NODES:
            raise RecipeError(f"more than {_MAX_NODES:,} values", where=name, mend="Move rows into a seeds file.")
        if isinstance(node, yaml.MappingNode):
            _check_keys(node, name)


def _unfolded(waiting: list[yaml.Node]) -> Any:
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, yaml.MappingNode):
            waiting += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value


def _check_keys(node: yaml.MappingNode, name: str) -> None:
    seen: dict[str, yaml.Mark] = {}
    for key, _ in node.value:
        where = f"{name}:{key.start_mark.line + 1}:{key.start_mark.column + 1}"
        if not isinstance(key, yaml.ScalarNode):
            mend = "A text that begins with {{ needs quotes around it, or a block after `|`."
            raise RecipeError("a key must be text", where=where, mend=mend)
        if key.tag == _MERGE:
            continue
        key.tag = _STRING
        if key.value in seen:
            message = f"`{key.value}` is written twice, first in line {seen[key.value].line + 1}"
            raise RecipeError(message, where=where, mend="Keep one of the two.")
        seen[key.value] = key.start_mark


def _unreadable(error: yaml.YAMLError, text: str, name: str) -> RecipeError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    if mark is None:
        return RecipeError(f"this cannot be read as YAML: {problem}", where=name)
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    mend = ""
    if "\\t" in problem:
        problem, mend = "a tab cannot indent YAML", "Indent with spaces."
    elif problem.startswith(("expected ',' or '}'", "expected ',' or ']'")) and _TEMPLATE.search(line):
        mend = "Within { } or [ ], put text with {{ }} into quotes."
    elif re.search(r":\s+\{[{%]", line):
        mend = "A text that begins with {{ needs quotes around it, or a block after `|`."
    elif "mapping values are not allowed" in problem:
        mend = "A text that contains `: ` needs quotes around it, or a block after `|`."
    elif "undefined alias" in problem or problem.startswith("found character '%'"):
        mend = "A text that begins with * & ! % @ or ` needs quotes around it."
    return RecipeError(f"this cannot be read: {problem}", where=f"{name}:{mark.line + 1}:{mark.column + 1}", mend=mend)

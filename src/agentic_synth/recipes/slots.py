"""What a prompt says in every row, and what is its own: the template with names in braces, and the values there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from jinja2 import nodes

from agentic_synth.recipes.templates import compile_template, parse, sandbox
from agentic_synth.types import Meaning

__all__ = ["Filled", "Slots"]

_OPEN, _NAMED, _CLOSE = "\x02", "\x1f", "\x03"
_MARKS: Final = frozenset((_OPEN, _NAMED, _CLOSE))
_REWRITTEN: Final = (nodes.FilterBlock, nodes.AssignBlock, nodes.CallBlock, nodes.Macro)
_FREE_WORDS: Final = 4


class Filled(NamedTuple):
    """A prompt taken apart: ``task`` with ``{name}`` where *values* stand."""

    task: str
    values: dict[str, str]

    @property
    def meaning(self) -> Meaning | None:
        """What a semantic match may compare: the values of several words; None where there is none."""
        free = {name for name, value in self.values.items() if len(value.split()) >= _FREE_WORDS}
        if not free:
            return None
        fixed = [f"{name}={value}" for name, value in self.values.items() if name not in free]
        texts = [self.values[name] for name in self.values if name in free]
        if len(texts) > 1:
            # Where one ends and the next begins is no matter of wording.
            fixed.append(",".join([str(text.count("\n")) for text in texts]))
        return Meaning("\n".join(texts), (self.task, *fixed))


class Slots:
    """A template that can tell its own words from its values.

    It is rendered a second time with marks around every value. Where a block rewrites the text inside it (a macro, a
    filter block), or a value holds the marks, the prompt cannot be taken apart.
    """

    def __init__(self, text: str, where: str) -> None:
        self._plain = compile_template(text, where)
        tree = parse(text, expression=False)
        self._marked = None
        if next(tree.find_all(_REWRITTEN), None) is None:
            for output in tree.find_all(nodes.Output):
                output.nodes = [part for node in output.nodes for part in _marked(node)]
            tree.set_environment(sandbox())
            self._marked = sandbox().from_string(tree)

    def fill(self, values: Mapping[str, Any]) -> Filled | None:
        """The prompt for these values, taken apart; None where it cannot be.

        Raises:
            RowError: the prompt cannot be rendered.
        """
        text = self._plain.render(values)
        if self._marked is None or not _MARKS.isdisjoint(text):
            return None
        return _apart(self._marked.render(values))


def _marked(node: nodes.Expr) -> list[nodes.Expr]:
    if isinstance(node, nodes.TemplateData):
        return [node]
    opening = nodes.TemplateData(f"{_OPEN}{_name_of(node)}{_NAMED}", lineno=node.lineno)
    return [opening, node, nodes.TemplateData(_CLOSE, lineno=node.lineno)]


def _name_of(node: nodes.Expr) -> str:
    """What a reader would call the value."""
    if isinstance(node, nodes.Name):
        return "identifier" if node.name == "id" else node.name  # a packed prompt gives ids of its own
    if isinstance(node, nodes.Getattr):
        return f"{_name_of(node.node)}.{node.attr}"
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        return f"{_name_of(node.node)}.{node.arg.value}"
    if isinstance(node, (nodes.Filter, nodes.Test)) and node.node is not None:
        return _name_of(node.node)
    return "value"


def _apart(marked: str) -> Filled:
    first, *rest = marked.split(_OPEN)
    task, values = [first], dict[str, str]()
    for piece in rest:
        head, _, tail = piece.partition(_CLOSE)
        name, _, value = head.partition(_NAMED)
        number, place = 2, name
        while values.get(place, value) != value:
            place, number = f"{name}_{number}", number + 1
        values[place] = value
        task += ["{", place, "}", tail]
    return Filled("".join(task), values)

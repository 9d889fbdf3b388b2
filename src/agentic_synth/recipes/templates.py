"""Jinja templates and expressions in a sandbox, compiled once and rendered for every row.

The sandbox has no files, no imports and no private attributes, and refuses what would fill the memory at one stroke.
It keeps accidents away; it does not bound the time of a loop.
"""

from __future__ import annotations

import functools
import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple, NoReturn

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, meta, nodes
from jinja2.environment import Template as JinjaTemplate
from jinja2.exceptions import SecurityError
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

from agentic_synth.errors import RecipeError
from agentic_synth.recipes.near import listed, nearest

__all__ = [
    "RESERVED",
    "Expression",
    "RowError",
    "Template",
    "compile_expression",
    "compile_template",
    "parse",
    "sandbox",
]

MAX_SIZE: Final = 1_000_000
"""Characters or items that one operation of a template may make."""

_PLAIN: Final = frozenset({str, int, float, bool, type(None), dict, list})
_RESULT: Final = "__value__"
_OUTSIDE: Final = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
_WIDE: Final = re.compile(r"\d{7}|%[^a-zA-Z%]*\*")


class RowError(RecipeError):
    """A template or expression that is right in itself cannot be computed for the values of this row."""


class _Missing(StrictUndefined):
    """A name without a value; any use of it says which name, and what there is instead."""

    @property
    def _undefined_message(self) -> str:
        name = self._undefined_name
        if self._undefined_hint:
            return self._undefined_hint
        if self._undefined_obj is missing:
            return f"`{name}` has no value"
        if self._undefined_obj is None:
            return f"`{name}` was asked of a null value"
        if isinstance(self._undefined_obj, dict):
            keys = [str(key) for key in self._undefined_obj]
            return f"there is no `{name}`{nearest(str(name), keys) or listed(keys)}"
        return f"{_kind(self._undefined_obj)} has no `{name}`"


def _kind(value: object) -> str:
    words = {str: "a text", list: "a list", int: "a number", float: "a number", bool: "a boolean"}
    return words.get(type(value), type(value).__name__)


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, where a dict's own keys come before its methods and no single step fills the memory."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        if type(obj) is dict and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and isinstance(left, int) and isinstance(right, int):
            if left.bit_length() * abs(right) > MAX_SIZE:
                _refuse("**")
        elif operator == "*":
            for value, times in ((left, right), (right, left)):
                if isinstance(value, (str, list, tuple)) and isinstance(times, int) and len(value) * times > MAX_SIZE:
                    _refuse("*")
        elif operator == "%" and isinstance(left, str) and _WIDE.search(left):
            _refuse("%")
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        text = getattr(getattr(__obj, "__wrapped__", __obj), "__self__", None)
        if isinstance(text, str):
            _bounded(__obj.__name__, (*args, *kwargs.values()))
            if __obj.__name__.startswith("format") and _WIDE.search(text):
                _refuse("format")
        return super().call(__context, __obj, *args, **kwargs)


def _refuse(what: str) -> NoReturn:
    raise SecurityError(f"`{what}` would make more than {MAX_SIZE:,} characters or items")


def _bounded(what: str, arguments: tuple[Any, ...]) -> None:
    for argument in arguments:
        if isinstance(argument, int) and argument > MAX_SIZE:
            _refuse(what)


def _guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        _bounded(name, (*args[1:], *kwargs.values()))
        if name == "format" and _WIDE.search(str(args[0])):
            _refuse(name)
        return function(*args, **kwargs)

    return guarded


def _tojson(value: Any, indent: int | None = None) -> str:
    """JSON for a prompt: unlike Jinja's own filter it does not escape for HTML."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


@functools.cache
def sandbox() -> _Sandbox:
    """The one environment of all templates."""
    made = _Sandbox(undefined=_Missing, keep_trailing_newline=True, autoescape=False)
    for name in ("lipsum", "cycler", "joiner"):
        del made.globals[name]
    del made.filters["random"]  # a row's randomness comes from its seed alone
    for name in ("center", "indent", "batch", "slice", "format"):
        made.filters[name] = _guarded(name, made.filters[name])
    made.filters["tojson"] = _tojson
    return made


RESERVED: Final = frozenset(
    {"range", "dict", "namespace", "loop", "self", "super", "varargs", "kwargs", "caller"}
    | {"and", "or", "not", "in", "is", "if", "else", "true", "false", "none", "True", "False", "None"}
)
"""Words that mean something in a template already, so no column may be called so."""


class Template:
    """A text with places for the values of a row; *names* are the variables it reads."""

    __slots__ = ("_ready", "_text", "names", "where")

    def __init__(self, text: str, where: str) -> None:
        self.where = where
        self._text = text
        has_places = "{{" in text or "{%" in text or "{#" in text
        self._ready = _placed(text, where, expression=False) if has_places else None
        self.names: frozenset[str] = self._ready.names if self._ready else frozenset()

    def render(self, values: Mapping[str, Any]) -> str:
        """The text for these values.

        Raises:
            RowError: a value is missing, or an operation cannot be done with it.
        """
        ready = self._ready
        if ready is None:
            return self._text
        inner = ready.inner
        try:
            return "".join(inner.root_render_func(inner.new_context(values, ready.shared)))  # type: ignore[arg-type]
        except _RENDER_ERRORS as error:
            raise _failed(error, self.where) from error


class Expression:
    """A value computed from the values of a row; *names* are the variables it reads."""

    __slots__ = ("_ready", "names", "where")

    def __init__(self, text: str, where: str) -> None:
        self.where = where
        self._ready = _placed(text, where, expression=True)
        self.names = self._ready.names

    def evaluate(self, values: Mapping[str, Any]) -> Any:
        """The value itself, not its text; generators come as lists.

        Raises:
            RowError: a value is missing, or an operation cannot be done with it.
        """
        inner = self._ready.inner
        context = inner.new_context(values, self._ready.shared)  # type: ignore[arg-type]
        try:
            deque(inner.root_render_func(context), maxlen=0)
            value = context.vars[_RESULT]
            return value if type(value) in _PLAIN else _native(value)
        except _RENDER_ERRORS as error:
            raise _failed(error, self.where) from error


_ROW_ERRORS: Final = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError)
_RENDER_ERRORS: Final = (TemplateError, *_ROW_ERRORS)


def compile_template(text: str, where: str = "") -> Template:
    """Read *text* once; *where* begins the message of whatever goes wrong with it.

    Raises:
        RecipeError: the template cannot be read.
    """
    return Template(text, where)


def compile_expression(text: str, where: str = "") -> Expression:
    """Read the expression *text*, which stands without braces, once.

    Raises:
        RecipeError: the expression cannot be read.
    """
    return Expression(text, where)


class _Ready(NamedTuple):
    """A compiled text; *shared* says that it reads nothing but the row, so that the row's dict serves as it is."""

    inner: JinjaTemplate
    names: frozenset[str]
    shared: bool


def _placed(text: str, where: str, *, expression: bool) -> _Ready:
    try:
        return _ready(text, expression)
    except RecipeError as error:
        raise RecipeError(error.message, where=where, mend=error.mend) from None


@functools.lru_cache(maxsize=256)
def _ready(text: str, expression: bool) -> _Ready:
    """Compile *text*; a recipe is read more than once before it runs, and compiling is what takes the time."""
    tree = parse(text, expression)
    if next(tree.find_all(_OUTSIDE), None) is not None:
        mend = "Write the text into the recipe itself."
        raise RecipeError("a template cannot include, import or extend another one", mend=mend)
    try:
        names = frozenset(meta.find_undeclared_variables(tree))
        globals_ = sandbox().globals
        shared = not any(name.name in globals_ for name in tree.find_all(nodes.Name))
        return _Ready(sandbox().from_string(tree), names, shared)
    except TemplateSyntaxError as error:
        raise _unreadable(error) from None


def parse(text: str, expression: bool) -> nodes.Template:
    """The syntax tree of *text*.

    Raises:
        RecipeError: it cannot be read.
    """
    try:
        parser = Parser(sandbox(), text, state="variable" if expression else None)
        tree = _parse_expression(parser) if expression else parser.parse()
    except TemplateSyntaxError as error:
        mend = "An expression is written without braces: `price * 2`, not `{{ price * 2 }}`."
        raise _unreadable(error, mend if expression and "{{" in text else "") from None
    except RecursionError:
        raise RecipeError("the template is nested too deeply") from None
    tree.set_environment(sandbox())
    return tree


def _parse_expression(parser: Parser) -> nodes.Template:
    expression = parser.parse_expression()
    if not parser.stream.eos:
        parser.fail("there is more after the end of the expression", parser.stream.current.lineno)
    target = nodes.Name(_RESULT, "store", lineno=1)
    return nodes.Template([nodes.Assign(target, expression, lineno=1)], lineno=1)


def _unreadable(error: TemplateSyntaxError, mend: str = "") -> RecipeError:
    message = (error.message or "the template cannot be read").rstrip(".")
    unknown = re.fullmatch(r"No (filter|test) named '(\w+)'", message)
    if unknown and not mend:
        known = sandbox().filters if unknown[1] == "filter" else sandbox().tests
        message = f"there is no {unknown[1]} called `{unknown[2]}`"
        mend = nearest(unknown[2], known, sentence=True)
        if unknown[2] == "random":
            mend = "Draw it in a column of its own (`choice`), so that the same seed gives the same rows."
    return RecipeError(f"{message} (line {error.lineno} of the text)", mend=mend)


def _failed(error: BaseException, where: str) -> RowError:
    message = error.message if isinstance(error, TemplateError) and error.message else str(error)
    return RowError(message or type(error).__name__, where=where)


def _native(value: Any) -> Any:
    if isinstance(value, StrictUndefined):
        str(value)  # raises, and says which name it is
    if isinstance(value, (tuple, range, set, frozenset, Iterator)):
        return [_native(inner) for inner in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"the expression gives {type(value).__name__}, which is no JSON value")

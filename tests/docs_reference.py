"""Writes ``docs/reference/cli.md`` from the commands' own help: ``python -m tests.docs_reference``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from agentic_synth.cli.main import app
from agentic_synth.cli.outcome import ExitCode
from tests.docs_pages import ROOT

__all__ = ["CLI_PAGE", "cli_page", "sayings"]

CLI_PAGE = ROOT / "docs" / "reference" / "cli.md"

_HEAD = """\
# The command line

Written from `--help`; `python -m tests.docs_reference` writes it again after a change. `agentic-synth` is another name
of `synth`, for where something else is called so.

| exit code | means |
|---|---|
"""
_MEANINGS = {
    "DONE": "everything that was asked is there",
    "FAILED": "rows are missing, or the command failed",
    "USAGE": "the input is wrong, told before anything is asked: a flag, a setting, the recipe, a file",
    "BUDGET": "the budget is spent; the rows until then are kept",
    "INTERRUPTED": "Ctrl+C",
    "CLOSED": "the reader of stdout went away (`| head`): the run stopped at once, and not every row was written",
    "TERMINATED": "SIGTERM",
}


def cli_page() -> str:
    """The page as it should be."""
    codes = "".join(f"| {code.value} | {_MEANINGS[code.name]} |\n" for code in ExitCode)
    return f"{_HEAD}{codes}\n" + "\n".join(
        f"## {context.command_path}\n\n```text\n{_help(context)}\n```\n" for context in _contexts()
    )


def sayings() -> Iterator[str]:
    """What the page must say whichever way a version of Typer lays it out: names, options, and what they do."""
    for context in _contexts():
        yield f"## {context.command_path}"
        for parameter in context.command.params:
            yield from (name for name in parameter.opts if name.startswith("-"))
            yield " ".join((parameter.help or "").split())


def _contexts() -> Iterator[Any]:
    yield from _under(get_command(app), "synth", None)


def _under(command: Any, name: str, parent: Any) -> Iterator[Any]:
    """*command* and every command below it."""
    context = command.make_context(
        name, [], parent=parent, resilient_parsing=True, terminal_width=100, help_option_names=["-h", "--help"]
    )
    yield context
    for inner, child in getattr(command, "commands", {}).items():
        yield from _under(child, inner, context)


def _help(context: Any) -> str:
    return re.sub(r" +$", "", context.command.get_help(context), flags=re.MULTILINE).strip("\n")


if __name__ == "__main__":
    CLI_PAGE.write_text(cli_page(), "utf-8")

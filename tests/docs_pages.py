"""Reads the pages of the documentation and runs their fenced blocks as a user would, in an empty folder."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["ROOT", "Block", "Reader", "blocks_of", "links_of", "pages"]

ROOT = Path(__file__).parents[1]
ELSEWHERE = {"make", "pip", "uv", "git"}
"""Commands that need the network or a checkout; a line that begins with one is not run."""
PROVIDERS = ("openai", "openrouter", "ollama", "vllm")
"""What the pages name and the simulator can stand in for."""
SHOWN_URL = "http://127.0.0.1:8700"
FAILURE = re.compile(r"^(error|failed|interrupted|short): ", re.MULTILINE)

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"<!-- not run: .+ -->\n\Z")
_FILE = re.compile(r"# ([\w-]+\.(?:yaml|toml|py))\b")
_LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)#\s]*)(#[^)\s]*)?\)")

# Pages are read in a notebook's way: `await` may stand at the top.
_NOTEBOOK = """
import ast, asyncio, inspect, sys
source = open(sys.argv[1], encoding="utf-8").read()
code = compile(source, sys.argv[2], "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
names = {"__name__": "__main__"}
result = eval(code, names)
if inspect.iscoroutine(result):
    asyncio.run(result)
"""
# Every recipe of a page in one process: each is checked, and makes two rows without a model.
_RECIPES = """
import json, sys
import yaml
from agentic_synth import BlockingSynth
with BlockingSynth("offline") as synth:
    for line, text in json.load(sys.stdin):
        recipe = yaml.safe_load(text) | {"model": "offline"}
        seeds = [{"text": "A short text.", "name": "Ada", "city": "Rome"}] if "seeds" in recipe else None
        recipe.pop("seeds", None)
        try:
            rows = list(synth.generate(recipe, rows=2, seeds=seeds))
        except Exception as error:
            sys.exit(f"line {line}: {error}")
        if len(rows) != 2:
            sys.exit(f"line {line}: only {len(rows)} rows could be made")
"""


class Block(NamedTuple):
    """A fenced block: where it begins, what it is written in, and whether the page asks not to run it."""

    line: int
    language: str
    text: str
    is_run: bool

    @property
    def file(self) -> str | None:
        """The name in the block's first line, if it shows a file."""
        found = _FILE.match(self.text)
        return found[1] if found else None


def pages() -> list[Path]:
    """Every page that the reader of the repository may open."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    return [
        Block(text.count("\n", 0, match.start()) + 1, match[1], match[2], not _MARK.search(text[: match.start()]))
        for match in _FENCE.finditer(text)
    ]


def links_of(page: Path) -> list[tuple[str, str]]:
    """The links of a page to files of the repository, each with its fragment."""
    text = _FENCE.sub("", page.read_text("utf-8"))
    return [(link, fragment) for link, fragment in _LINK.findall(text) if ":" not in link]


class Reader:
    """Somebody who follows a page from its top, on a machine that never saw this program.

    Hosted and local providers are the simulator at *provider*; a ``synth simulate`` of the page runs until the end.
    """

    def __init__(self, folder: Path, provider: str) -> None:
        self.folder, home, bin_ = folder / "work", folder / "home", folder / "bin"
        for one in (self.folder, home / "synth", bin_):
            one.mkdir(parents=True)
        for name, module in (("synth", "-m agentic_synth.cli.main "), ("python", "")):
            (bin_ / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {module}"$@"\n')
            (bin_ / name).chmod(0o755)
        known = "".join(f'[upstreams.{name}]\nbase_url = "{provider}"\n' for name in PROVIDERS)
        (home / "synth" / "config.toml").write_text(known)
        self._environment = {
            "PATH": f"{bin_}:{os.defpath}",
            "HOME": str(home),
            "SYNTH_HOME": str(home / "synth"),
            "PYTHONPATH": str(ROOT / "src"),
            "PYTHONWARNINGS": "error",
            "PYTHONUNBUFFERED": "1",  # else what a page shows of stderr would come before its stdout
            "COLUMNS": "100",
            "LANG": "C.UTF-8",
        }
        self._simulators: list[subprocess.Popen[str]] = []
        self._urls: list[str] = []

    def follow(self, blocks: list[Block]) -> None:
        """Do what the blocks say, one after the other; an AssertionError names the line that is not true."""
        recipes = []
        for block in blocks:
            if block.file:
                (self.folder / block.file).write_text(self._placed(block.text), "utf-8")
            elif not block.is_run:
                continue
            elif block.language == "console":
                self._console(block)
            elif block.language == "python":
                self._python(block)
            elif block.language == "yaml":
                recipes.append((block.line, block.text))
        if recipes:
            self._run([sys.executable, "-c", _RECIPES], stdin=json.dumps(recipes))

    def close(self) -> None:
        """End the simulators."""
        for simulator in self._simulators:
            simulator.terminate()
            simulator.communicate()

    def _placed(self, text: str) -> str:
        """*text* with the port that the page's simulator really got."""
        return text.replace(SHOWN_URL, self._urls[-1]) if self._urls else text

    def _python(self, block: Block) -> None:
        script = self.folder.parent / "block.py"
        script.write_text(self._placed(block.text), "utf-8")
        keys = {f"{name.upper()}_API_KEY": "key" for name in ("openai", "anthropic") if f'"{name}/' in block.text}
        self._run([sys.executable, "-c", _NOTEBOOK, str(script), f"line {block.line}"], variables=keys)

    def _run(self, command: list[str], *, stdin: str = "", variables: dict[str, str] | None = None) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment | (variables or {}),
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=55,
            check=False,
        )
        assert not done.returncode, done.stdout
        return done.stdout

    def _console(self, block: Block) -> None:
        commands = [(line, command, shown) for line, command, shown in _commands(block) if self._is_here(command)]
        script = "exec 2>&1\n" + "".join(f"{command}\nprintf '\\036%d\\036' $?\n" for _, command, _ in commands)
        if not commands:
            return
        told = self._run(["bash", "-c", self._placed(script)]).split("\x1e")
        for (line, command, shown), output, code in zip(commands, told[::2], told[1::2], strict=False):
            where = f"line {line}: {command}\n{output}"
            assert "Traceback" not in output, where
            fails = bool(FAILURE.search(shown))
            assert (code != "0") == fails, f"exit code {code}, {where}"
            assert not shown or _is_like(output, shown), f"{where}\nis not:\n{shown}"

    def _is_here(self, command: str) -> bool:
        """Whether the command is to be run now; a simulator is started and left running."""
        words = shlex.split(command, comments=True)
        if words[:2] == ["synth", "simulate"] and "--help" not in words:
            self._simulate(words[2:])
            return False
        return words[0] not in ELSEWHERE

    def _simulate(self, arguments: list[str]) -> None:
        simulator = subprocess.Popen(
            [sys.executable, "-m", "agentic_synth.cli.main", "simulate", *arguments, "--port", "0"],
            cwd=self.folder,
            env=self._environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._simulators.append(simulator)
        assert simulator.stderr is not None
        line = simulator.stderr.readline()
        assert line.startswith("listening on "), line + simulator.stderr.read()
        self._urls.append(line.removeprefix("listening on ").strip().removesuffix("/v1"))


def _is_like(output: str, shown: str) -> bool:
    """Whether *output* is what is *shown*, where ``...`` stands for anything, and white space for any white space."""
    parts = (re.escape(part.strip()) for part in " ".join(shown.split()).split("..."))
    return re.fullmatch(".*".join(parts), " ".join(output.split()), re.DOTALL) is not None


def _commands(block: Block) -> Iterator[tuple[int, str, str]]:
    """The line, the command, and the output that the page shows of it."""
    parts = re.split(r"^\$ ", textwrap.dedent(block.text), flags=re.MULTILINE)
    assert not parts[0].strip(), f"line {block.line}: a console block begins with a command"
    line = block.line + 1 + parts[0].count("\n")
    for part in parts[1:]:
        lines = part.splitlines()
        last = next(number for number, text in enumerate(lines) if not text.endswith("\\"))
        yield line, "\n".join(lines[: last + 1]), "".join(f"{text}\n" for text in lines[last + 1 :]).strip("\n")
        line += part.count("\n")

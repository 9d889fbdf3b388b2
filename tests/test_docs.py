"""The documentation is true: its blocks run, its links lead somewhere, its tables say what the code says."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agentic_synth import errors
from agentic_synth.config import Config
from agentic_synth.providers import PROVIDERS
from agentic_synth.recipes.model import KINDS, ModelColumn, Recipe
from agentic_synth.recipes.samplers_fake import SHORT_NAMES
from agentic_synth.settings import FLAGS, VARIABLES, load_config
from agentic_synth.testing.serve import SimulatorProcess
from tests.docs_pages import ROOT, Reader, blocks_of, links_of, pages
from tests.docs_reference import CLI_PAGE, sayings

PAGES = {page.relative_to(ROOT).as_posix(): page for page in pages()}
WITH_BLOCKS = [name for name, page in PAGES.items() if any(block.language != "text" for block in blocks_of(page))]


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    with SimulatorProcess() as simulator:
        yield simulator.url


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the console blocks are for a POSIX shell")
@pytest.mark.parametrize("name", WITH_BLOCKS)
def test_blocks_run(name: str, tmp_path: Path, provider: str) -> None:
    reader = Reader(tmp_path, provider)
    try:
        reader.follow(blocks_of(PAGES[name]))
    finally:
        reader.close()


@pytest.mark.parametrize("name", PAGES)
def test_settings_shown_are_settings(name: str, tmp_path: Path) -> None:
    for block in blocks_of(PAGES[name]):
        if block.language == "toml":
            (tmp_path / "synth.toml").write_text(block.text)
            load_config(directory=tmp_path, environ={"SYNTH_HOME": str(tmp_path / "home")})


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    page = PAGES[name]
    for link, fragment in links_of(page):
        target = (page.parent / link).resolve() if link else page
        assert target.exists(), f"{link} is not there"
        if fragment:
            assert fragment[1:] in anchors_of(target), f"{link} has no {fragment}"


@pytest.mark.parametrize("name", PAGES)
def test_files_that_are_named_are_there(name: str) -> None:
    for path in re.findall(r"`((?:[\w*]+/)+[\w*]+\.\w+)`", PAGES[name].read_text("utf-8")):
        assert any(ROOT.glob(path)) or any(ROOT.glob(f"src/agentic_synth/{path}")), f"{path} is not there"


def anchors_of(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_on_the_map() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / link).resolve() for link, _ in links_of(index)}
    assert {page.resolve() for page in ROOT.glob("docs/**/*.md")} - {index.resolve()} <= linked


def test_the_command_line_is_described_as_it_is() -> None:
    page = " ".join(CLI_PAGE.read_text("utf-8").split())
    missing = [said for said in sayings() if said not in page]
    assert not missing, f"run `python -m tests.docs_reference`; docs/reference/cli.md does not say {missing}"


def test_every_setting_is_described_as_it_is() -> None:
    flags = FLAGS
    variables = {path: name for name, path in VARIABLES.items()}
    rows = dict(_table_rows("config.md", 5))
    assert rows.keys() == {key for key, _ in _settings(Config)}
    for key, default in _settings(Config):
        path = tuple(key.split("."))
        assert rows[key][:3] == [_code(default), _code(variables.get(path, "")), _code(flags.get(path, ""))], key


def test_every_provider_is_described_as_it_is() -> None:
    rows = dict(_table_rows("config.md", 4))
    assert rows.keys() == PROVIDERS.keys() - {"offline"}
    for name, provider in PROVIDERS.items():
        if name != "offline":
            key = ", ".join(map(_code, provider.key_variables)) if provider.key_required else "none needed"
            assert rows[name] == [_code(provider.base_url), key, ", ".join(map(_code, provider.base_url_variables))]


def test_every_error_is_described() -> None:
    assert dict(_table_rows("errors.md", 4)).keys() == set(errors.__all__) - {"SynthError", "Rejected", "UpstreamError"}


def test_every_word_of_a_recipe_is_described() -> None:
    page = PAGES["docs/recipes.md"].read_text("utf-8")
    fields = {field.alias or name for model in (Recipe, ModelColumn) for name, field in model.model_fields.items()}
    assert not [word for word in {*KINDS, *fields, *SHORT_NAMES} if not re.search(rf"`{word}`|\b{word}:", page)]


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    required = [
        *project["dependencies"],
        *(one for extra in project["optional-dependencies"].values() for one in extra),
    ]
    names = {re.split(r"[\[>=<; ]", one)[0] for one in required} - {"agentic-synth"}
    page = PAGES["docs/why.md"].read_text("utf-8")
    assert not [name for name in names if f"`{name}`" not in page]


def _table_rows(page: str, columns: int) -> Iterator[tuple[str, list[str]]]:
    """The rows of a reference page's tables with so many *columns*, by the code in their first cell."""
    for line in (ROOT / "docs" / "reference" / page).read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == columns:
            yield cells[0].strip("`"), cells[1:]


def _settings(kind: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every setting with its default, as TOML writes them."""
    for field in msgspec.structs.fields(kind):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from _settings(field.type, f"{prefix}{field.name}.")
        elif field.name not in ("prices", "upstreams"):
            default = "" if field.default in (None, ()) else msgspec.json.encode(field.default).decode()
            yield f"{prefix}{field.name}", default


def _code(text: str) -> str:
    return f"`{text}`" if text else ""

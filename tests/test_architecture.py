"""The tree keeps its shape: imports go downward, and nothing outgrows its size."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "agentic_synth"
CORE = {"types", "errors", "config", "settings", "clock", "ages", "stage", "stops", "providers", "upstreams"}
LAYERS: dict[str, int] = {
    **dict.fromkeys(CORE, 0),
    "data": 0,
    "policies": 1,
    **dict.fromkeys(["cache", "transport", "offline", "telemetry"], 2),
    "stages": 3,
    **dict.fromkeys(["sources", "sinks", "engine"], 4),
    **dict.fromkeys(["recipes", "evolve"], 5),
    "sdk": 6,
    "testing": 6,
    **dict.fromkeys(["cli", "server", "bench", "__init__"], 7),
}
MAY_IMPORT_TESTING = {"bench", "testing", "cli/simulate.py"}
FILES = sorted(ROOT.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("agentic_synth"):
            if node.module == "agentic_synth":
                yield from (alias.name for alias in node.names)
            else:
                yield node.module.removeprefix("agentic_synth.")
        elif isinstance(node, ast.Import):
            yield from (
                a.name.removeprefix("agentic_synth.") for a in node.names if a.name.startswith("agentic_synth.")
            )


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_downward(path: Path) -> None:
    mine = part_of(path)
    relative = path.relative_to(ROOT).as_posix()
    for name in imports(path):
        other = name.split(".")[0]
        if other == "__version__":
            continue
        assert other in LAYERS, f"{relative} imports {name}, which has no layer"
        if other == "testing":
            assert mine in MAY_IMPORT_TESTING or relative in MAY_IMPORT_TESTING
        elif mine == "stages" and other == "stages":
            assert name == f"stages.{path.stem}", f"{relative}: stages never import each other"
        elif mine != other and mine not in CORE:
            assert LAYERS[other] < LAYERS[mine] or mine == "__init__", (
                f"{relative} imports {name}, which is not below it"
            )
        elif mine in CORE:
            assert other in CORE, f"{relative} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_sizes(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 400, "split the module: one idea each"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 60, f"{path.name}:{node.lineno} {node.name} is too long"
        if isinstance(node, ast.ClassDef):
            public = [
                n for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) and n.name[0] != "_"
            ]
            assert len(public) <= 12, f"{path.name}: class {node.name} has {len(public)} public methods"


def test_nine_of_ten_functions_are_short() -> None:
    lengths = sorted(
        (node.end_lineno or 0) - node.lineno + 1
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    assert lengths[len(lengths) * 9 // 10] <= 35


def test_the_environment_is_read_in_one_place() -> None:
    readers = {
        path.relative_to(ROOT).as_posix()
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    }
    assert readers <= {"settings.py"}

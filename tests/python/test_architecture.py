"""architecture.md names every source file; files and functions are short; tests are named after sources."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TREES = {"The C++ tree": "cpp", "The Python tree": "python", "The tools tree": "tools"}
MAX_FILE, MAX_FUNCTION = 400, 60  # lines


def files(folder: str, *endings: str) -> list[Path]:
    """The files of a folder, without compiled ones."""
    found = [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return [path for path in found if path.suffix not in (".so", ".pyc") and (not endings or path.suffix in endings)]


def documented(title: str) -> list[str]:
    """The files in a tree; `engine.{h,cpp}` stands for two."""
    text = (ROOT / "docs/development/architecture.md").read_text()
    tree = text.split(f"## {title}\n", 1)[1].split("```\n", 1)[1].split("```", 1)[0]
    folder, names = "", []
    for line in tree.splitlines():
        name, _, what = line.strip().partition(" ")
        if not line.startswith(" "):
            folder = name
            continue
        assert what.strip(), f"{folder}{name} has no description"
        before, _, choices = name.partition("{")
        choices, _, after = choices.partition("}")
        names += [folder + before + choice + after for choice in choices.split(",")]
    return sorted(names)


@pytest.mark.parametrize("title", TREES)
def test_the_tree_names_every_file(title: str) -> None:
    assert documented(title) == sorted(str(path.relative_to(ROOT)) for path in files(TREES[title]))


@pytest.mark.parametrize("folder", ["cpp", "python", "tools", "tests", "examples"])
def test_files_are_short(folder: str) -> None:
    sources = files(folder, ".py", ".cpp", ".h", ".cu", ".c")
    assert sources
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources}
    assert {name: length for name, length in lengths.items() if length > MAX_FILE} == {}


def long_functions(path: Path) -> Iterator[str]:
    """Long functions without a comment that gives the reason."""
    text = path.read_text()
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or not node.end_lineno:
            continue
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        if node.end_lineno - node.lineno >= MAX_FUNCTION and not lines[first - 2].lstrip().startswith("# Long "):
            yield f"{path.relative_to(ROOT)}: {node.name}"


@pytest.mark.parametrize("folder", ["python", "tools", "tests", "examples"])
def test_functions_are_short(folder: str) -> None:
    assert [name for path in files(folder, ".py") for name in long_functions(path)] == []


def test_each_cpp_test_is_named_after_a_source() -> None:
    sources = [path.relative_to(ROOT / "cpp/src").with_suffix("") for path in (ROOT / "cpp/src").rglob("*.*")]
    names = {source.stem for source in sources} | {"_".join(source.parts[-2:]) for source in sources}
    names |= {folder.name for folder in (ROOT / "cpp/src/engines").iterdir() if folder.is_dir()}
    for test in (ROOT / "tests/cpp").glob("test_*.cpp"):
        subject = test.stem.removeprefix("test_")
        assert any(re.fullmatch(rf"{name}(_\w+)?", subject) for name in names), test.name

"""docs/development/architecture.md names every file of cpp/, and the C++ tests are named after what they test."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def documented() -> set[str]:
    """The files of the C++ tree; `engine.{h,cpp}` is two."""
    text = (ROOT / "docs/development/architecture.md").read_text()
    tree = text.split("## The C++ tree\n```\n", 1)[1].split("```", 1)[0]
    folder, files = "", set()
    for line in tree.splitlines():
        name, _, what = line.strip().partition(" ")
        if not line.startswith(" "):
            folder = name
            continue
        assert what.strip(), f"{folder}{name} has no description"
        stem, _, endings = name.partition("{")
        files |= {folder + stem + ending for ending in endings.rstrip("}").split(",")}
    return files


def test_the_tree_names_every_file() -> None:
    found = {str(path.relative_to(ROOT)) for path in (ROOT / "cpp").rglob("*") if path.is_file()}
    assert documented() == {path for path in found if "__pycache__" not in path}


def test_each_cpp_test_is_named_after_a_source() -> None:
    sources = [path.relative_to(ROOT / "cpp/src").with_suffix("") for path in (ROOT / "cpp/src").rglob("*.*")]
    names = {source.stem for source in sources} | {"_".join(source.parts[-2:]) for source in sources}
    names |= {folder.name for folder in (ROOT / "cpp/src/engines").iterdir() if folder.is_dir()}
    for test in (ROOT / "tests/cpp").glob("test_*.cpp"):
        subject = test.stem.removeprefix("test_")
        assert any(re.fullmatch(rf"{name}(_\w+)?", subject) for name in names), test.name

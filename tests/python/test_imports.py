"""Modules of the package import each other without cycles."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "python/yolort"


def modules() -> dict[str, Path]:
    """The modules by their names, also that in C++, whose stub it is; `yolort.tools` is another package."""
    names = {}
    for path in [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyi")]:
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        names[".".join(parts).removesuffix(".__init__")] = path
    return names


def imported(path: Path, known: set[str]) -> set[str]:
    """The modules that a file imports, also in functions and for type checkers. Importing a module from a package
    counts as importing the module, not the package.
    """
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.add(name if name in known else str(node.module))
    return found & known


def test_imports_have_no_cycle() -> None:
    files = modules()
    assert {"yolort", "yolort.detector", "yolort.serve.app"} <= files.keys()
    graph = {name: imported(path, set(files)) for name, path in files.items()}
    assert "yolort.batcher" in graph["yolort.stream"]
    TopologicalSorter(graph).prepare()  # CycleError names the cycle

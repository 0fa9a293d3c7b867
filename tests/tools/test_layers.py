"""Which packages of `yolort.tools` may import which; docs/development/architecture.md states the rule."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "tools"
#: A package imports only packages in the lines above. `demo` generates its own data and trains with Ultralytics.
LAYERS = (("data", "models", "demo"), ("train", "evaluate"), ("export",), ("quantize", "prune"), ("search",))
PACKAGES = {package for layer in LAYERS for package in layer}


def imported(file: Path) -> set[str]:
    """The packages of `yolort.tools` that a file imports, also within functions; "" is `yolort.tools` itself."""
    out = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "yolort.tools":
            names = [f"yolort.tools.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        out |= {name.split(".")[2] for name in names if name.startswith("yolort.tools.")}
    return out


def test_every_package_is_in_a_layer() -> None:
    assert {file.parent.name for file in TOOLS.glob("*/__init__.py")} == PACKAGES


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_a_package_imports_only_those_below_it(package: str) -> None:
    below: set[str] = set()
    for layer in LAYERS:
        if package in layer:
            break
        below |= set(layer)
    for file in (TOOLS / package).glob("*.py"):
        above = {name for name in imported(file) if not name.startswith("_")} - below - {package}
        assert not above, f"{file.relative_to(ROOT)} imports {', '.join(sorted(above))}"


def test_shared_modules_import_no_package() -> None:
    for file in TOOLS.glob("_*.py"):
        if file.name != "__init__.py":
            assert not imported(file) & PACKAGES, file.name


def test_architecture_states_the_layers() -> None:
    stated = " < ".join(", ".join(layer) for layer in LAYERS)
    assert f"`{stated}`" in (ROOT / "docs/development/architecture.md").read_text()

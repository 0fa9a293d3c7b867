"""Old module paths of `yolort.tools`, and names of the package that are imported on first use."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import yolort.tools
from yolort.tools import _moved

PACKAGES = ("", ".data", ".demo", ".evaluate", ".export", ".models", ".prune", ".quantize", ".search", ".train")


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("old", _moved.MODULES)
def test_an_old_path_has_the_names_of_the_new_module_and_warns(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for extra in ("torch", "ultralytics", "onnx", "onnxruntime", "optuna", "typer"):
        pytest.importorskip(extra)
    monkeypatch.delitem(sys.modules, f"yolort.tools.{old}", raising=False)
    with pytest.warns(DeprecationWarning, match=rf"yolort\.tools\.{old} is n") as caught:
        module = importlib.import_module(f"yolort.tools.{old}")
    assert len(caught) == 1
    for path in _moved.MODULES[old]:
        new = importlib.import_module(f"yolort.tools.{path}")
        for name in new.__all__:
            assert getattr(module, name) is getattr(new, name)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = module.no_such_name


def test_statements_that_import_old_paths() -> None:
    pytest.importorskip("torch")
    program = """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("default")
    import yolort.tools.val
    from yolort.tools.val import validate
    from yolort.tools.study import study
assert yolort.tools.val.validate is validate is yolort.tools.validate
assert study is yolort.tools.sweep
assert [entry.filename for entry in caught] == ["<string>", "<string>"], caught
"""
    run(program)


def test_importing_the_package_imports_no_toolchain() -> None:
    heavy = "{'torch', 'onnx', 'onnxruntime', 'ultralytics', 'cv2', 'optuna'}"
    packages = ", ".join(f"yolort.tools{package}" for package in PACKAGES)
    assert run(f"import sys, {packages}; dir(yolort.tools); print(sorted({heavy} & sys.modules.keys()))") == "[]"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_is_there_and_known_to_type_checkers(package: str) -> None:
    for extra in ("torch", "ultralytics", "onnx", "onnxruntime", "optuna", "typer"):
        pytest.importorskip(extra)
    module = importlib.import_module(f"yolort.tools{package}")
    table: dict[str, str] = vars(module)["_exported"]
    for name, holder in table.items():
        assert getattr(module, name) is getattr(importlib.import_module(f".{holder}", module.__name__), name)
        assert name in dir(module)
    seen = {
        alias.asname: node.module
        for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    assert seen == {name: importlib.util.resolve_name(f".{holder}", module.__name__) for name, holder in table.items()}


def test_a_function_is_not_hidden_by_the_module_of_its_name() -> None:
    pytest.importorskip("torch")
    program = """
import yolort.tools.prune.prune, yolort.tools.train.distill
from yolort.tools import distill, prune, train
assert all(callable(entry) for entry in (distill, prune, train, yolort.tools.prune, yolort.tools.quantize))
"""
    run(program)


def test_own_code_uses_the_new_paths() -> None:
    root = Path(yolort.tools.__path__[0])
    files = [*root.rglob("*.py"), *Path(yolort.__file__).parent.rglob("*.py"), *Path(__file__).parent.rglob("*.py")]
    old = {f"yolort.tools.{name}" for name in _moved.MODULES}
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                assert node.module not in old or file == Path(__file__), f"{file}, line {node.lineno}"

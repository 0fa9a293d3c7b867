"""The documentation: all pages are linked, and the reference contains every public name, command and variable."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import yolort

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """docs/generate.py, which generates the pages that are not in docs/."""
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def reference(page: str) -> str:
    return (DOCS / "reference" / page).read_text(encoding="utf-8")


def test_every_page_is_reached_by_links_and_in_the_navigation(generate: ModuleType) -> None:
    pages = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    reached, waiting = set[str](), ["index.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        if page in generate.PAGES:
            continue
        for link in re.findall(r"\]\(([^)#:]+\.md)", (DOCS / page).read_text(encoding="utf-8")):
            waiting.append(str((DOCS / page).parent.joinpath(link).resolve().relative_to(DOCS)))
    assert reached == pages | set(generate.PAGES)
    assert set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text())) == reached


def test_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)[)#]", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_python_reference_has_every_public_name() -> None:
    assert set(re.findall(r"^::: yolort\.(\w+)$", reference("python.md"), re.MULTILINE)) == set(yolort.__all__)


def test_the_tools_reference_has_every_function() -> None:
    text = (ROOT / "tools/__init__.py").read_text()
    public = set(re.findall(r"^ {4}from yolort\.tools\.\w+ import (\w+) as \1$", text, re.MULTILINE))
    assert set(re.findall(r"heading: yolort\.tools\.(\w+)", reference("tools.md"))) == public
    for module in re.findall(r"^::: yolort\.tools\.([\w.]+)\.\w+$", reference("tools.md"), re.MULTILINE):
        assert (ROOT / "tools" / f"{module.replace('.', '/')}.py").is_file()


def test_the_command_line_reference_has_every_command_and_option(generate: ModuleType) -> None:
    pytest.importorskip("typer")
    from yolort.cli.main import app

    page = generate.cli_page()
    commands = [it for it in app().registered_commands if it.callback and not it.hidden]
    assert re.findall(r"^## yolort (\w+)$", page, re.MULTILINE) == [
        it.name or it.callback.__name__ for it in commands if it.callback
    ]
    assert "| `--max-det INTEGER` |" in page
    assert "| `--json` | Print one JSON object" in page
    assert not re.findall(r"^\| `\S.*` +\|  \|$", page, re.MULTILINE)  # each has a description


@pytest.mark.parametrize("header", ["c.h", "yolort.h"])
def test_the_references_of_c_and_cpp_have_every_declaration(generate: ModuleType, header: str) -> None:
    text = (ROOT / "cpp/include/yolort" / header).read_text()
    page = generate.PAGES[f"reference/{'c' if header == 'c.h' else 'cpp'}.md"]()
    code = "\n".join(re.findall(r"^```\w+\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    body = text.split("#pragma once\n")[1]
    declared = [
        line for line in body.splitlines() if re.match(r"(YOLORT_API|struct|class|enum|typedef|#define| {2})", line)
    ]
    assert declared
    assert [line for line in declared if line not in code] == []
    assert "### ``" not in page


def test_the_page_of_environment_variables_has_all_that_are_read() -> None:
    sources = [path for folder in ("cpp", "python", "tools") for path in (ROOT / folder).rglob("*.*")]
    text = "\n".join(path.read_text() for path in sources if path.suffix in (".cpp", ".h", ".py"))
    documented = re.findall(r"^\| `(YOLORT_\w+)` \|", reference("environment.md"), re.MULTILINE)
    assert sorted(documented) == sorted(set(re.findall(r'"(YOLORT_[A-Z_]+)"', text)))

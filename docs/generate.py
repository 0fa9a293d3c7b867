"""Generates the reference pages for the command line, C++ and C from the sources when the site is built.

A hook of MkDocs (mkdocs.yml). The pages are never written into docs/.
"""

from __future__ import annotations

import inspect
import re
import textwrap
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HEADERS = Path(__file__).parents[1] / "cpp/include/yolort"

#: The placeholder for an option's value, by type.
_VALUES = {int: "INTEGER", float: "NUMBER", Path: "PATH"}
#: Patterns for the name of a C or C++ declaration; the first match is used.
_NAMES = [
    r"#define (\w+)",
    r"^} (\w+);",
    r"typedef (?:struct )?\w+ (\w+);",
    r"(?:struct|class) (?:YOLORT_API )?(\w+)",
    r"enum class (\w+)",
    r"using (\w+)",
    r"(\w+)\(",
]


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages to those of the site."""
    from mkdocs.structure.files import File

    for path, write in PAGES.items():
        files.append(File.generated(config, path, content=write()))
    return files


def cli_page() -> str:
    """Every command with its arguments and options, from the command-line functions."""
    from yolort.cli.main import app

    group = app()
    help_text = group.registered_callback.help if group.registered_callback else ""
    out = ["# Command line", "", str(help_text), "", "`yolort --version` prints the version.", ""]
    for command in group.registered_commands:
        if command.callback is None or command.hidden:
            continue
        name = command.name or command.callback.__name__
        rows = list(_parameters(command.callback))
        usage = " ".join(
            [f"yolort {name}", *(spelling for spelling, _ in rows if not spelling.startswith("-")), "[OPTIONS]"]
        )
        out += [f"## yolort {name}", "", _prose(inspect.cleandoc(command.callback.__doc__ or "")), ""]
        out += ["```sh", usage, "```", ""]
        out += ["| | |", "|---|---|"] if rows else []
        out += [f"| `{spelling}` | {text} |" for spelling, text in rows] + [""]
    return "\n".join(out)


def _parameters(command: Callable[..., Any]) -> Iterator[tuple[str, str]]:
    """(spelling, description) of each argument and option, in Markdown."""
    import typer.models

    hints = typing.get_type_hints(command, include_extras=True)
    for name, parameter in inspect.signature(command).parameters.items():
        kind, info = typing.get_args(hints[name])
        if info.hidden:
            continue
        plain = kind.__args__[0] if isinstance(kind, types.UnionType) else kind
        required = parameter.default is inspect.Parameter.empty
        if isinstance(info, typer.models.ArgumentInfo):
            spelling = name.upper() + ("..." if typing.get_origin(plain) is list else "")
            spelling = spelling if required else f"[{spelling}]"
        else:
            dashed = "--" + name.replace("_", "-")
            names = [name for name in (info.default, *(info.param_decls or ())) if isinstance(name, str)]
            spelling = ", ".join(names or [f"{dashed}/--no-{dashed[2:]}" if plain is bool else dashed])
            value = typing.get_args(plain)[0] if typing.get_origin(plain) is list else plain
            spelling += "" if plain is bool else f" {_VALUES.get(value, 'TEXT')}"
        text = _prose(info.help or "").replace("|", "\\|")
        if not required and parameter.default not in (None, False, True):
            text += f" Default: `{parameter.default}`."
        yield spelling, text


def header_page(title: str, header: str, intro: str) -> str:
    """A public header: its comments as text, its declarations as code."""
    text = (HEADERS / header).read_text(encoding="utf-8")
    language = "c" if header == "c.h" else "cpp"
    preamble, _, body = text.partition("#pragma once\n")
    out = [f"# {title}", "", intro, "", *_preamble(preamble), ""]
    for comment, code in _declarations(body):
        section = re.fullmatch(r"---- (.+) ----", comment)
        if section:
            out += [f"## {section[1].capitalize()}", ""]
            continue
        out += [f"### `{_name(code)}`", "", _prose(comment), "", f"```{language}", code, "```", ""]
    return "\n".join(out)


def _preamble(comment: str) -> Iterator[str]:
    """The comment at the top of a header, whose indented paragraphs are code."""
    text = re.sub(r"^(/\*|//| \*/?) ?", "", comment, flags=re.MULTILINE)
    for paragraph in text.strip("\n").split("\n\n"):
        if paragraph.startswith("  "):
            yield f"```cpp\n{textwrap.dedent(paragraph)}\n```\n"
        else:
            yield re.sub(r":\n- ", ":\n\n- ", _prose(paragraph)) + "\n"


def _declarations(body: str) -> Iterator[tuple[str, str]]:
    """(comment, declaration) of every top-level declaration, in order."""
    comment: list[str] = []
    code: list[str] = []
    for line in body.splitlines():
        if not code and re.match(r"#include|#ifdef|#endif|extern \"C\"|namespace|}|$", line):
            continue
        if not code and (re.match(r"/\*|///| \*", line)):
            comment.append(re.sub(r"^(?:/\*|///| \*) ?|\s*\*/$", "", line))
            if re.search(r"---- \*/$", line):
                yield comment.pop(), ""
            continue
        code.append(line)
        if _complete(code):
            yield " ".join(comment).strip(), "\n".join(code)
            comment, code = [], []


def _complete(code: list[str]) -> bool:
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", "\n".join(code), flags=re.DOTALL)
    ended = text.rstrip().endswith((";", "}")) or code[0].startswith("#define")
    return ended and all(text.count(a) == text.count(b) for a, b in ("{}", "()"))


def _name(code: str) -> str:
    if code.startswith("enum {"):
        return ", ".join(re.findall(r"(YOLORT_\w+) =", code))
    return next((found[1] for name in _NAMES if (found := re.search(name, code, re.MULTILINE))), "")


def _prose(text: str) -> str:
    """Converts text to Markdown: escapes special characters except between backticks."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([*_<\[\]])", r"\\\1", part) for part in parts)


#: The generated pages: path below docs/, and generator.
PAGES: dict[str, Callable[[], str]] = {
    "reference/cli.md": cli_page,
    "reference/cpp.md": lambda: header_page(
        "C++",
        "yolort.h",
        "`#include <yolort/yolort.h>`, namespace `yolort`. [The guide](../guide/cpp.md) shows how to build with it.",
    ),
    "reference/c.md": lambda: header_page(
        "C",
        "c.h",
        "`#include <yolort/c.h>`. [The guide](../guide/cpp.md) shows how to build with it and how to bind it.",
    ),
}

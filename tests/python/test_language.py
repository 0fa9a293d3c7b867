"""Phrases that readers had to read twice, and old names, stay out of the tree; help texts begin with a noun."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Each was replaced by plainer words; text is compared without its line breaks and comment signs.
PHRASES = """
activations by the range of each image
are therefore not told
at most so many
box for box
by default as the target is best
crosses the border
fewer answer sooner
gives an object at most one box
has a precision of its own
has no arithmetic and does not pay
in the server at a time
keeps the shortest beginning
may stand often
no trial begins after
of all that is random
one of the looks at
only within the budget, and only where
parts are claimed by whoever
ratios hold along
reach the ratio in so many
same names and other layouts
says of itself
says so where it sets
silu is then a table
stop after so many
tells nothing of accuracy
that takes longer has failed
the comparison is one of budgets
the gil comes on
the luck of the images
the search was written on the way
threads do not come along
told by three seeds
what 16 bits lose, they lose
what comes together runs together
what detector will be given
what follows from them is not measured
what int8 has to hold
what is beyond is cut off
what is to differ
what it bears
what predict takes
what still writes it is waited
what was calibrated; for ncnn
where the cpu multiplies it
"""
#: Names that were given up for those of the glossary.
OLD_NAMES = r"\b(every_class|wanted_|_LeftBehind)\b"
TEXT = (".py", ".pyi", ".cpp", ".h", ".cu", ".c", ".md", ".html", ".toml", ".txt", ".sh", ".yml", ".cmake")


def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("needs the repository: lists the tracked files with git")
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    paths = [ROOT / name for name in names if name.endswith(TEXT)]
    return [path for path in paths if path.is_file() and path != Path(__file__).resolve()]


def as_prose(text: str) -> str:
    """Lower case, in one line, without the signs that begin a line of a comment or join two literals."""
    return re.sub(r"\s+", " ", re.sub(r"\"?\n\s*(?:#:?|//[/<]*|\*|\")?", " ", text)).lower()


def test_phrases_that_were_read_twice_are_gone() -> None:
    phrases = PHRASES.strip().splitlines()
    found = []
    for path in tracked():
        text = as_prose(path.read_text(encoding="utf-8"))
        found += [f"{path.relative_to(ROOT)}: {phrase}" for phrase in phrases if phrase in text]
    assert found == []


def test_old_names_are_gone() -> None:
    paths = [path for path in tracked() if path.name != "CHANGELOG.md"]
    assert [str(path) for path in paths if re.search(OLD_NAMES, path.read_text(encoding="utf-8"))] == []


def test_help_texts_begin_with_what_they_set() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "python/yolort/cli").glob("*.py"))
    assert len(re.findall(r"help=", sources)) > 100
    assert re.findall(r"help=\(?\s*\"Of .*", sources) == []

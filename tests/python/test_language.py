"""Phrases that readers had to read twice, and old names, stay out of the tree; help texts begin with a noun."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
from yolort.cli.main import app

ROOT = Path(__file__).parents[2]

#: Each was replaced by plainer words; text is compared without its line breaks and comment signs.
PHRASES = """
0: any that is free
a hidden buffer for every thread
a trial that takes longer has failed
a view gives an object at most one box
activations by the range of each image
and a batch of images a worker
are therefore not told
at most so many
bf16 where the cpu multiplies it
box for box
by default as the target is best
crosses the border
each from the teacher's of the same kind
earlier ones counted
equal views give what one of them gives
fewer answer sooner
for ncnn its *_ncnn_model
has a precision of its own
has no arithmetic and does not pay
holds for one processor with one number of cores
images of one run, of --dynamic
in the server at a time
is added without changing it
it is an exception that says what
keeps the shortest beginning
keeps the type that the text has
left beside `built` or as it
lose equally many channels
makes each convolution alone int8
may stand often
mib that one layer may take
no trial begins after
of a host image that is shrunk
of all that is random
of each where it runs
of ray; default: one a node
of the focal loss; 0
on a core each waste less
one of the looks at
only the rows that are looked at
only where none of the four is given
only within the budget, and only where
ours are cut at the raw convolutions
parts are claimed by whoever
rate limits a client
ratios hold along
reach the ratio in so many
recommended: the second
same names and other layouts
says of itself
says so where it sets
silu is then a table
slow clients in numbers
so that memory stays below
speeds are therefore not told
stop after so many
take 0.7 ms, against 3.5 ms
takes more where that is less
tells nothing of accuracy
ten bits of a factor's mantissa
that takes longer has failed
that their metadata tell
the comparison is one of budgets
the gil comes on
the image, but for its rows
the luck of the images
the ratio is that before rounding
the search was written on the way
the way of an image
then what is to differ
threads do not come along
told by three seeds
ultralytics loads the second
under overload latency is `--max-requests` by
wants one behind every operator
what 16 bits lose, they lose
what became of it is printed
what comes together runs together
what detector will be given
what follows from them is not measured
what int8 has to hold
what is beyond is cut off
what is not int8 in it
what is to differ
what it bears
what predict takes
what still writes it is waited
what they make in the same folder
what trains is told
what was calibrated; for ncnn
where maps do not fit
where the cpu multiplies it
with the part that it has in the loss
would be read past it
writes outside its memory
"""
#: Names that were given up for those of the glossary.
OLD_NAMES = r"\b(every_class|wanted_|_LeftBehind|cuda::Run)\b|^class (Lab|Store|Opened|Halves|Unit)\b|\bdef forms\("
#: Modules of the tools that have other names now.
OLD_FILES = {"engine.py", "accuracy.py", "baseline.py", "files.py", "store.py", "jobs.py", "libraries.cpp"}
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
    found = [str(path) for path in paths if re.search(OLD_NAMES, path.read_text(encoding="utf-8"), re.MULTILINE)]
    assert found == []


def test_old_files_are_gone() -> None:
    paths = [path.relative_to(ROOT) for path in tracked()]
    assert [str(path) for path in paths if path.name in OLD_FILES and path.parts[0] in ("cpp", "tools")] == []


def test_help_texts_begin_with_what_they_set() -> None:
    command: Any = typer.main.get_command(app())
    helps = {f"{name} {it.opts[0]}": it.help for name, sub in command.commands.items() for it in sub.params if it.help}
    assert len(helps) > 200
    assert [f"{option}: {text}" for option, text in helps.items() if re.match("of |what |only ", text.lower())] == []

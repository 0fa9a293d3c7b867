"""Where the files of a data set lie: what a description says, and where people have it instead."""

from __future__ import annotations

import errno
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from yolort.images import below, is_image, left_out
from yolort.tools.data.samples import LabelError, read_text

__all__ = ["check_length", "images_of", "label_files", "roots_of", "spellings"]


def spellings(path: str) -> list[str]:
    """A path as it is written, and, with the separators of Windows, as it would be written here."""
    return [path, path.replace("\\", "/")] if "\\" in path else [path]


def roots_of(description: Path, base: str) -> list[Path]:
    """The folders that the paths of a data.yaml may be relative to; `base` is its `path`.

    Beside the file, the working folder, and of a `path` that is in neither Ultralytics' `datasets_dir`.
    """
    roots = [folder / text for folder in (description.parent, Path()) for text in spellings(base)]
    for root in roots:
        check_length(description, root)
    if not base or any(root.exists() for root in roots):
        return roots
    from ultralytics.utils import DATASETS_DIR

    return [*roots, *(Path(DATASETS_DIR) / text for text in spellings(base))]


def images_of(description: Path, entry: str, roots: Sequence[Path]) -> list[Path]:
    """The images that an entry of a description means: of a folder and those below it, or of a list in a .txt.

    Raises:
        FileNotFoundError: nothing is there; names the places that were tried.
        LabelError: it is neither.
    """
    places = list(dict.fromkeys(_places(entry, roots)))
    for place in places:
        check_length(description, place)
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise FileNotFoundError(f"{description}: '{entry}' is not there; looked for {', '.join(map(str, places))}")
    if found.is_dir():
        entries = list(below(found))
        if unread := left_out(entries):
            warnings.warn(f"{found}: {unread}", stacklevel=2)
        return [file for file in entries if is_image(file)]
    if found.suffix.lower() != ".txt":
        raise LabelError(f"{description}: '{entry}' is neither a folder nor a .txt of image paths")
    return _listed(found, roots)


def _places(entry: str, roots: Sequence[Path]) -> Iterator[Path]:
    for text in spellings(entry):
        yield from (root / text for root in roots)
        if text.startswith("../"):  # Roboflow's, of files that lie beside data.yaml; Ultralytics reads it so, too
            yield from (root / text[3:] for root in roots)


def _listed(file: Path, roots: Sequence[Path]) -> list[Path]:
    """The images of a list, whose paths are relative to the list, to the data set or to the working folder."""
    lines = [line for line in map(str.strip, read_text(file).splitlines()) if line]
    for line in lines:
        if len(line) > 60:  # of up to 4 bytes a character; no shorter one is too long
            check_length(file, file.parent / line)
    spelt = [lines, [line.replace("\\", "/") for line in lines]] if any("\\" in line for line in lines) else [lines]
    choices = [[base / line for line in texts] for texts in spelt for base in (file.parent, *roots, Path())]
    return next((paths for paths in choices if any(path.is_file() for path in paths)), choices[0])


def label_files(images: Sequence[Path]) -> list[Path]:
    """The label file of each image; one that is not there means an image without objects.

    Ultralytics' rule: the last folder `images` of the path becomes `labels`, and the ending .txt. If that file is not
    there, the rule is applied to the path without links. If no image has labels by it, they lie beside the images.
    """
    files = []
    for image in images:
        file = _by_rule(image)
        check_length(image.parent, file)
        if not file.exists() and image.is_file() and (linked := _by_rule(image.resolve())).exists():
            file = linked
        files.append(file)
    if not any(file.exists() for file in files):
        beside = [image.with_suffix(".txt") for image in images]
        if any(file.exists() for file in beside):
            return beside
    return files


def _by_rule(image: Path) -> Path:
    parts = list(image.parts)
    for at in range(len(parts) - 2, -1, -1):
        if parts[at] == "images":
            parts[at] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def check_length(named_in: Path, path: Path) -> None:
    """LabelError for a path that is too long for the system, whose own error names no file that says it."""
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            text = str(path)
            raise LabelError(
                f"{named_in}: the path '{text[:40]}...{text[-20:]}' of {len(text)} characters is too long"
            ) from None
    except ValueError:  # no path at all, and so not there
        pass

"""Locates the files of a dataset: where the description says, and in common other places."""

from __future__ import annotations

import errno
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from yolort.images import below, is_image, left_out
from yolort.tools.data.samples import LabelError, read_text

__all__ = ["check_length", "images_of", "label_files", "roots_of", "spellings"]


def spellings(path: str) -> list[str]:
    """A path as written, and if it has Windows separators, with those of this system."""
    return [path, path.replace("\\", "/")] if "\\" in path else [path]


def roots_of(description: Path, base: str) -> list[Path]:
    """The folders that paths in a data.yaml may be relative to: the file's folder and the working folder; if its `path`
    (`base`) is in neither, Ultralytics' `datasets_dir`.
    """
    roots = [folder / text for folder in (description.parent, Path()) for text in spellings(base)]
    for root in roots:
        check_length(description, root)
    if not base or any(root.exists() for root in roots):
        return roots
    from ultralytics.utils import DATASETS_DIR

    return [*roots, *(Path(DATASETS_DIR) / text for text in spellings(base))]


def images_of(description: Path, entry: str, roots: Sequence[Path]) -> list[Path]:
    """The images of an entry: those in a folder and its subfolders, or in a .txt list.

    Raises:
        FileNotFoundError: it does not exist; names the places that were tried.
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
        if text.startswith("../"):  # written by Roboflow for files beside data.yaml; Ultralytics accepts it, too
            yield from (root / text[3:] for root in roots)


def _listed(file: Path, roots: Sequence[Path]) -> list[Path]:
    """The images of a list with paths relative to the list, the dataset or the working folder."""
    lines = [line for line in map(str.strip, read_text(file).splitlines()) if line]
    for line in lines:
        if len(line) > 60:  # characters have up to 4 bytes, so shorter paths are never too long
            check_length(file, file.parent / line)
    spelt = [lines, [line.replace("\\", "/") for line in lines]] if any("\\" in line for line in lines) else [lines]
    choices = [[base / line for line in texts] for texts in spelt for base in (file.parent, *roots, Path())]
    return next((paths for paths in choices if any(path.is_file() for path in paths)), choices[0])


def label_files(images: Sequence[Path]) -> list[Path]:
    """The label file of each image; a missing file means no objects.

    Ultralytics' rule: the last folder `images` in the path becomes `labels`, with the ending .txt. If that file does
    not exist, the rule is applied to the path with links resolved. If no image has labels by this rule, they are beside
    the images.
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
    """Raises LabelError for a path that is too long for the system; the system's error would not name the file that
    lists it.
    """
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            text = str(path)
            raise LabelError(
                f"{named_in}: the path '{text[:40]}...{text[-20:]}' of {len(text)} characters is too long"
            ) from None
    except ValueError:  # not a valid path, so it does not exist
        pass

"""Writes all outputs: each appears whole or not at all, and replaces only what yolort wrote.

    check("out.json", sources=[model])           # before the work: fails early
    with writing("out.json", sources=[model]) as built:
        built.write_text(...)                     # renamed to out.json at the end of the block

A file may be replaced if it is empty or carries `MARK`, unless it is a part of a folder that was written as a whole; a
folder if its manifest lists every file in it, unchanged.
Devices, pipes and standard output are written to directly. A result that cannot be put in its place is kept, and the
error says where.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias

try:
    import fcntl
except ImportError:  # Windows: leftovers of killed processes are not removed
    fcntl = None  # type: ignore[assignment]

#: Every file that a later run may replace contains this in its first or last 64 KiB.
MARK = "written by yolort"

PathLike: TypeAlias = "str | os.PathLike[str]"

_EDGE = 1 << 16
_MANIFEST = ".yolort.json"  # in a folder: {"writer": MARK, "files": {name: SHA-256}}
_MAX_MANIFEST = 1 << 20
_LOCK = ".yolort-lock"  # in a work folder; locked while its process lives
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}


def check(target: PathLike, *, sources: Iterable[PathLike] = (), folder: bool = False, update: bool = False) -> None:
    """Raises if an output must not be written there.

    Args:
        target: the output; its parent folder must exist.
        sources: what the work reads; a source must be neither the target nor in it. Missing ones are ignored.
        folder: the output is a folder, else a file.
        update: the user asked to replace this file, even if yolort did not write it.

    Raises:
        FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError: the path cannot be written.
        FileExistsError: the existing file is a source, or was not written by yolort.
    """
    _check(Path(target), _identities(sources), folder, update)


def _check(path: Path, sources: dict[tuple[int, int], Path], folder: bool, update: bool) -> None:
    if _is_stream(path):
        if folder:
            raise NotADirectoryError(f"{path} is a device or a pipe, but the output is a folder")
        _check_source(path, path.stat(), sources)
        return
    place = _resolved(path)
    if place.is_symlink():
        raise FileExistsError(f"{path} is a link to itself; choose another output")
    if not place.parent.is_dir():
        raise FileNotFoundError(f"no such folder: {place.parent}")
    if not os.access(place.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"cannot write to folder {place.parent}; choose another output")
    if not place.exists():
        return
    _check_source(path, place.stat(), sources)
    if place.is_dir() and (within := [source for source in sources.values() if place in _resolved(source).parents]):
        raise FileExistsError(f"{path} contains the input {within[0]}; choose another output")
    if place.is_dir() != folder:
        raise (NotADirectoryError if folder else IsADirectoryError)(
            f"{path} is a {'file, but the output is a folder' if folder else 'folder, but the output is a file'}"
        )
    if folder and (foreign := _foreign(place)):
        some = ", ".join(foreign[:3]) + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else "")
        raise FileExistsError(
            f"{path} contains files that yolort did not write, or that have changed since ({some}); "
            "move them or choose another output"
        )
    if folder or update:
        return
    if not is_ours(place):
        raise FileExistsError(f"{path} exists and was not written by yolort; delete it or choose another output")
    if place.name in (_MANIFEST, *_manifest(place.parent)):
        raise FileExistsError(f"{path} is a part of {place.parent}; choose another output")


def _check_source(path: Path, status: os.stat_result, sources: dict[tuple[int, int], Path]) -> None:
    if source := sources.get((status.st_dev, status.st_ino)):
        raise FileExistsError(f"{path} is the input {source}; choose another output")


def check_all(targets: Iterable[PathLike], *, sources: Iterable[PathLike] = ()) -> None:
    """`check` for several files of one run, which must also differ from each other.

    Raises ValueError if two of them are the same file.
    """
    seen: dict[Path, PathLike] = {}
    inputs = _identities(sources)
    for target in targets:
        _check(Path(target), inputs, False, False)
        place = _resolved(Path(target))
        if place in seen and not _is_stream(place):
            raise ValueError(f"two outputs are the same file: {seen[place]} and {target}")
        seen[place] = target


def is_ours(path: Path) -> bool:
    """Whether a file may be replaced: it is empty, or carries `MARK`."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        edges = file.read(_EDGE)
        file.seek(max(size - _EDGE, 0))
        return size == 0 or MARK.encode() in edges or MARK.encode() in file.read(_EDGE)


def write(target: PathLike, content: str | bytes, *, sources: Iterable[PathLike] = (), update: bool = False) -> None:
    """Writes a file, text in UTF-8; arguments and errors as `check`."""
    with writing(target, sources=sources, update=update) as built:
        built.write_bytes(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)


@contextmanager
def writing(target: PathLike, *, sources: Iterable[PathLike] = (), update: bool = False) -> Iterator[Path]:
    """A path to build a file or folder at, with the name of `target`; renamed to it at the end. Errors as `place`."""
    with workspace(target) as work:
        built = work / (Path(target).name or "output")
        yield built
        place(built, target, sources=sources, update=update)


@contextmanager
def workspace(target: PathLike) -> Iterator[Path]:
    """A hidden temporary folder beside `target`, on the same file system. Folders that killed processes left are
    removed.

    Raises OSError that names `target` if the disk fails in the block: full, read-only, or beyond a quota.
    """
    path = Path(target)
    place = _resolved(path)
    beside = not _is_stream(path) and place.parent.is_dir() and os.access(place.parent, os.W_OK | os.X_OK)
    prefix = f".{os.fsdecode(os.fsencode(place.name)[:200])}-"
    if beside:
        _clear(place.parent, prefix)
    try:
        folder = tempfile.TemporaryDirectory(prefix=prefix, dir=place.parent if beside else None)
    except OSError as error:
        raise OSError(
            error.errno, f"cannot write there ({error.strerror}); choose another output", str(path)
        ) from error
    with folder as name, _locked(Path(name)):
        try:
            yield Path(name)
        except OSError as error:
            if error.errno in _DISK and (error.filename is None or str(error.filename).startswith(name)):
                raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
            raise
        except Exception as error:  # libraries report a full disk in their own ways
            if shutil.disk_usage(name).free < 1 << 20:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
            raise


def place(built: Path, target: PathLike, *, sources: Iterable[PathLike] = (), update: bool = False) -> None:
    """Moves a built file or folder to `target`, after the same checks as `check`.

    Raises what `check` raises, or OSError; the result is then kept in a temporary folder that the error names.
    """
    path = Path(target)
    folder = built.is_dir()
    if folder:
        _write_manifest(built)
    for file in built.iterdir() if folder else (built,):
        _sync(file)
    try:
        check(path, sources=sources, folder=folder, update=update)
        if _is_stream(path):
            with _stream(path) as stream, open(built, "rb") as content:
                shutil.copyfileobj(content, stream)
        else:
            _rename(built, _resolved(path))
    except OSError as error:
        kept = _keep(built, path.name)
        if kept is None:
            raise
        message = f"{error.strerror or error}; the result was saved as {kept}"
        if error.errno is None:
            raise type(error)(message) from error
        raise OSError(error.errno, message, str(path)) from error


def _identities(sources: Iterable[PathLike]) -> dict[tuple[int, int], Path]:
    """The existing sources, identified by device and inode, which links share."""
    found: dict[tuple[int, int], Path] = {}
    for source in sources:
        with contextlib.suppress(OSError, ValueError):
            status = os.stat(source)  # noqa: PTH116  # "" is not a path, but Path("") is the current folder
            found[status.st_dev, status.st_ino] = Path(source)
    return found


def _is_stream(path: Path) -> bool:
    """Whether the target is written to directly instead of being replaced. PermissionError for a block device."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    if stat.S_ISBLK(mode):
        raise PermissionError(f"{path} is a disk; choose another output")
    return _descriptor(path) is not None or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _descriptor(path: Path) -> int | None:
    """The open file of this process that a path names, such as /dev/stdout."""
    name = os.path.abspath(path)  # noqa: PTH100  # not resolved: /dev/stdout is a link
    found = re.fullmatch(r"/(?:dev|proc/self)/fd/(\d{1,9})", name)
    return int(found[1]) if found else {"/dev/stdout": 1, "/dev/stderr": 2}.get(name)


def _stream(path: Path) -> BinaryIO:
    """Opens a device or pipe for writing; an open file is duplicated and shares its position."""
    descriptor = _descriptor(path)
    if descriptor is None:
        return open(path, "ab", buffering=0)
    sys.stdout.flush()
    return os.fdopen(os.dup(descriptor), "wb")


def _resolved(path: Path) -> Path:
    """Resolves links: the link stays, and the file it points to is replaced."""
    return Path(os.path.realpath(path))


def _foreign(folder: Path) -> list[str]:
    """Files in a folder that are not in its manifest, or differ from it."""
    known = _manifest(folder)
    return sorted(
        entry.name
        for entry in os.scandir(folder)
        if not (
            entry.is_file(follow_symlinks=False)
            and (
                is_ours(Path(entry.path))
                if entry.name == _MANIFEST
                else entry.name in known and known[entry.name] == _sha256(entry.path)
            )
        )
    )


def _manifest(folder: Path) -> dict[str, str]:
    path = folder / _MANIFEST
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return {}
        with open(path, "rb") as file:
            read = json.loads(file.read(_MAX_MANIFEST))
        return {str(name): str(digest) for name, digest in read["files"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}


def _write_manifest(folder: Path) -> None:
    files = {file.name: _sha256(file) for file in sorted(folder.iterdir()) if file.name != _MANIFEST}
    (folder / _MANIFEST).write_text(json.dumps({"writer": MARK, "files": files}, indent=1), encoding="utf-8")


def _sha256(path: PathLike) -> str:
    whole = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            whole.update(part)
    return whole.hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rename(built: Path, target: Path) -> None:
    """Renames a file or folder. A replaced folder ends up in the folder of `built`."""
    if built.is_file() or not target.exists():
        if target.exists():
            shutil.copymode(target, built)
        built.replace(target)
    elif _exchange(built, target):
        if foreign := _foreign(built):  # added since the check
            _exchange(built, target)
            raise FileExistsError(f"{target} now contains {foreign[0]}; move it or choose another output")
    else:
        aside = built.with_name("replaced")
        target.rename(aside)
        try:
            built.rename(target)
        except BaseException:
            aside.rename(target)
            raise
    with contextlib.suppress(OSError):  # not supported by every file system
        _sync(target.parent)


def _exchange(a: Path, b: Path) -> bool:
    """Swaps two folders atomically with Linux's renameat2(2); False if it is not available."""
    if sys.platform != "linux":
        return False
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    at_fdcwd, rename_exchange = -100, 2
    return (
        renameat2 is not None
        and renameat2(at_fdcwd, os.fsencode(a), at_fdcwd, os.fsencode(b), ctypes.c_uint(rename_exchange)) == 0
    )


def _keep(built: Path, name: str) -> Path | None:
    """Moves a result to a safe folder; None if there is none."""
    try:
        kept = Path(tempfile.mkdtemp(prefix="yolort-")) / (name or "output")
        shutil.move(built, kept)
    except OSError:
        return None
    return kept


@contextmanager
def _locked(work: Path) -> Iterator[None]:
    """Marks a work folder as belonging to a living process."""
    if fcntl is None:
        yield
        return
    new = work / f"{_LOCK}-new"  # renamed once locked, so that another process never sees it unlocked
    with open(new, "wb") as lock:
        with contextlib.suppress(OSError):  # a file system without locks: work folders on it are not removed
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            new.rename(work / _LOCK)
        yield


def _clear(parent: Path, prefix: str) -> None:
    """Removes the work folders of processes that have ended."""
    if fcntl is None:
        return
    with contextlib.suppress(OSError):
        for entry in os.scandir(parent):
            if not (entry.name.startswith(prefix) and entry.is_dir(follow_symlinks=False)):
                continue
            with contextlib.suppress(OSError), open(Path(entry.path) / _LOCK, "rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError: it lives
                shutil.rmtree(entry.path)

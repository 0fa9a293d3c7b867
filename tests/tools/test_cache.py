"""The cache of stage results."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("pycocotools")

from yolort.tools._cache import StageCache
from yolort.tools._hash import sha256
from yolort.tools.data.dataset import data_sha256


def make(text: str, calls: list[str] | None = None) -> Callable[[Path], None]:
    def build(work: Path) -> None:
        if calls is not None:
            calls.append(text)
        (work / "result").write_text(text)

    return build


def test_nothing_is_made_twice(tmp_path: Path) -> None:
    calls: list[str] = []
    cache = StageCache(tmp_path / "new" / "store")
    first = cache.get("train", {"seed": 0}, make("a", calls))
    assert (first / "result").read_text() == "a"
    assert cache.get("train", {"seed": 0}, make("b", calls)) == first
    assert StageCache(cache.folder).get("train", {"seed": 0}, make("c", calls)) == first
    assert calls == ["a"]
    others = [cache.get("train", {"seed": 1}, make("d", calls)), cache.get("prune", {"seed": 0}, make("e", calls))]
    assert [(one / "result").read_text() for one in others] == ["d", "e"]
    assert cache.made == 3


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    cache = StageCache(tmp_path)

    def fail(work: Path) -> None:
        (work / "half").write_text("x")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        cache.get("train", {}, fail)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="No space"):
        cache.get("train", {}, fail, resumable=True)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == []

    def resume(work: Path) -> None:
        assert (work / "half").read_text() == "x"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.get("train", {}, resume, resumable=True)

    def start(work: Path) -> None:
        assert list(work.iterdir()) == []

    assert cache.get("train", {}, start).is_dir()


def _build(folder: Path, started: Path) -> None:
    def slow(work: Path) -> None:
        (work / "result").write_text(str(os.getpid()))
        started.touch()
        time.sleep(60)

    StageCache(folder).get("train", {}, slow)


def test_kill_9_in_a_build(tmp_path: Path) -> None:
    started = tmp_path / "started"
    process = multiprocessing.get_context("spawn").Process(target=_build, args=(tmp_path / "store", started))
    process.start()
    while not started.exists():
        assert process.is_alive()
        time.sleep(0.05)
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    made = StageCache(tmp_path / "store").get("train", {}, make("mine"))  # neither waits for a lock nor finds a half
    assert (made / "result").read_text() == "mine"


def test_one_process_builds_at_a_time_after_one_that_failed(tmp_path: Path) -> None:
    """The lock file removed by a failed process is not that of the next one."""
    cache = StageCache(tmp_path)
    waiting, building, builders = threading.Event(), threading.Event(), []

    def fail(_: Path) -> None:
        waiting.set()
        time.sleep(0.5)
        raise OSError("disk")

    def build(work: Path) -> None:
        builders.append(threading.get_ident())
        building.set()
        time.sleep(0.5)
        assert builders == [threading.get_ident()]
        (work / "result").write_text("whole")

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(cache.get, "train", {}, fail)
        assert waiting.wait(60)
        second = pool.submit(cache.get, "train", {}, build)
        assert building.wait(60)
        third = pool.submit(cache.get, "train", {}, build)
        assert (second.result() / "result").read_text() == (third.result() / "result").read_text() == "whole"
    assert isinstance(first.exception(), OSError)


def test_sha256(tmp_path: Path) -> None:
    file, folder = tmp_path / "a", tmp_path / "folder"
    file.write_text("x")
    folder.mkdir()
    (folder / "a").write_text("x")
    before = sha256(file), sha256(folder)
    assert before[0] != before[1]
    file.write_text("changed")
    (folder / "a").rename(folder / "b")
    assert sha256(file) != before[0]
    assert sha256(folder) != before[1]


def test_the_data(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / split / "images").mkdir(parents=True)
        (tmp_path / split / "labels").mkdir()
        (tmp_path / split / "images" / "a.png").write_bytes(b"x" * 10)
        os.utime(tmp_path / split / "images" / "a.png", (1, 1))
        (tmp_path / split / "labels" / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    data = tmp_path / "data.yaml"
    data.write_text("{train: train/images, val: val/images, names: [thing]}")
    before = data_sha256(data, "train")
    assert data_sha256(data, "val") == before
    (tmp_path / "train" / "labels" / "a.txt").write_text("0 0.5 0.5 0.2 0.3\n")
    data_sha256.cache_clear()
    assert data_sha256(data, "train") != before
    assert data_sha256(data, "val") == before
    (tmp_path / "val" / "images" / "a.png").write_bytes(b"y" * 10)  # corrected, and of the same size
    data_sha256.cache_clear()
    assert data_sha256(data, "val") != before


def test_links_in_the_folder_are_not_followed(tmp_path: Path) -> None:
    store = StageCache(tmp_path / "store")
    name = store.get("train", {}, make("a")).name
    shutil.rmtree(store.folder / name)
    precious, folder = tmp_path / "precious", tmp_path / "folder"
    precious.write_text("kept")
    folder.mkdir()
    lock, work = store.folder / f".{name}.lock", store.folder / f".{name}"
    lock.symlink_to(precious)
    with pytest.raises(FileExistsError, match="lock is a link"):
        store.get("train", {}, make("b"))
    lock.unlink()
    os.link(precious, lock)  # opened, and not emptied
    work.symlink_to(folder)
    for resumable in (False, True):
        with pytest.raises(FileExistsError, match="is a link"):
            store.get("train", {}, make("b"), resumable=resumable)
    work.unlink()
    work.mkdir()
    (work / "inputs.json").symlink_to(precious)
    assert (store.get("train", {}, make("b"), resumable=True) / "result").read_text() == "b"
    assert precious.read_text() == "kept"
    assert list(folder.iterdir()) == []

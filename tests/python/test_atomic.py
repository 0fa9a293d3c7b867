"""What may be written where: neither the user's files nor results are lost."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import yolort
from PIL import Image
from yolort import _atomic
from yolort._atomic import MARK, check, check_all, is_ours, place, workspace, write, writing


def folder_of(target: Path, **files: str) -> Path:
    """Writes an output folder with these files."""
    with writing(target) as built:
        built.mkdir()
        for name, text in files.items():
            (built / name).write_text(text)
    return target


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def kept(error: pytest.ExceptionInfo[OSError]) -> Path:
    """The place of the result according to the message."""
    found = re.search(r"the result was saved as (\S+?)(: '|$)", str(error.value))
    assert found, error.value
    return Path(found[1])


def test_a_file_that_is_not_ours_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "notes.json"
    target.write_text("the user's")
    with pytest.raises(FileExistsError, match="was not written by yolort"):
        check(target)
    with pytest.raises(FileExistsError) as error:
        write(target, f"new, {MARK}")
    assert target.read_text() == "the user's"
    assert kept(error).read_text() == f"new, {MARK}"
    assert names(tmp_path) == ["notes.json"]
    shutil.rmtree(kept(error).parent)


@pytest.mark.parametrize("text", ["", MARK, "x" * 100_000 + MARK, MARK + "x" * 200_000])
def test_our_own_and_empty_files_are_replaced(text: str, tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    target.write_text(text)
    target.chmod(0o640)
    check(target)
    write(target, "new")
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_mark_in_the_middle_is_none(tmp_path: Path) -> None:
    (tmp_path / "book").write_text("x" * 70_000 + MARK + "x" * 70_000)
    assert not is_ours(tmp_path / "book")


def test_a_file_to_update_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "timings").write_text("the user's")
    write(tmp_path / "timings", "updated", update=True)
    assert (tmp_path / "timings").read_text() == "updated"


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_an_output_that_is_the_input(link: object, tmp_path: Path) -> None:
    source, other = tmp_path / "m.onnx", tmp_path / "other.onnx"
    source.write_text(MARK)
    link(source, other)  # type: ignore[operator]
    for target in (source, other):
        with pytest.raises(FileExistsError, match="is the input"):
            check(target, sources=["missing", source])
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_text("")
    with pytest.raises(FileExistsError, match="contains the input"):
        check(tmp_path / "in", sources=[tmp_path / "in" / "a.jpg"], folder=True)


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "out.json").symlink_to(tmp_path / "far" / "real.json")
    for text in ("first", "second"):  # dangling, and there
        write(tmp_path / "out.json", f"{text} {MARK}")
        assert (tmp_path / "far" / "real.json").read_text() == f"{text} {MARK}"
    assert (tmp_path / "out.json").is_symlink()


def test_two_outputs_that_are_one(tmp_path: Path) -> None:
    (tmp_path / "b.json").symlink_to(tmp_path / "a.json")
    with pytest.raises(ValueError, match="two outputs are the same file"):
        check_all([tmp_path / "a.json", tmp_path / "b.json"])
    check_all([tmp_path / "a.json", "/dev/null", "/dev/null"])


def test_places_where_nothing_can_go(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text(MARK)
    for target, folder, error in [
        ("none/out", False, FileNotFoundError),
        ("file/out", False, FileNotFoundError),
        ("folder", False, IsADirectoryError),
        ("file", True, NotADirectoryError),
    ]:
        with pytest.raises(error):
            check(tmp_path / target, folder=folder)
    with pytest.raises(NotADirectoryError):
        check("/dev/null", folder=True)


def test_a_folder_is_replaced_only_if_all_of_it_is_ours(tmp_path: Path) -> None:
    target = folder_of(tmp_path / "out", **{"metrics.json": "1", "plot.png": "2"})
    assert folder_of(target, **{"metrics.json": "3"}) == target
    assert names(target) == [".yolort.json", "metrics.json"]
    for spoil in (
        lambda: (target / "photo.png").write_text("the user's"),
        lambda: (target / "metrics.json").write_text("edited"),
        lambda: (target / "sub").mkdir(),
        lambda: (target / ".yolort.json").write_text("[[["),
        lambda: (target / ".yolort.json").unlink(),
    ):
        folder_of(target, **{"metrics.json": "3"})
        spoil()
        before = {path.name: path.is_file() and path.read_bytes() for path in target.iterdir()}
        with pytest.raises(FileExistsError, match="that yolort did not write"):
            check(target, folder=True)
        assert before == {path.name: path.is_file() and path.read_bytes() for path in target.iterdir()}
        shutil.rmtree(target)


def test_a_folder_without_a_manifest_is_the_users(tmp_path: Path) -> None:
    for name in ("metrics.json", "model.ncnn.param", "photo.png"):
        target = tmp_path / name.replace(".", "_")
        target.mkdir()
        (target / name).write_text("the user's")
        with pytest.raises(FileExistsError, match=name):
            check(target, folder=True)


@pytest.mark.parametrize("swap", [True, False])
def test_files_added_to_the_folder_during_the_work_stay(
    swap: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = folder_of(tmp_path / "out", a="old")
    if not swap:
        monkeypatch.setattr(_atomic, "_exchange", lambda *_: False)
    with pytest.raises(FileExistsError, match=r"photo\.png") as error, writing(target) as built:
        built.mkdir()
        (built / "a").write_text("new")
        (target / "photo.png").write_text("the user's")
    assert (target / "photo.png").read_text() == "the user's"
    assert (target / "a").read_text() == "old"
    assert (kept(error) / "a").read_text() == "new"
    shutil.rmtree(kept(error).parent)


def test_the_last_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that appears between the check and the swap is moved back."""
    target = folder_of(tmp_path / "out", a="old")
    monkeypatch.setattr(_atomic, "check", lambda *_, **__: (target / "photo.png").write_text("the user's"))
    with pytest.raises(FileExistsError, match=r"photo\.png") as error:
        folder_of(target, a="new")
    assert (target / "photo.png").read_text() == "the user's"
    shutil.rmtree(kept(error).parent)


@pytest.mark.parametrize("atomic", [True, False])
def test_folders_are_swapped(atomic: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if atomic and sys.platform != "linux":
        pytest.skip("only Linux swaps two folders in one step")
    if not atomic:
        monkeypatch.setattr(_atomic, "_exchange", lambda *_: False)
    folder_of(tmp_path / "out", a="old")
    folder_of(tmp_path / "out", a="new")
    assert (tmp_path / "out" / "a").read_text() == "new"
    assert names(tmp_path) == ["out"]


def test_a_failed_swap_restores_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_atomic, "_exchange", lambda *_: False)
    target = folder_of(tmp_path / "out", a="old")
    rename = os.rename

    def failing(source: Path, to: Path) -> None:
        if Path(to) == target and Path(source).name == "out":
            raise OSError(errno.EIO, "broken", str(to))
        rename(source, to)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(OSError, match="broken") as error:
        folder_of(target, a="new")
    assert (target / "a").read_text() == "old"
    assert (kept(error) / "a").read_text() == "new"
    shutil.rmtree(kept(error).parent)


def test_devices_and_pipes_are_written_to(tmp_path: Path) -> None:
    write("/dev/null", "gone")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    write(pipe, "through")
    reader.join(60)
    assert got == ["through"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root makes devices")
def test_devices_are_not_replaced_by_files(tmp_path: Path) -> None:
    null, disk = tmp_path / "null", tmp_path / "disk"
    try:
        os.mknod(null, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(disk, stat.S_IFBLK | 0o666, os.makedev(240, 0))
    except OSError as error:
        pytest.skip(f"this sandbox makes no devices: {error}")
    try:
        write(null, "gone")
    except PermissionError as error:
        pytest.skip(f"devices cannot be opened here: {error}")
    assert stat.S_ISCHR(null.stat().st_mode)
    with pytest.raises(PermissionError, match="is a disk"):
        write(disk, "x")


@pytest.mark.parametrize("redirected", [True, False])
def test_standard_output(redirected: bool, tmp_path: Path) -> None:
    program = "from yolort import _atomic; print('a', flush=True); _atomic.write('/dev/stdout', 'b\\n'); print('c')"
    with (tmp_path / "out").open("wb") as out:
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=out if redirected else subprocess.PIPE, check=True, timeout=60
        )
    text = (tmp_path / "out").read_bytes() if redirected else done.stdout
    assert text == b"a\nb\nc\n"


def test_the_folder_that_is_gone_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(FileNotFoundError) as error, writing(tmp_path / "away" / "x.json") as built:
        built.write_text("result")
    assert kept(error).read_text() == "result"
    shutil.rmtree(kept(error).parent)


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=rf"No space left on device: '{tmp_path}/m.pt'"), workspace(tmp_path / "m.pt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match="^broken$"), workspace(tmp_path / "m.pt"):
        raise OSError("broken")
    assert names(tmp_path) == []


def test_a_library_that_hides_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="enforce fail"), workspace(tmp_path / "m.pt"):
        raise RuntimeError("enforce fail at inline_container.cc")
    usage = shutil.disk_usage(tmp_path)._replace(free=4096)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match=rf"No space left on device: '{tmp_path}/m.pt'"), workspace(tmp_path / "m.pt"):
        raise RuntimeError("enforce fail at inline_container.cc")


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("this sandbox mounts nothing")
    try:
        write(tmp_path / "out", f"old {MARK}")
        with pytest.raises(OSError, match=rf"No space left on device: '{tmp_path}/out'"):
            write(tmp_path / "out", bytes(1 << 20))
        assert (tmp_path / "out").read_text() == f"old {MARK}"
        assert names(tmp_path) == ["out"]
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_leftovers_of_killed_processes_are_removed(tmp_path: Path) -> None:
    program = f"""
from yolort._atomic import workspace
with workspace({str(tmp_path / "out")!r}):
    print("there", flush=True)
    input()
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "there\n"
            (tmp_path / ".out-mine").mkdir()  # the user's
            write(tmp_path / "out", "1")
            assert len(names(tmp_path)) == 3  # the process is alive, so its folder stays
        finally:
            process.kill()
    write(tmp_path / "out2", "2")
    assert len(names(tmp_path)) == 4
    with workspace(tmp_path / "out"):
        pass
    assert names(tmp_path) == [".out-mine", "out", "out2"]


@pytest.mark.parametrize("ending", [".jpg", ".png", ".bmp", ".webp", ".tiff"])
def test_images_carry_the_mark_and_can_be_read(ending: str, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    target = tmp_path / f"x{ending}"
    for _ in range(2):
        yolort.images.write(target, image)
    assert is_ours(target)
    assert yolort.images.read(target).shape == (32, 48, 3)
    with Image.open(target) as opened:
        opened.load()
        assert opened.size == (48, 32)
    target.write_bytes(target.read_bytes().removesuffix(MARK.encode()))
    with pytest.raises(yolort.ImageError, match="was not written by yolort"):
        yolort.images.write(target, image)


def test_place_leaves_the_rest_of_the_work_folder(tmp_path: Path) -> None:
    with workspace(tmp_path / "out") as work:
        (work / "built").write_text("1")
        (work / "scratch").write_text("2")
        place(work / "built", tmp_path / "out")
        assert (work / "scratch").exists()
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("kind", ["text", "folder", "link", "pipe"])
def test_a_manifest_of_the_user_is_a_file_of_the_user(kind: str, tmp_path: Path) -> None:
    target = tmp_path / "results"
    target.mkdir()
    manifest = target / ".yolort.json"
    if kind == "text":
        manifest.write_text("notes")
    elif kind == "folder":
        manifest.mkdir()
        (manifest / "notes.txt").write_text("precious")
    elif kind == "link":
        (tmp_path / "other.json").write_text("{}")
        manifest.symlink_to(tmp_path / "other.json")
    else:
        os.mkfifo(manifest)
    with pytest.raises(FileExistsError, match=r"did not write.*\.yolort\.json"):
        _atomic.check(target, folder=True)
    assert manifest.exists()


def test_a_part_of_a_folder_is_not_replaced(tmp_path: Path) -> None:
    model = tmp_path / "x_ncnn_model"
    with _atomic.writing(model) as built:
        built.mkdir()
        (built / "metadata.yaml").write_text(f"# {_atomic.MARK}")
    before = (model / "metadata.yaml").read_text()
    for name in ("metadata.yaml", ".yolort.json"):
        with pytest.raises(FileExistsError, match="is a part of .*x_ncnn_model"):
            _atomic.write(model / name, "{}")
    assert (model / "metadata.yaml").read_text() == before
    _atomic.write(model / "trace.json", f"{_atomic.MARK} 1")
    _atomic.write(model / "trace.json", f"{_atomic.MARK} 2")


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="no /dev/fd here")
def test_an_open_file_that_is_the_input(tmp_path: Path) -> None:
    source = tmp_path / "model.onnx"
    source.write_bytes(b"model")
    with source.open("rb+") as opened, pytest.raises(FileExistsError, match="is the input"):
        _atomic.write(f"/dev/fd/{opened.fileno()}", "SRC", sources=[source])
    assert source.read_bytes() == b"model"


def test_a_link_to_itself_stays(tmp_path: Path) -> None:
    link = tmp_path / "out.json"
    link.symlink_to(link)
    with pytest.raises(FileExistsError, match="is a link to itself"):
        _atomic.write(link, "{}")
    assert link.is_symlink()


@pytest.mark.parametrize("name", ["\u732b" * 82 + ".jpg", "x" * 251 + ".jpg"])
def test_the_longest_names(name: str, tmp_path: Path) -> None:
    _atomic.write(tmp_path / name, "a")
    assert [path.name for path in tmp_path.iterdir()] == [name]

"""Real-world datasets: where images and labels are found, and the errors if they are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_sets import coco, describe
from yolort.tools.data.dataset import list_images, load_dataset


def test_roboflow_writes_paths_that_begin_one_folder_too_high(folder: Path) -> None:
    set_ = folder / "set"
    (set_ / "valid" / "labels").mkdir(parents=True)
    (folder / "images" / "val").rename(set_ / "valid" / "images")
    (set_ / "valid" / "labels" / "a.txt").write_text("1 0.5 0.5 0.2 0.4\n")
    assert len(load_dataset(describe(set_, val="../valid/images")).samples) == 3
    with pytest.raises(FileNotFoundError, match=r"looked for .*/\.\./gone/images, .*/set/gone/images"):
        load_dataset(describe(set_, val="../gone/images"))


def test_a_path_in_the_datasets_folder_of_ultralytics(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ultralytics")
    monkeypatch.setattr("ultralytics.utils.DATASETS_DIR", folder.parent)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    assert len(load_dataset(describe(elsewhere, path=folder.name)).samples) == 3
    with pytest.raises(FileNotFoundError, match=f"looked for .*{folder.parent / 'gone' / 'images'}"):
        load_dataset(describe(elsewhere, path="gone"))


def test_lists_relative_to_the_working_folder_or_the_data_set(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = folder / "lists"
    lists.mkdir()
    (lists / "val.txt").write_text("images/val/a.jpg\nimages/val/b.jpg\n")
    expected = [folder / "images/val/a.jpg", folder / "images/val/b.jpg"]
    assert list_images(describe(folder, val="lists/val.txt"), "val") == expected
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(folder)
    data = describe(elsewhere, val=str(lists / "val.txt"))
    assert [path.absolute() for path in list_images(data, "val")] == expected
    assert [path.absolute() for path in list_images(lists / "val.txt")] == expected


def test_separators_of_windows(folder: Path) -> None:
    (folder / "list.txt").write_text("images\\val\\a.jpg\n.\\images\\val\\b.jpg\n")
    assert len(load_dataset(describe(folder, val="list.txt")).samples) == 2
    assert len(load_dataset(describe(folder, val="images\\val")).samples) == 3
    below = folder / "cfg"
    below.mkdir()
    assert len(load_dataset(describe(below, path="..\\")).samples) == 3
    images = [{"id": 7, "file_name": "val\\a.jpg"}, {"id": 9, "file_name": "images\\val\\b.jpg"}]
    names = [sample.path.name for sample in load_dataset(coco(folder, images=images)).samples]
    assert names == ["a.jpg", "b.jpg"]


def test_labels_of_a_linked_folder_and_beside_the_images(folder: Path) -> None:
    """Labels are at the link's target, or beside the images; those found by the usual rule take precedence."""
    data = folder / "other"
    (data / "images").mkdir(parents=True)
    (data / "images" / "val").symlink_to(folder / "images" / "val", target_is_directory=True)
    assert [len(sample.classes) for sample in load_dataset(describe(data)).samples] == [2, 1, 0]
    (data / "labels" / "val").mkdir(parents=True)
    (data / "labels" / "val" / "a.txt").write_text("1 0.5 0.5 0.2 0.4\n")
    assert [len(sample.classes) for sample in load_dataset(describe(data)).samples] == [1, 1, 0]
    beside = folder / "images" / "val" / "c.txt"
    beside.write_text("0 0.5 0.5 0.2 0.4\n")
    assert [len(sample.classes) for sample in load_dataset(describe(folder)).samples] == [2, 1, 0]
    for file in (folder / "labels" / "val").iterdir():
        file.unlink()
    assert [len(sample.classes) for sample in load_dataset(describe(folder)).samples] == [0, 0, 1]

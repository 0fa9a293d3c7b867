"""`yolort.tools.data.dataset`: valid datasets, and errors for invalid files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_sets import coco, describe
from yolort.tools.data import samples
from yolort.tools.data.class_balance import class_report
from yolort.tools.data.dataset import list_images, load_dataset, trainable, write_for_ultralytics
from yolort.tools.data.samples import LabelError


def test_yolo_labels(folder: Path) -> None:
    dataset = load_dataset(describe(folder))
    assert dataset.names == {0: "cat", 1: "dog"}
    a, b, c = dataset.samples
    assert [sample.path.name for sample in dataset.samples] == ["a.jpg", "b.jpg", "c.jpg"]
    assert a.classes.tolist() == [1, 0]  # the line that occurs twice counts once
    np.testing.assert_allclose(a.boxes, [[0.4, 0.3, 0.6, 0.7], [0, 0, 0.5, 0.5]])
    np.testing.assert_allclose(b.boxes, [[0.1, 0.2, 0.5, 0.8]])
    assert len(c.classes) == 0
    pixels = a.in_pixels(100, 200)
    np.testing.assert_allclose(pixels.boxes[0], [80, 30, 120, 70])
    np.testing.assert_allclose(pixels.area[0], 40 * 40)


def test_where_the_images_are(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "list.txt").write_text("images/val/a.jpg\n\n./images/val/b.jpg\n")
    sizes = {
        "images/val": 3,
        "images": 3,
        "list.txt": 2,
        ("list.txt", "images/val"): 3,  # none occurs twice
        str(folder / "images/val"): 3,
    }
    for val, count in sizes.items():
        given = list(val) if isinstance(val, tuple) else val
        assert len(load_dataset(describe(folder, val=given)).samples) == count
    below = folder / "cfg"
    below.mkdir()
    assert len(load_dataset(describe(below, path="..")).samples) == 3
    assert len(load_dataset(describe(below, path=str(folder))).samples) == 3
    monkeypatch.chdir(folder.parent)
    assert len(load_dataset(describe(below, path=folder.name)).samples) == 3
    assert load_dataset(describe(folder, names=None, nc=2)).names == {0: "0", 1: "1"}


def test_class_numbers_that_are_text(folder: Path) -> None:
    assert load_dataset(describe(folder, names={"1": "dog", "0": "cat"}, nc="2")).names == {0: "cat", 1: "dog"}
    with pytest.raises(LabelError, match="'names' must list"):
        load_dataset(describe(folder, names={"0": "cat", 0: "dog"}))


def test_roboflows_supercategory_is_not_a_class(folder: Path) -> None:
    categories = [
        {"id": 0, "name": "pets", "supercategory": "none"},
        {"id": 2, "name": "cat", "supercategory": "pets"},
        {"id": 5, "name": "dog", "supercategory": "pets"},
    ]
    with pytest.warns(UserWarning, match="category 0, 'pets', is not a class"):
        dataset = load_dataset(coco(folder, categories=categories))
    assert dataset.names == {0: "cat", 1: "dog"}
    assert dataset.samples[1].classes.tolist() == [1, 0]
    categories[2]["supercategory"] = "wolves"
    assert len(load_dataset(coco(folder, categories=categories)).names) == 3
    categories[2]["supercategory"] = "pets"
    note = {"id": 1, "image_id": 9, "category_id": 0, "bbox": [1, 2, 3, 4]}
    assert len(load_dataset(coco(folder, categories=categories, annotations=[note])).names) == 3


def test_coco(folder: Path) -> None:
    dataset = load_dataset(coco(folder))
    assert dataset.names == {0: "cat", 1: "dog"}
    a, b = dataset.samples
    assert (a.path, b.path) == (folder / "images/val/a.jpg", folder / "images/val/b.jpg")
    assert len(a.classes) == 0
    assert b.classes.tolist() == [1, 0]
    np.testing.assert_allclose(b.boxes, [[10, 20, 40, 60], [1, 2, 4, 6]])
    assert b.crowd.tolist() == [True, False]
    assert b.area.tolist() == [600, 12]
    assert b.in_pixels(5, 5) is b
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    with pytest.raises(FileNotFoundError, match="pass the folder with images="):
        load_dataset(coco(elsewhere, images=[{"id": 9, "file_name": "none.jpg"}]))
    assert load_dataset(coco(elsewhere), images=folder / "images").samples[0].path == a.path


def test_classes_of_a_model(folder: Path) -> None:
    dataset = load_dataset(describe(folder))
    assert dataset.with_classes_of({0: "cat", 1: "dog"}) is dataset
    assert dataset.with_classes_of({0: "Cat", 1: "Dog"}) is dataset
    turned = dataset.with_classes_of({0: "dog", 1: "cat"})
    assert turned.samples[0].classes.tolist() == [0, 1]
    assert turned.names == {0: "dog", 1: "cat"}
    with pytest.raises(LabelError, match=r"the model has 3 classes \(a, b, c\), the data .* 2 \(cat, dog\)"):
        dataset.with_classes_of({0: "a", 1: "b", 2: "c"})


def test_classes_of_a_model_in_another_order_and_case(folder: Path) -> None:
    dataset = load_dataset(describe(folder))
    turned = dataset.with_classes_of({0: "Dog", 1: "CAT"})
    assert turned.samples[0].classes.tolist() == [0, 1]
    assert turned.names == {0: "Dog", 1: "CAT"}
    twice = load_dataset(describe(folder, names=["cat", "dog", "cat"]))
    assert twice.with_classes_of({0: "cat", 1: "Dog", 2: "cat"}) is twice
    with pytest.raises(LabelError, match="in another order, and one of them twice"):
        twice.with_classes_of({0: "cat", 1: "cat", 2: "dog"})


def test_classes_of_a_model_that_differ(folder: Path, recwarn: pytest.WarningsRecorder) -> None:
    dataset = load_dataset(describe(folder))
    with pytest.warns(UserWarning, match="class names: 1 is 'dog' of the data .* and 'wolf' of the model"):
        found = dataset.with_classes_of({0: "cat", 1: "wolf"})
    assert found.samples == dataset.samples
    (note,) = found.notes
    assert "1 of 2 differ" in note
    recwarn.clear()
    for names in ({0: "0", 1: "1"}, {0: "class0", 1: "class1"}):  # from a model without names
        assert dataset.with_classes_of(names) is dataset
    unnamed = load_dataset(describe(folder, names=None, nc=2))
    assert unnamed.with_classes_of({0: "cat", 1: "dog"}) is unnamed
    assert not recwarn.list


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("0 0.5 0.5 0.2", "line 2: expected 'class cx cy w h'"),
        ("0 0.5 0.5 0.2 0.2 0.1", "expected"),
        ("cat 0.5 0.5 0.2 0.2", "expected"),
        ("0 nan 0.5 0.2 0.2", "expected"),
        ("2 0.5 0.5 0.2 0.2", "class 2 is not one of the 2 classes"),
        ("-1 0.5 0.5 0.2 0.2", "class -1"),
        ("0.5 0.5 0.5 0.2 0.2", "class 0.5"),
        ("1e300 0.5 0.5 0.2 0.2", "class 1e300"),
        ("0 50 50 20 20", "0 to 1"),
        ("0 -0.5 0.5 0.2 0.2", "0 to 1"),
        ("0 0.5 0.5 -0.005 0.2", "line 2: a box has size -0.005 x 0.2"),
    ],
)
def test_bad_label_lines(folder: Path, line: str, says: str) -> None:
    file = folder / "labels" / "val" / "a.txt"
    file.write_text(f"0 0.5 0.5 0.2 0.2\n{line}\n")
    with pytest.raises(LabelError, match=says) as caught:
        load_dataset(describe(folder))
    assert str(file) in str(caught.value)


def test_a_label_file_that_is_a_broken_link(folder: Path) -> None:
    """It does not count as an image without objects."""
    file = folder / "labels" / "val" / "a.txt"
    file.unlink()
    file.symlink_to("gone.txt")
    with pytest.raises(LabelError, match=r"a.txt is a link to gone.txt, which is not there"):
        load_dataset(describe(folder))


def test_boxes_without_area_are_noted(folder: Path) -> None:
    assert load_dataset(describe(folder)).notes == ()
    file = folder / "labels" / "val" / "a.txt"
    file.write_text("0 0.5 0.5 0 0.2\n0 0.5 0.5 0.1 0.2\n1 0.5 0.5 0 0\n")
    (note,) = load_dataset(describe(folder)).notes
    first = folder / "images" / "val" / "a.jpg"
    assert note.startswith(f"2 object(s) have no width or no height, the first in {first}")
    box = {"id": 3, "image_id": 7, "category_id": 2, "bbox": [5, 5, 0, 3]}
    (note,) = load_dataset(coco(folder, annotations=[box]), images=folder / "images").notes
    assert note.startswith("1 object(s)")


@pytest.mark.parametrize(
    ("keys", "error", "says"),
    [
        ({"val": None}, FileNotFoundError, "no split 'val'; it has: none"),
        ({"val": "nowhere"}, FileNotFoundError, "'nowhere' is not there; looked for"),
        ({"val": "data.yaml"}, LabelError, "neither a folder nor a .txt"),
        ({"names": "cat"}, LabelError, "'names' must list"),
        ({"names": {0: "cat", 2: "dog"}}, LabelError, "'names' must list"),
        ({"names": None}, LabelError, "'names' must list"),
        ({"names": None, "nc": 10**9}, LabelError, "'names' must list"),
        ({"names": []}, LabelError, "'names' must list"),
        ({"nc": 3}, LabelError, "'nc' is 3, but 'names' lists 2 classes"),
        ({"nc": "two"}, LabelError, "'nc' is two, but 'names' lists 2 classes"),
        ({"val": "empty"}, LabelError, "has no images"),
        ({"val": "unlabelled"}, LabelError, "none of the 1 images has a label"),
    ],
)
def test_bad_descriptions(folder: Path, keys: dict[str, Any], error: type[Exception], says: str) -> None:
    (folder / "empty").mkdir()
    (folder / "unlabelled").mkdir()
    (folder / "unlabelled" / "x.jpg").write_bytes(b"")
    with pytest.raises(error, match=says):
        load_dataset(describe(folder, **keys))


def test_files_that_are_not_images(folder: Path, tmp_path: Path) -> None:
    bad = folder / "bad.yaml"
    for content, says in (
        (b"a: [", "is not valid YAML"),
        (b"- 1", "has no keys"),
        (b"\xff\xfe\x00", "is not valid YAML: 'utf-8'"),
        (b"!!python/object/apply:os.system ['exit 1']", "is not valid YAML"),
        (b"x: &a [*a, *a]\n" * 2 + b"[" * 100000, "is not valid YAML"),
        (b" " * (2 << 20), "larger than 1 MiB"),
    ):
        bad.write_bytes(content)
        with pytest.raises(LabelError, match=says):
            load_dataset(bad)
    for missing in ("none/data.yaml", "none.json"):
        with pytest.raises(FileNotFoundError, match="no such file"):
            load_dataset(tmp_path / missing)
    with pytest.raises(ValueError, match=r"must be a data.yaml or a COCO .json"):
        load_dataset("data.csv")
    describe(folder / "images")
    with pytest.raises(ValueError, match=r"did you mean .*images/data\.yaml\?"):
        load_dataset(folder / "images")
    with pytest.raises(ValueError, match="images applies only to COCO"):
        load_dataset(describe(folder), images=folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"images": None},
        {"images": [{"id": 7}]},
        {"categories": [{"id": "five", "name": "dog"}]},
        {"annotations": [{"id": 1, "image_id": 8, "category_id": 5, "bbox": [1, 2, 3, 4]}]},
        {"annotations": [{"id": 1, "image_id": 9, "category_id": 6, "bbox": [1, 2, 3, 4]}]},
        {"annotations": [{"id": 1, "image_id": 9, "category_id": 5, "bbox": [1, 2, 3]}]},
        {"annotations": [{"id": 1, "image_id": 9, "category_id": 5, "bbox": [1, 2, 3, float("nan")]}]},
        {"annotations": 5},
    ],
)
def test_bad_coco(folder: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(LabelError, match="is not COCO JSON"):
        load_dataset(coco(folder, **changes))
    (folder / "instances.json").write_text("[{}]")
    with pytest.raises(LabelError, match="expected an object with images"):
        load_dataset(folder / "instances.json")
    (folder / "instances.json").write_text("[" * 100000)
    with pytest.raises(LabelError, match="is not COCO JSON"):
        load_dataset(folder / "instances.json")


NOTE = {"id": 1, "image_id": 9, "category_id": 5, "bbox": [1, 2, 3, 4]}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"images": [{"id": 9, "file_name": "val/a.jpg"}, {"id": 9, "file_name": "val/b.jpg"}]}, "id 9 of image"),
        ({"images": [{"id": 9.5, "file_name": "val/a.jpg"}]}, "id '9.5' of image is not a whole number"),
        ({"images": [{"id": "9", "file_name": "val/a.jpg"}]}, "id '9' of image is not a whole number"),
        ({"images": [{"id": True, "file_name": "val/a.jpg"}]}, "id 'True' of image"),
        ({"images": [{"id": 9, "file_name": "val/a.jpg"}, {"id": 8, "file_name": "val/../val/a.jpg"}]},
         "images 9 and 8 are the same file"),
        ({"categories": [{"id": 5, "name": "dog"}, {"id": 5, "name": "cat"}]}, "id 5 of category occurs twice"),
        ({"categories": [{"id": 5.2, "name": "dog"}]}, "id '5.2' of category"),
        ({"annotations": [{**NOTE, "category_id": 5.5}]}, "id '5.5' of category"),
        ({"annotations": [{**NOTE, "category_id": 6}]}, "annotation 1 refers to category 6, which is not listed"),
        ({"annotations": [{**NOTE, "image_id": 8}]}, "annotation 1 refers to image 8, which is not listed"),
        ({"annotations": [{**NOTE, "bbox": []}]}, r"annotation 1 has the bbox \[\], expected \[x, y, width, height\]"),
        ({"annotations": [{"id": 1, "image_id": 9, "category_id": 5}]}, "annotation 1 has the bbox None"),
        ({"annotations": [{**NOTE, "image_id": "9"}]}, "id '9' of image"),
        ({"annotations": [{**NOTE, "iscrowd": "0"}]}, "annotation 1 has iscrowd '0', expected 0 or 1"),
        ({"annotations": [{**NOTE, "iscrowd": 2}]}, "iscrowd '2'"),
        ({"annotations": [{**NOTE, "bbox": [1, 2, -3, 4]}]}, "annotation 1 has a box of -3 x 4"),
        ({"annotations": [{**NOTE, "bbox": [1, 2, 3, -4]}]}, "a box of 3 x -4"),
        ({"annotations": [{**NOTE, "area": float("nan")}]}, "annotation 1 has an area of nan"),
        ({"annotations": [{**NOTE, "area": float("inf")}]}, "an area of inf"),
        ({"annotations": [{**NOTE, "area": -1}]}, "an area of -1"),
    ],
)  # fmt: skip
def test_coco_that_would_be_scored_wrongly(folder: Path, changes: dict[str, Any], says: str) -> None:
    images = {"images": [{"id": 9, "file_name": "val/b.jpg"}]} if "annotations" in changes else {"annotations": []}
    with pytest.raises(LabelError, match=says) as caught:
        load_dataset(coco(folder, **{**images, **changes}))
    assert "\n" not in str(caught.value)


def test_a_download_entry_is_not_run(folder: Path) -> None:
    marker = folder / "pwned"
    download = f"open({str(marker)!r}, 'w')"
    load_dataset(describe(folder, download=download))
    with pytest.raises(FileNotFoundError):
        load_dataset(describe(folder, download=download, val="nowhere"))
    assert not marker.exists()


def test_linked_folders_and_links_to_themselves(folder: Path) -> None:
    """As in Ultralytics, but each folder only once."""
    images = folder / "images" / "val"
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "d.jpg").touch()
    (images / "linked").symlink_to(folder / "elsewhere", target_is_directory=True)
    (images / "self").symlink_to(images, target_is_directory=True)
    (images / ".hidden.jpg").touch()
    names = [path.name for path in list_images(describe(folder), "val")]
    assert sorted(names) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]


def test_images_that_ultralytics_skips_in_training(folder: Path) -> None:
    """It is not counted in reports, and is named; `val` still scores it."""
    cv2 = pytest.importorskip("cv2")
    for name in ("a.jpg", "b.jpg", "c.jpg", "d.gif", "e.jfif", "f.webp"):
        image = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes()
        (folder / "images" / "val" / name).write_bytes(image)
    data = describe(folder, train="images/val")
    assert len(load_dataset(data).samples) == 6
    with pytest.warns(UserWarning, match=r"Ultralytics does not train on 2 image\(s\) \(\.gif, \.jfif\)"):
        assert class_report(data, 64).total_images == 4
    (folder / "run").mkdir()
    with pytest.warns(UserWarning, match="does not train on 2"):
        write_for_ultralytics(data, folder / "run")
    assert len((folder / "run" / "train.txt").read_text().splitlines()) == 4
    with pytest.raises(LabelError, match=r"does not train on 1 image\(s\) \(\.gif\), and there are no others"):
        trainable([Path("x.gif")])


def test_names_that_ultralytics_cannot_represent() -> None:
    odd = Path(os.fsdecode(b"images/\xff.jpg"))
    for names in ([odd, Path("a.jpg")], [Path("images/a\nb.jpg"), Path("a.jpg")]):
        with pytest.warns(UserWarning, match=r"does not train on 1 image\(s\) \(a name that is not UTF-8"):
            assert trainable(names) == [Path("a.jpg")]


def test_label_files_that_are_not_regular_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / "labels" / "val" / "c.txt"
    os.mkfifo(file)
    with pytest.raises(LabelError, match=r"c\.txt is not a regular file"):
        load_dataset(describe(folder))
    file.unlink()
    file.mkdir()
    with pytest.raises(LabelError, match=r"c\.txt is not a regular file"):
        load_dataset(describe(folder))
    file.rmdir()
    os.mkfifo(folder / "list.txt")
    with pytest.raises(LabelError, match=r"list\.txt is not a regular file"):
        load_dataset(describe(folder, val="list.txt"))
    file.symlink_to("/proc/self/maps")  # reports a size of 0 bytes
    monkeypatch.setitem(samples._MAX_BYTES, ".txt", 200)
    with pytest.raises(LabelError, match=r"c\.txt is larger than"):
        load_dataset(describe(folder))


def test_ends_of_lines(folder: Path) -> None:
    (folder / "labels" / "val" / "a.txt").write_bytes(
        b"\xef\xbb\xbf0 0.5 0.5 0.2 0.2\r\n1 0.5 0.5 0.2 0.2\r1 0.1 0.1 0.1 0.1"
    )
    assert load_dataset(describe(folder)).samples[0].classes.tolist() == [0, 1, 1]


@pytest.mark.parametrize("long", ["x" * 5000, "x" * 300, "x/" * 4000 + "a.jpg", "\u00e4" * 130], ids=len)
def test_paths_that_are_too_long(long: str, folder: Path) -> None:
    (folder / "list.txt").write_text(f"images/val/a.jpg\nimages/val/{long}.jpg\n", encoding="utf-8")
    for keys, said in (({"val": long}, "data.yaml"), ({"path": long}, "data.yaml"), ({"val": "list.txt"}, "list.txt")):
        for read in (load_dataset, list_images):
            with pytest.raises(LabelError, match=rf"{said}: the path .* of \d+ characters is too long") as caught:
                read(describe(folder, **keys), "val")
            assert len(str(caught.value)) < 100 + 2 * len(str(folder))


def test_a_label_file_of_a_name_that_is_too_long(folder: Path) -> None:
    """The image's file extension is shorter than that of its labels."""
    (folder / "list.txt").write_text("images/val/" + "x" * 252 + ".pn\n")
    with pytest.raises(LabelError, match="is too long"):
        load_dataset(describe(folder, val="list.txt"))

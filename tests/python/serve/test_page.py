"""The page of `yolort serve` in headless Chromium: an image is dropped on it, and its boxes are seen."""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort
from known_models import metadata, task_model, write_ncnn

pytest.importorskip("yolort.serve")
webdriver = pytest.importorskip("selenium.webdriver")
if not shutil.which("chromedriver"):
    pytest.skip("needs chromedriver (Debian: chromium-driver)", allow_module_level=True)

#: Simulates dropping a file with the mouse: browsers do not let scripts drag files in from outside.
DROP = """
const bytes = Uint8Array.from(atob(arguments[0]), letter => letter.charCodeAt(0));
const transfer = new DataTransfer();
transfer.items.add(new File([bytes], arguments[1]));
for (const kind of ["dragover", "drop"]) {
  document.getElementById("drop").dispatchEvent(
    new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true}));
}
"""
#: Canvas pixels that differ from the image: the boxes and their labels.
DRAWN = """
const canvas = document.getElementById("canvas"), done = arguments[arguments.length - 1];
const shown = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
const bytes = Uint8Array.from(atob(arguments[0]), letter => letter.charCodeAt(0));
createImageBitmap(new Blob([bytes])).then(bitmap => {
  const plain = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  plain.drawImage(bitmap, 0, 0);
  const image = plain.getImageData(0, 0, bitmap.width, bitmap.height).data;
  const drawn = image.filter((level, i) => level !== shown[i]).length;
  done([bitmap.width, bitmap.height, canvas.width, canvas.height, drawn]);
});
"""
#: All pixel values of the canvas.
LEVELS = """
const canvas = document.getElementById("canvas");
return Array.from(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data);
"""


@contextmanager
def serving(model: Path) -> Iterator[str]:
    """The address of a server of a model."""
    command = [sys.executable, "-m", "yolort", "serve", str(model), "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    line = next(line for line in server.stderr if "http://" in line)
    yield "http://" + line.split("http://")[1].split()[0]
    server.terminate()
    server.communicate(timeout=60)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(yolort.demo_model("ncnn")) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=400,900"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    driver.set_script_timeout(60)
    yield driver
    driver.quit()


def drop(browser: Any, data: bytes, name: str) -> str:
    """Drops a file; returns the page's text afterwards."""
    from selenium.webdriver.support.ui import WebDriverWait

    browser.execute_script("document.getElementById('status').textContent = ''")
    browser.execute_script(DROP, base64.b64encode(data).decode(), name)
    status = browser.find_element("id", "status")
    return str(WebDriverWait(browser, 60).until(lambda _: status.text not in ("", "detecting ...") and status.text))


@pytest.mark.slow
def test_an_image_is_dropped_and_its_boxes_are_seen(address: str, browser: Any) -> None:
    data = yolort.demo_image().read_bytes()
    found = yolort.Detector(yolort.demo_model("ncnn"), engine="ncnn")(yolort.images.decode(data))
    browser.get(address)
    assert f"{len(found)} found in" in drop(browser, data, "scene.jpg")
    rows = [row.text for row in browser.find_elements("css selector", "#rows tr")]
    names = [found.names[cls] for cls in found.classes]
    assert rows == [f"{name} {score:.2f}" for name, score in zip(names, found.scores, strict=True)]
    width, height, canvas_width, canvas_height, drawn = browser.execute_async_script(
        DRAWN, base64.b64encode(data).decode()
    )
    assert (canvas_width, canvas_height) == (width, height)
    assert drawn > 1000
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")  # at 400 pixels


@pytest.mark.slow
@pytest.mark.parametrize("task", ["segment", "pose", "obb"])
def test_masks_keypoints_and_rotated_boxes_are_drawn(browser: Any, task: str, tmp_path: Path) -> None:
    """At the same place as Python draws it, except for the labels at the top of the boxes."""
    cv2 = pytest.importorskip("cv2")
    model = write_ncnn(tmp_path, *task_model(task))
    image = np.full((320, 320, 3), 100, np.uint8)
    found = yolort.Detector(model, engine="ncnn")(image)
    drawn = (found.draw(image) != 100).any(2)
    with serving(model) as address:
        browser.get(address)
        assert "2 found in" in drop(browser, cv2.imencode(".png", image)[1].tobytes(), "gray.png")
        shown = np.array(browser.execute_script(LEVELS), np.uint8).reshape(320, 320, 4)[..., :3]
    changed = (np.abs(shown.astype(int) - 100) > 5).any(2)
    for top, left in np.rint(found.boxes[:, 1::-1]).astype(int):
        changed[max(top - 25, 0) : top + 3, left - 2 : left + 120] = drawn[
            max(top - 25, 0) : top + 3, left - 2 : left + 120
        ]
    assert changed.sum() > 300
    assert (changed & drawn).sum() > 0.6 * (changed | drawn).sum()


@pytest.mark.slow
def test_classes_are_listed(browser: Any, tmp_path: Path) -> None:
    said = {**metadata(["cat", "dog", "owl"]), "task": "classify", "stride": 1, "imgsz": [32, 32]}
    model = write_ncnn(tmp_path, {"out0": np.array([0.1, 0.3, 0.6], np.float32)}, said)
    with serving(model) as address:
        browser.get(address)
        data = yolort.demo_image().read_bytes()
        assert "ms in the server" in drop(browser, data, "scene.jpg")
        rows = [row.text for row in browser.find_elements("css selector", "#rows tr")]
        assert rows == ["owl 0.60", "dog 0.30"]  # above the chosen confidence
        width, height, *canvas, drawn = browser.execute_async_script(DRAWN, base64.b64encode(data).decode())
    assert canvas == [width, height] and drawn == 0


def text_of(browser: Any, element: str) -> str:
    """The text of an element once it has one."""
    from selenium.webdriver.support.ui import WebDriverWait

    return str(WebDriverWait(browser, 60).until(lambda _: browser.find_element("id", element).text))


@pytest.mark.slow
def test_the_model_is_described(address: str, browser: Any) -> None:
    browser.get(address)
    assert text_of(browser, "model").startswith("scenes_ncnn_model: detect, ncnn on cpu in ")
    assert text_of(browser, "classes") == "10 classes"
    browser.execute_script("document.getElementById('classes').open = true")
    assert "ball, bottle, car" in browser.find_element("id", "classes").text
    assert not browser.find_element("id", "key").is_displayed()
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")  # at 400 pixels


@pytest.mark.slow
def test_the_key_is_asked_for_only_if_the_server_has_one(browser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOLORT_API_KEY", "secret")
    with serving(yolort.demo_model("ncnn")) as address:
        browser.get(address)
        assert "API key" in text_of(browser, "status")
        key = browser.find_element("id", "key")
        assert key.is_displayed() and not browser.find_element("id", "model").text
        key.send_keys("secret\t")
        assert "detect, ncnn" in text_of(browser, "model")


@pytest.mark.slow
def test_a_file_that_is_not_an_image_is_an_error(address: str, browser: Any) -> None:
    browser.get(address)
    drop(browser, b"no image at all", "scene.jpg")
    status = browser.find_element("id", "status")
    assert status.get_attribute("class") == "error" and status.text

"""Dynamic batching with a detector that waits on demand."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError
from typing import Any

import numpy as np
import pytest
import yolort
from streaming import Gated

IMAGE = np.zeros((40, 60, 3), np.uint8)


def occupied(gated: Gated, **options: Any) -> yolort.Batcher[yolort.Detections]:
    """A Batcher whose only worker is busy with an image."""
    batcher = yolort.Batcher(gated, workers=1, **options)  # type: ignore[arg-type]
    batcher.submit(IMAGE)
    assert gated.entered.wait(60)
    return batcher


def test_it_gives_the_same_results_as_the_detector(detector: yolort.Detector) -> None:
    images = [np.roll(yolort.images.read(yolort.demo_image()), 7 * i, axis=1) for i in range(12)]
    with yolort.Batcher(detector, workers=3, max_batch=4) as batcher:
        futures = [batcher.submit(image, conf=0.4) for image in images]
        for image, future in zip(images, futures, strict=True):
            expected = detector(image, conf=0.4)
            assert len(expected)
            np.testing.assert_array_equal(future.result().boxes, expected.boxes)
            np.testing.assert_array_equal(future.result().scores, expected.scores)


def test_a_batch_holds_the_images_that_arrived_meanwhile(gated: Gated) -> None:
    with occupied(gated, max_batch=4) as batcher:
        futures = [batcher.submit(IMAGE) for _ in range(6)]
        gated.gate.set()
        for future in futures:
            future.result(60)
    assert [count for count, _ in gated.calls] == [1, 4, 2]


def test_equal_settings_run_together(gated: Gated) -> None:
    with occupied(gated, max_batch=4) as batcher:
        for conf in (0.1, 0.1, 0.2, 0.1):
            batcher.submit(IMAGE, conf=conf)
        gated.gate.set()
    assert gated.calls[1:] == [(2, {"conf": 0.1}), (1, {"conf": 0.2}), (1, {"conf": 0.1})]


def test_a_worker_waits_for_its_batch_to_fill(gated: Gated) -> None:
    gated.gate.set()
    with yolort.Batcher(gated, workers=1, max_batch=3, max_wait=60) as batcher:  # type: ignore[arg-type]
        futures = [batcher.submit(IMAGE) for _ in range(3)]
        for future in futures:
            future.result(30)
    assert [count for count, _ in gated.calls] == [3]


def test_a_full_queue_refuses(gated: Gated) -> None:
    with occupied(gated, queue=2) as batcher:
        batcher.submit(IMAGE)
        batcher.submit(IMAGE)
        with pytest.raises(yolort.QueueFullError, match="2 images are already waiting; try again later"):
            batcher.submit(IMAGE)
        assert batcher.waiting == 2
        gated.gate.set()


def test_an_image_that_fails_fails_alone(gated: Gated) -> None:
    with occupied(gated, max_batch=8) as batcher:
        good, bad, other = (batcher.submit(image) for image in (IMAGE, IMAGE.astype(float), IMAGE))
        gated.gate.set()
        assert len(good.result(60)) == len(other.result(60)) == 0
        with pytest.raises(TypeError, match="no image"):
            bad.result(60)


def test_cancelled_images_are_not_run(gated: Gated) -> None:
    with occupied(gated, max_batch=1) as batcher:
        future = batcher.submit(IMAGE)
        assert future.cancel()
        gated.gate.set()
    assert len(gated.calls) == 1


@pytest.mark.parametrize("cancel", [False, True])
def test_closing_finishes_or_cancels_waiting_images(gated: Gated, cancel: bool) -> None:
    batcher = occupied(gated)
    future = batcher.submit(IMAGE)
    closing = threading.Thread(target=batcher.close, kwargs={"cancel": cancel})
    closing.start()
    if cancel:
        with pytest.raises(CancelledError):
            future.result(60)
    gated.gate.set()
    closing.join(60)
    assert future.cancelled() == cancel
    assert not batcher.running
    with pytest.raises(RuntimeError, match="closed"):
        batcher.submit(IMAGE)
    batcher.close()


def test_a_forgotten_batcher_stops(gated: Gated) -> None:
    gated.gate.set()
    batcher = yolort.Batcher(gated, workers=2)  # type: ignore[arg-type]
    threads = batcher._threads
    del batcher
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_asyncio(detector: yolort.Detector) -> None:
    image = yolort.images.read(yolort.demo_image())

    async def both(batcher: yolort.Batcher[yolort.Detections]) -> list[yolort.Detections]:
        return await asyncio.gather(*(asyncio.wrap_future(batcher.submit(image)) for _ in range(2)))

    with yolort.Batcher(detector) as batcher:
        first, second = asyncio.run(both(batcher))
    assert len(first) == len(second) == len(detector(image)) > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [({"max_batch": 0}, "max_batch is 0"), ({"queue": 0}, "queue is 0"), ({"workers": 0}, "workers is 0")]
    + [({"max_wait": wait}, "max_wait is") for wait in (-1, float("nan"), 1e9)],
)
def test_options_out_of_range(detector: yolort.Detector, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        yolort.Batcher(detector, **options)

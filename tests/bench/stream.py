"""Compares a stream with a plain loop over the same video, alternately; memory; latency under "latest"; threads on one
Detector.

python tests/bench/stream.py [--model yolo26n.onnx] [--engine openvino] [--rounds 5] [--frames 600]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import yolort


def write_video(path: Path, frames: int) -> None:
    """1280 x 720, 30 frames per second: the sample scene moves."""
    scene = cv2.resize(yolort.images.read(yolort.demo_image()), (1280, 720))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30, (1280, 720))
    for i in range(frames):
        image = np.roll(scene, 3 * i % 1280, axis=1).copy()
        cv2.circle(image, (int(640 + 500 * np.sin(i / 30)), int(360 + 250 * np.cos(i / 17))), 60, (0, 0, 255), -1)
        writer.write(image)
    writer.release()


def read(path: Path) -> Iterator[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    while True:
        done, image = capture.read()
        if not done:
            return
        yield image


def memory() -> float:
    """MiB resident."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def equal(one: yolort.Detections, other: yolort.Detections) -> bool:
    return np.array_equal(one.boxes, other.boxes) and np.array_equal(one.scores, other.scores)


def compare(
    detector: yolort.Detector, streaming: yolort.Detector, video: Path, rounds: int, workers: int | None
) -> None:
    ratios = []
    for i in range(rounds):
        start = time.perf_counter()
        plain = [detector(image) for image in read(video)]
        middle = time.perf_counter()
        before, most, same, frames = memory(), 0.0, True, 0
        for frame in streaming.stream(video, workers=workers):
            same = same and frame.index == frames and equal(frame.detections, plain[frames])
            frames += 1
            if frames == 100:
                before = memory()
            most = max(most, memory())
        end = time.perf_counter()
        ratios.append((middle - start) / (end - middle))
        print(
            f"round {i}: loop {frames / (middle - start):.1f} fps, stream {frames / (end - middle):.1f} fps, "
            f"ratio {ratios[-1]:.2f}, same in order: {same and frames == len(plain)}, "
            f"memory over frame 100: {most - before:+.1f} MiB of {most:.0f}",
            flush=True,
        )
    print(f"ratio: median {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}", flush=True)


def latency(detector: yolort.Detector, video: Path, pause: float) -> None:
    """The file plays at 30 frames per second; the consumer takes `pause` seconds per frame."""
    ages = []
    with detector.stream(video, policy="latest") as stream:
        for frame in stream:
            ages.append((time.monotonic() - frame.captured) * 30)
            time.sleep(pause)
        dropped = stream.dropped
    print(
        f"latest, consumer {pause * 1e3:.0f} ms: age at delivery p50 {statistics.median(ages):.2f}, "
        f"p95 {np.percentile(ages, 95):.2f}, max {max(ages):.2f} frames; {len(ages)} delivered, {dropped} dropped",
        flush=True,
    )


def share(detector: yolort.Detector, video: Path, threads: int, detections: int) -> None:
    images = [image for image, _ in zip(read(video), range(50), strict=False)]
    start = time.perf_counter()
    expected = [detector(image) for image in images]
    serial = len(images) / (time.perf_counter() - start)
    wrong = []

    def work(number: int) -> None:
        for i in range(detections):
            at = (number * 7 + i) % len(images)
            if not equal(detector(images[at]), expected[at]):
                wrong.append(at)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
    start = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    rate = threads * detections / (time.perf_counter() - start)
    print(
        f"{threads} threads x {detections} on one Detector: {len(wrong)} differ; {rate:.1f}/s, serial {serial:.1f}/s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(yolort.demo_model()))
    parser.add_argument("--engine")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--threads", type=int, help="of the engine in the stream alone; the loop has all cores")
    parser.add_argument("--detections", type=int, default=1000, help="of each of 8 threads; 0: none")
    options = parser.parse_args()
    detector = yolort.Detector(options.model, engine=options.engine)
    streaming = yolort.Detector(options.model, engine=options.engine, threads=options.threads)
    print(detector)
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "video.mp4"
        write_video(video, options.frames)
        compare(detector, streaming, video, options.rounds, options.workers)
        latency(detector, video, 0.1)
        if options.detections:
            share(detector, video, 8, options.detections)


if __name__ == "__main__":
    main()

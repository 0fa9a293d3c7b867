"""A server under twice the load that it can bear, from a second process, on loopback.

python tests/bench/serve.py [--model yolo26n.onnx] [--engine openvino] [--seconds 300]

Capacity is measured first: the library's own batched throughput on the same image, decoding it included, through a
Batcher; then what the server accepts with as many clients as it has workers and images of a batch.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import multiprocessing
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import httpx2 as httpx
import numpy as np
import yolort


def library(model: str, engine: str | None, data: bytes, seconds: float, workers: int) -> float:
    """Images a second: a queue that is never empty."""
    detector = yolort.Detector(model, engine=engine)
    with yolort.Batcher(detector, queue=10**6, workers=workers) as batcher:
        done, end = 0, time.perf_counter() + seconds
        start = time.perf_counter()
        waiting = collections.deque(batcher.submit_lazily(lambda: yolort.images.decode(data)) for _ in range(32))
        while time.perf_counter() < end:
            waiting.popleft().result()
            waiting.append(batcher.submit_lazily(lambda: yolort.images.decode(data)))
            done += 1
        return done / (time.perf_counter() - start)


async def load(url: str, data: bytes, seconds: float, rate: float) -> tuple[collections.Counter[str], list[float]]:
    """Open-loop: `rate` requests a second whether they are answered or not; at most 500 in flight."""
    codes: collections.Counter[str] = collections.Counter()
    times: list[float] = []
    room = asyncio.Semaphore(500)

    async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=500)) as client:

        async def one() -> None:
            start = time.perf_counter()
            try:
                answer = await client.post(url, content=data)
                codes[str(answer.status_code)] += 1
                if answer.status_code == 200:
                    times.append(time.perf_counter() - start)
            except httpx.HTTPError as error:
                codes[type(error).__name__] += 1
            finally:
                room.release()

        start = time.perf_counter()
        tasks = set()
        for i in range(round(seconds * rate)):
            await asyncio.sleep(max(start + i / rate - time.perf_counter(), 0))
            await room.acquire()
            task = asyncio.create_task(one())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        codes["seconds"] = round(time.perf_counter() - start)
    return codes, times


def attack(url: str, data: bytes, seconds: float, rate: float, answer: multiprocessing.Queue) -> None:  # type: ignore[type-arg]
    answer.put(asyncio.run(load(url, data, seconds, rate)))


def resident(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(yolort.demo_model()))
    parser.add_argument("--engine")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--max-requests", type=int, default=32)
    options = parser.parse_args()
    data = yolort.demo_image().read_bytes()
    before = library(options.model, options.engine, data, 15, options.workers)
    print(f"library, batched, decoding included: {before:.1f} images/s", flush=True)

    command = [sys.executable, "-m", "yolort", "serve", options.model, "--port", "0", "--name", "model"]
    command += ["--engine", options.engine] if options.engine else []
    command += ["--workers", str(options.workers), "--max-requests", str(options.max_requests)]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert server.stderr
    for line in server.stderr:
        if found := re.search(r"running on (http://\S+)", line):
            break
    url = f"{found[1]}/detect"  # type: ignore[index]
    for _ in range(20):
        urllib.request.urlopen(urllib.request.Request(url, data)).read()
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    client = context.Process(target=attack, args=(url, data, options.seconds, 2 * before, answer))
    start = time.time()
    client.start()
    memory = []
    while client.is_alive() and answer.empty():
        memory.append(resident(server.pid))
        time.sleep(1)
    codes, times = answer.get()
    client.join()
    took = codes.pop("seconds")
    print(f"{2 * before:.0f} requests/s for {time.time() - start:.0f} s: {dict(codes)}", flush=True)
    p50, p95, p99 = np.percentile(times, [50, 95, 99]) * 1e3
    print(f"accepted: {len(times) / took:.1f}/s; p50 {p50:.0f}, p95 {p95:.0f}, p99 {p99:.0f} ms")
    tenth = len(memory) // 10
    print(f"server's MiB: {memory[tenth]:.0f} after a tenth, {memory[-1]:.0f} at the end, {max(memory):.0f} at most")
    server.terminate()
    print(f"server ended with {server.wait(60)}")
    after = library(options.model, options.engine, data, 15, options.workers)
    print(f"library again: {after:.1f} images/s; served / library: {len(times) / took / ((before + after) / 2):.2f}")


if __name__ == "__main__":
    main()

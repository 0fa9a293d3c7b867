"""Requests of every kind, valid and hostile, in random order from many clients, against a server of its own.

Prints the responses, the latency of /healthz on new connections, and the server's memory and file descriptors after the
first tenth and at the end.

python tests/bench/serve_attack.py --requests 5000 --clients 20
"""

from __future__ import annotations

import argparse
import collections
import http.client
import multiprocessing
import queue
import random
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import yolort

sys.path.insert(0, str(Path(__file__).parents[1] / "python" / "serve"))

from hostile import SAMPLE, Kind, ask, kinds, left_open, post


def attack(address: tuple[str, int], requests: int, clients: int, seed: int, done: Any, seen: Any) -> None:
    every = kinds()
    order = [name for _ in range(requests // len(every) + 1) for name in every][:requests]
    random.Random(seed).shuffle(order)
    todo: queue.SimpleQueue[str] = queue.SimpleQueue()
    for name in order:
        todo.put(name)
    lock = threading.Lock()

    def work() -> None:
        while True:
            try:
                name = todo.get_nowait()
            except queue.Empty:
                return
            start = time.perf_counter()
            status = ask(address, every[name])
            with lock:
                seen.put((name, status, time.perf_counter() - start))
                done.value += 1

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen.put(None)


def probe(address: tuple[str, int], stop: Any, out: Any) -> None:
    """Milliseconds of /healthz on a new connection, every 50 ms; 1e6 for any status other than 200."""
    times = []
    while not stop.is_set():
        start = time.perf_counter()
        try:
            connection = http.client.HTTPConnection(*address, timeout=60)
            connection.request("GET", "/healthz")
            ok = connection.getresponse().status == 200
            connection.close()
        except (OSError, http.client.HTTPException):
            ok = False
        took = time.perf_counter() - start
        times.append(took * 1e3 if ok else 1e6)
        time.sleep(max(0.05 - took, 0))
    out.put(times)


def state(pid: int) -> tuple[float, int]:
    """Resident MiB, and open files."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024, len(list(Path(f"/proc/{pid}/fd").iterdir()))  # type: ignore[index]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None, help="Model to serve; default: the embedded one.")
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--each", metavar="REGEX", help="One kind after the other, those that match; 4 seconds each.")
    options = parser.parse_args()

    command = [sys.executable, "-m", "yolort", "serve", str(options.model or yolort.demo_model()), "--port", "0"]
    server = subprocess.Popen([*command, "--name", "yolo", "--log-level", "info"], stderr=subprocess.PIPE, text=True)
    assert server.stderr
    log: list[str] = []
    for line in server.stderr:
        log.append(line)
        if found := re.search(r"running on http://(\S+):(\d+)", line):
            break
    address = (found[1], int(found[2]))  # type: ignore[index]
    threading.Thread(target=lambda: log.extend(server.stderr), daemon=True).start()  # type: ignore[arg-type]
    for _ in range(20):
        ask(address, post("/detect", SAMPLE))

    context = multiprocessing.get_context("spawn")
    if options.each:
        each(context, address, options)
    else:
        everything(context, address, options, server.pid)
    print(f"server: {'runs' if server.poll() is None else f'ended with {server.poll()}'}")
    server.terminate()
    print(f"server ended with {server.wait(60)}; tracebacks in its log: {sum('Traceback' in line for line in log)}")


def everything(context: Any, address: tuple[str, int], options: argparse.Namespace, pid: int) -> None:
    stop, times, seen, done = context.Event(), context.Queue(), context.Queue(), context.Value("i", 0)
    prober = context.Process(target=probe, args=(address, stop, times))
    clients = context.Process(
        target=attack, args=(address, options.requests, options.clients, options.seed, done, seen)
    )
    begin = time.time()
    prober.start()
    clients.start()
    memory: list[tuple[int, float, int]] = []
    statuses: collections.Counter[str] = collections.Counter()
    by_kind: collections.defaultdict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    running = True
    while running:
        time.sleep(0.25)
        memory.append((done.value, *state(pid)))
        while not seen.empty():
            if (one := seen.get()) is None:
                running = False
                break
            statuses[one[1]] += 1
            by_kind[one[0]][one[1]] += 1
    clients.join()
    time.sleep(1)
    at_end = state(pid)
    stop.set()
    latency = np.array(times.get())
    prober.join()
    for name, counts in by_kind.items():
        print(f"  {name:30} {dict(counts)}")
    print(
        f"{sum(statuses.values())} requests, {options.clients} clients, {time.time() - begin:.0f} s: {dict(statuses)}"
    )
    p50, p99 = np.percentile(latency, [50, 99])
    print(f"/healthz, {len(latency)} times: p50 {p50:.1f}, p99 {p99:.1f}, max {latency.max():.1f} ms")
    first = next((row for row in memory if row[0] >= options.requests // 10), memory[-1])
    rest = [row for row in memory if row[0] >= options.requests // 10]
    quarters = [round(float(np.median(part))) for part in np.array_split([row[1] for row in rest], 4)]
    print(
        f"MiB: {first[1]:.0f} after a tenth, {at_end[0]:.0f} at the end, {max(row[1] for row in memory):.0f} at most; "
        f"medians of the quarters between {quarters}"
    )
    print(f"files: {first[2]} after a tenth, {at_end[1]} at the end, {max(row[2] for row in memory)} at most")


def each(context: Any, address: tuple[str, int], options: argparse.Namespace) -> None:
    every = kinds()
    for name in filter(re.compile(options.each).search, every):
        send = every[name]
        stop, times = context.Event(), context.Queue()
        prober = context.Process(target=probe, args=(address, stop, times))
        prober.start()
        time.sleep(1)
        end = time.time() + 4
        counts: collections.Counter[str] = collections.Counter()

        def work(send: Kind = send, end: float = end, counts: collections.Counter[str] = counts) -> None:
            while time.time() < end:
                counts[ask(address, send)] += 1

        threads = [threading.Thread(target=work) for _ in range(options.clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stop.set()
        latency = np.array(times.get())
        prober.join()
        while left_open:
            left_open.pop().close()
        p50, p99 = np.percentile(latency, [50, 99])
        failed = int((latency == 1e6).sum())
        print(f"{name:30} p50 {p50:6.1f} p99 {p99:7.1f} max {latency.max():7.1f} ms, failed {failed}; {dict(counts)}")


if __name__ == "__main__":
    main()

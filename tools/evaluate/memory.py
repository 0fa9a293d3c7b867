"""Memory of a model in a process that imports only the runtime."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["memory_mib", "runtime_memory"]

_SECONDS = 600  # in which the probe has to end
#: Loads the model and detects in some images; prints MiB before it and at the peak.
_PROBE = """
import json, sys
import numpy as np
from yolort._open import open_model
{memory_mib}
model, options, shape = json.loads(sys.argv[1])
image = np.zeros(shape, np.uint8)
before = memory_mib("VmRSS")
detector = open_model(model, **options)
for _ in range(8):
    detector(image)
print(json.dumps([before, memory_mib("VmHWM")]))
"""


def memory_mib(field: str) -> float:
    """Resident memory of this process: VmRSS is that of now, VmHWM the peak, which it is if the system has no /proc.

    Not ru_maxrss if there is another way: Linux has a process start with that of the one that started it.
    """
    import re
    import sys

    try:
        with open("/proc/self/status") as status:
            found = re.search(field + r":\s*(\d+) kB", status.read())
            return int(found[1]) / 1024  # type: ignore[index]
    except (OSError, TypeError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1 << 20)


def runtime_memory(model: str | Path, options: dict[str, Any], shape: tuple[int, ...]) -> dict[str, float | None]:
    """MiB at the peak of such a process (`rss_mib`), and what of it came with the model (`engine_mib`).

    Both None if the process fails.

    Args:
        model, options: of `Detector`.
        shape: (height, width, 3) of the images that it detects in, one at a time.
    """
    program = _PROBE.replace("{memory_mib}", inspect.getsource(memory_mib))
    given = json.dumps([str(model), options, list(shape)])
    try:
        done = subprocess.run(
            [sys.executable, "-c", program, given],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
        )
        before, peak = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return {"rss_mib": None, "engine_mib": None}
    return {"rss_mib": peak, "engine_mib": peak - before}

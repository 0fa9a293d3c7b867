"""Measures the memory of a model in a process that imports only the runtime."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["memory_mib", "runtime_memory"]

_SECONDS = 600  # timeout of the probe
#: Loads the model and detects in some images; prints the MiB before loading and at the peak.
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
    """Resident memory of this process: VmRSS is the current value, VmHWM the peak.

    Systems without /proc report the peak (ru_maxrss). On Linux ru_maxrss is not used, because a process inherits it
    from its parent.
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
    """Peak MiB of such a process (`rss_mib`), and the part added by the model (`engine_mib`).

    Both None if the process fails.

    Args:
        model, options: see `Detector`.
        shape: (height, width, 3) of the images to detect in, one at a time.
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

"""`yolort engines`."""

from __future__ import annotations

import yolort
from yolort.cli._output import print_table


def engines() -> None:
    """List the engines and their devices, and say why an engine cannot run."""
    rows: list[list[object]] = []
    for status in yolort.engines():
        devices = "\n".join(yolort.devices(status.name)) if status.available else ""
        rows.append([status.name, "yes" if status.available else "no", status.version, devices or status.reason])
    print_table(["engine", "available", "version", "devices, or reason"], rows)

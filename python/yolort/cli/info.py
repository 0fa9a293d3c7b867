"""`yolort info`."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from yolort._open import open_model
from yolort.cli._options import (
    Engine,
    Model,
)
from yolort.cli._output import print_table, say
from yolort.detector import Detector


def info(
    model: Model,
    engine: Engine = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show a model's task, classes and metadata, and the engine that runs it."""
    detector = open_model(model, engine=engine)
    facts: dict[str, Any] = {
        "model": str(model),
        "task": detector.task,
        "head": detector.head,
        "imgsz": list(detector.imgsz),
        "channels": detector.channels,
        "classes": len(detector.names),
        "names": list(detector.names.values()),
        "engine": detector.engine,
        "device": detector.device,
        "precision": detector.precision,
        "tuned": detector.tuned,
        "why": detector.explain().splitlines(),
        "metadata": {key: value for key, value in detector.metadata.items() if key not in ("names", "imgsz")},
    }
    if isinstance(detector, Detector) and detector.skeleton:
        facts["skeleton"] = detector.skeleton
    if as_json:
        say(json.dumps(facts))
        return
    shown = facts.pop("names")
    facts["names"] = ", ".join(shown[:12]) + (f", ... ({len(shown) - 12} more)" if len(shown) > 12 else "")
    facts["why"] = "\n".join(facts["why"])
    metadata = facts.pop("metadata")
    facts.update({f"metadata.{key}": value for key, value in metadata.items()})
    print_table([], [[key, value] for key, value in facts.items()])

"""The thresholds that a request may set."""

from __future__ import annotations

from typing import Any, cast

from fastapi import HTTPException
from pydantic import BaseModel, ConfigDict, Field

from yolort import _checks
from yolort._open import Model
from yolort._types import Settings
from yolort.classifier import Classifier
from yolort.serve.limits import whole

_MAX_CLASSES = 4096  # characters


class DetectOptions(BaseModel):
    """Thresholds of one request; those left out are the server's."""

    model_config = ConfigDict(extra="forbid")

    conf: float | None = Field(None, ge=0, le=1)
    iou: float | None = Field(None, ge=0, le=1)
    max_det: int | None = Field(None, ge=1, le=100_000)
    classes: str | None = Field(None, max_length=_MAX_CLASSES, description="class indices or names: 0,2,person")
    agnostic: bool | None = None

    def settings(self, detector: Model, where: str) -> Settings:
        """Converts to settings for a call of `detector`. HTTPException, which names `where`, for invalid values."""
        settings: dict[str, Any] = self.model_dump(exclude_none=True)
        if settings and isinstance(detector, Classifier):
            raise HTTPException(400, f"{where}.{next(iter(settings))}: a classifier does not have this threshold")
        if self.classes is not None:
            settings["classes"] = _classes(self.classes, detector, where)
        return cast(Settings, settings)


def _classes(text: str, detector: Model, where: str) -> list[int]:
    named = _checks.indices_of(detector.names)
    found: list[int] = []
    for part in map(str.strip, text.split(",")):
        number = whole(part, len(detector.names) - 1)
        indices = named.get(part) if number is None else [number]
        if indices is None:
            raise HTTPException(
                400, f"{where}.classes: {part[:80]!r} is not one of the {len(detector.names)} classes of this model"
            )
        found += indices
    return list(dict.fromkeys(found))


def explain(errors: Any) -> str:
    """Formats pydantic's errors as one line."""
    return "; ".join(f"{'.'.join(map(str, error['loc']))[:200]}: {error['msg']}" for error in list(errors)[:5])

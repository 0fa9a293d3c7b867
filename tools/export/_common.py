"""Helpers shared by the converters."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
import yaml

if TYPE_CHECKING:
    from yolort.tools.export.tensorrt import EngineOptions

__all__ = ["Request", "describe_sizes", "need_package", "quiet", "write_sidecar"]


@dataclass(frozen=True)
class Request:
    """The checked arguments of an export."""

    format: str
    precision: str
    head: str
    size: tuple[int, int]  # height, width; for a dynamic model, the size that is traced
    batch: int
    dynamic: bool
    opset: int
    engine: EngineOptions | None = None
    channels: int = 3

    @property
    def image(self) -> torch.Tensor:
        """(batch, channels, height, width) of the traced input."""
        return torch.rand(self.batch, self.channels, *self.size, generator=torch.Generator().manual_seed(0))


def write_sidecar(built: Path, described: dict[str, Any]) -> None:
    """Writes the metadata file of a model folder."""
    text = yaml.safe_dump(described, sort_keys=False, allow_unicode=True, width=sys.maxsize)
    (built / "metadata.yaml").write_text(text, encoding="utf-8")


def describe_sizes(before: int, built: Path) -> str:
    """A line with the size in fp32 (`before`, bytes) and in fp16."""
    after = sum(file.stat().st_size for file in ([built] if built.is_file() else built.iterdir()))
    return f"size: {before / 1e6:.1f} MB in fp32, {after / 1e6:.1f} MB in fp16"


def need_package(package: str) -> ModuleType:
    """Imports the package; ModuleNotFoundError says how to install it."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"this export needs the package {package}: pip install {package}", name=package
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silences the deprecation and tracing warnings of the converters: the result is checked instead."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

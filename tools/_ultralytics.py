"""Makes Ultralytics work if torchvision cannot be imported, and stops it from installing packages.

With a CPU-only torch (`2.13.0+cpu`) and PyPI's torchvision, which is built against CUDA, importing torchvision fails
with `operator torchvision::nms does not exist`. For detectors, Ultralytics 8.4 imports torchvision in `predict`, in
`val` (so at the end of every `train` too) and in the warm-up of its backends, only for `torchvision.ops.nms`; its own
`ultralytics.utils.nms.TorchNMS.nms` is documented to match that exactly.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["allow_missing_torchvision", "install_nothing", "labels_found_by", "need_torchvision"]

_log = logging.getLogger(__name__)


class _StandIn(ModuleType):
    """A stand-in for a part of torchvision; accessing anything it lacks raises an error with the reason."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, f"Stand-in for {name}: {reason}")
        self.__spec__ = ModuleSpec(name, loader=None, is_package=True)
        self.__path__: list[str] = []
        self._reason = reason

    def __getattr__(self, name: str) -> object:
        raise AttributeError(
            f"{self.__name__}.{name} is not available: the installed torchvision cannot be imported "
            f"({self._reason}); install the torchvision that matches this torch"
        )


def _nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Non-maximum suppression with the signature of `torchvision.ops.nms`.

    `boxes` is (N, 4) float x1 y1 x2 y2, `scores` (N,) float, `iou_threshold` in 0..1. Returns the kept indices, int64,
    by descending score. Raises RuntimeError during tracing and compilation, because the loop depends on the data: a
    trace would freeze the result for one image.
    """
    import torch

    tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    if tracing or torch.compiler.is_compiling():
        raise RuntimeError("NMS cannot be exported here: install the torchvision that matches this torch")
    from ultralytics.utils.nms import TorchNMS

    kept: torch.Tensor = TorchNMS.nms(boxes, scores, iou_threshold)
    return kept


def _why_unusable() -> str | None:
    """The first line of the error from importing torchvision and calling its NMS; None if both work."""
    import torch

    try:
        ops = importlib.import_module("torchvision.ops")
        ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except Exception as error:  # RuntimeError, ImportError, OSError, ...: depends on how the installation is broken
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    return None


def allow_missing_torchvision() -> bool:
    """Lets Ultralytics run if torchvision cannot be imported; call it before `predict`, `val` or `train`.

    If torchvision works, nothing changes. If its import or its NMS kernel fails, remains of the failed import are
    removed from `sys.modules`, a stand-in with `torchvision.ops.nms` and `torchvision.__version__` replaces it in this
    process, and one warning is logged. Further calls have no effect.

    Returns True if the stand-in is used, False for the real torchvision.
    """
    if isinstance(sys.modules.get("torchvision"), _StandIn):
        return True
    reason = _why_unusable()
    if reason is None:
        return False
    for name in [name for name in sys.modules if name == "torchvision" or name.startswith("torchvision.")]:
        del sys.modules[name]
    package, ops = _StandIn("torchvision", reason), _StandIn("torchvision.ops", reason)
    try:
        version = importlib.metadata.version("torchvision")
    except importlib.metadata.PackageNotFoundError:
        version = "0.0.0"
    vars(package).update(__version__=version, ops=ops)
    vars(ops).update(nms=_nms)
    sys.modules.update({"torchvision": package, "torchvision.ops": ops})
    _log.warning("torchvision cannot be imported (%s): using the NMS of Ultralytics in its place", reason)
    return True


def need_torchvision() -> None:
    """Raises ModuleNotFoundError if torchvision cannot be imported, whose transforms Ultralytics needs to train
    classifiers.

    The message names the matching version and how to install it.
    """
    import torch

    module = sys.modules.get("torchvision")
    reason = module._reason if isinstance(module, _StandIn) else _why_unusable()
    if reason is None:
        return
    version, _, build = torch.__version__.partition("+")
    index = f" --index-url <the package index of the {build} builds of torch>" if build else ""
    raise ModuleNotFoundError(
        f"Ultralytics trains classifiers with torchvision, which cannot be imported ({reason}); install the one that "
        f"was built for this torch {torch.__version__}: pip install torchvision torch=={version}{index}",
        name="torchvision",
    )


def install_nothing() -> None:
    """Makes `PIL.Image.open` raise PIL's own error for a file that is not an image.

    Ultralytics replaces it with a function that tries to install pi-heif and fails with ModuleNotFoundError.
    """
    from ultralytics.utils import patches

    if importlib.util.find_spec("pi_heif") is None:
        vars(patches)["_pil_plugins_registered"] = True


@contextmanager
def labels_found_by(label_files: Callable[[Sequence[Path]], list[Path]]) -> Iterator[None]:
    """Context in which Ultralytics' datasets read the label files that a given function returns for the images."""
    from ultralytics.data import dataset

    stock = dataset.img2label_paths
    dataset.img2label_paths = lambda images: list(map(str, label_files(list(map(Path, images)))))
    try:
        yield
    finally:
        dataset.img2label_paths = stock

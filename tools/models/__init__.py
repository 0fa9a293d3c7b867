"""Reads models: checkpoints, architectures, ONNX graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolort.tools._lazy import export_lazily

if TYPE_CHECKING:
    from yolort.tools.models.checkpoints import Checkpoint as Checkpoint
    from yolort.tools.models.checkpoints import CheckpointError as CheckpointError
    from yolort.tools.models.checkpoints import load_checkpoint as load_checkpoint
    from yolort.tools.models.onnx_graph import Graph as Graph
    from yolort.tools.models.onnx_graph import GraphError as GraphError
    from yolort.tools.models.onnx_graph import read_graph as read_graph
    from yolort.tools.models.torch_detector import TorchDetector as TorchDetector

export_lazily(
    __name__,
    {
        "Checkpoint": "checkpoints",
        "CheckpointError": "checkpoints",
        "Graph": "onnx_graph",
        "GraphError": "onnx_graph",
        "TorchDetector": "torch_detector",
        "load_checkpoint": "checkpoints",
        "read_graph": "onnx_graph",
    },
)

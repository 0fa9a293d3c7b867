"""`read_graph`: ONNX files with external weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx")

import yolort  # noqa: E402
from yolort.tools.models import onnx_graph  # noqa: E402
from yolort.tools.models.onnx_graph import GraphError, read_graph  # noqa: E402


@pytest.fixture
def split_model(tmp_path: Path) -> Callable[..., Path]:
    """The demo model with external weights; optionally with a changed location of a weight."""

    def make(**changes: str) -> Path:
        model = onnx.load(yolort.demo_model("onnx"))
        path = tmp_path / "set" / "model.onnx"
        path.parent.mkdir(exist_ok=True)
        (path.parent / "model.data").unlink(missing_ok=True)
        onnx.save(model, path, save_as_external_data=True, location="model.data", size_threshold=0)
        if changes:
            model = onnx.load(path, load_external_data=False)
            told = model.graph.initializer[0].external_data
            kept = {entry.key: entry.value for entry in told} | changes
            del told[:]
            for key, value in kept.items():
                told.add(key=key, value=value)
            path.write_bytes(model.SerializeToString())
        return path

    return make


def test_weights_in_another_file(split_model: Callable[..., Path]) -> None:
    read, whole = read_graph(split_model()), read_graph(yolort.demo_model("onnx"))
    assert len(read.convolutions) == len(whole.convolutions) > 0
    for one, other in zip(read.convolutions, whole.convolutions, strict=True):
        ours, theirs = read.constant(one.input[1]), whole.constant(other.input[1])
        assert ours is not None and theirs is not None and (ours == theirs).all()
    assert not any(weight.external_data for weight in read.model.graph.initializer)


def test_weights_that_are_elsewhere_or_too_large(
    split_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = split_model()
    (tmp_path / "outside.data").write_bytes((model.parent / "model.data").read_bytes())
    for where in ("../outside.data", str(tmp_path / "outside.data"), "gone.data"):
        with pytest.raises(GraphError, match=rf"the weights in '.*{Path(where).name}' cannot be read"):
            read_graph(split_model(location=where))
    for length in ("-1", "many"):
        with pytest.raises(GraphError, match=r"the weights in 'model\.data' cannot be read"):
            read_graph(split_model(length=length))
    with pytest.raises(GraphError, match=r"'model\.data' and its graph are larger than 2 GiB"):
        read_graph(split_model(length=str(1 << 31)))
    monkeypatch.setattr(onnx_graph, "_MAX_BYTES", model.stat().st_size + 100)
    with pytest.raises(GraphError, match=r"'model\.data' and its graph are larger than 2 GiB"):
        read_graph(split_model())

"""Untrusted architectures and YAML: no code runs, memory is bounded, and errors are one sentence."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml")
torch = pytest.importorskip("torch")
ultralytics = pytest.importorskip("ultralytics")

from ultralytics.nn.modules.conv import Conv  # noqa: E402
from ultralytics.nn.tasks import guess_model_task  # noqa: E402
from yolort.tools._yaml import parse_yaml  # noqa: E402
from yolort.tools.data.dataset import list_images, load_dataset, write_for_ultralytics  # noqa: E402
from yolort.tools.data.samples import LabelError  # noqa: E402
from yolort.tools.models.checkpoints import CheckpointError, load_checkpoint  # noqa: E402
from yolort.tools.search.study import StudyError, read_study  # noqa: E402

SHIPPED = Path(ultralytics.__file__).parent / "cfg" / "models"
SMALL: dict[str, Any] = {
    "nc": 3,
    "backbone": [[-1, 1, "Conv", [16, 3, 2]], [-1, 1, "Conv", [32, 3, 2]], [-1, 1, "C2f", [32, True]]],
    "head": [[-1, 1, "Conv", [32, 3, 2]], [-1, 1, "nn.Upsample", ["None", 2, "nearest"]], [[2, 4], 1, "Concat", [1]],
             [-1, 1, "C2f", [32]], [[6], 1, "Detect", ["nc"]]],
}  # fmt: skip


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "arch.yaml"
    path.write_text(yaml.safe_dump({**SMALL, **changes}))
    return path


def detectors() -> list[Path]:
    """All architectures that Ultralytics ships with a supported head."""
    out = []
    for path in sorted(SHIPPED.rglob("*.yaml")):
        said = yaml.safe_load(path.read_text())
        if "head" in said and said["head"][-1][2] in ("Detect", "v10Detect") and guess_model_task(said) == "detect":
            out.append(path)
    return out


@pytest.mark.slow
@pytest.mark.parametrize("path", detectors(), ids=lambda path: path.stem)
def test_what_ultralytics_ships_is_built(path: Path) -> None:
    model: Any = load_checkpoint(path).model
    assert model.stride.max() >= 32


def test_a_small_one_is_built(tmp_path: Path) -> None:
    model: Any = load_checkpoint(write(tmp_path)).model
    assert len(model.model) == 8


@pytest.mark.parametrize("activation", ["nn.ReLU()", "torch.nn.LeakyReLU(0.2)", "nn.LeakyReLU(negative_slope=0.2)"])
def test_activations(activation: str, tmp_path: Path) -> None:
    before = Conv.default_act
    made: Any = load_checkpoint(write(tmp_path, activation=activation)).model
    assert type(made.model[0].act).__name__ in activation
    assert Conv.default_act is before


@pytest.mark.parametrize(
    "activation",
    ["__import__('os').system('touch {marker}')", "nn.ReLU(__import__('os').system('touch {marker}'))",
     "nn.Module.__init__.__globals__['os'].system('touch {marker}')", "nn.ReLU() if open('{marker}','w') else 0",
     "(lambda: nn.ReLU())()", "nn.Linear(10**5, 10**5)", "nn.PReLU(1000000000)", "nn.PReLU(-1)",
     "nn.LeakyReLU(1e999)", "nn.ReLU", "nn", "", "nn.ReLU(**{{}})", "nn.ReLU('x')",
     "nn.utils.rnn.pack_sequence([])", "x.nn.ReLU()", 7, ["nn.ReLU()"], "(" * 5000],
)  # fmt: skip
def test_no_activation_runs_code(activation: Any, tmp_path: Path) -> None:
    marker = tmp_path / "pwned"
    said = activation.format(marker=marker) if isinstance(activation, str) else activation
    path = write(tmp_path, activation=said)
    before = Conv.default_act
    if said == "":
        load_checkpoint(path)  # none
    else:
        with pytest.raises(CheckpointError, match="'activation' is .*expected one such as nn.SiLU"):
            load_checkpoint(path)
    assert not marker.exists()
    assert Conv.default_act is before


def layer(*parts: Any) -> dict[str, Any]:
    return {"backbone": [list(parts), *SMALL["backbone"][1:]]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (layer(-1, 1, "torch_load", ["x.pt"]), "layer 0 is a 'torch_load', which is not a supported layer"),
        (layer(-1, 1, "os.system", ["true"]), "layer 0 is a 'os.system'"),
        (layer(-1, 1, "TorchVision", [3, "resnet18", "DEFAULT"]), "layer 0 is a 'TorchVision'"),
        (layer(-1, 1, "DetectionModel", ["x.yaml"]), "layer 0 is a 'DetectionModel'"),
        (layer(-1, 1, "nn.Linear", [3, 4]), "layer 0 is a 'nn.Linear'"),
        (layer(-1, 1, "torchvision.ops.nms", []), "layer 0 is a 'torchvision.ops.nms'"),
        (layer(-1, 1, None, []), "layer 0 is a None"),
        (layer(-1, 1, "Conv", ["__import__('os')"]), "layer 0 (Conv) has the arguments"),
        (layer(-1, 1, "Conv", ["d"]), "layer 0 (Conv) has the arguments"),
        (layer(-1, 1, "Conv", [10**9]), "layer 0 (Conv) has the arguments"),
        (layer(-1, 1, "Conv", [float("inf")]), "layer 0 (Conv) has the arguments"),
        (layer(-1, 1, "Conv", {"a": 1}), "layer 0 (Conv) has the arguments"),
        (layer(-1, 1, "Conv", []), "layer 0 cannot be built"),
        (layer(-1, 1, "Conv", [-16, 3, 2]), "layer 0 cannot be built"),
        (layer(-1, 10**9, "Conv", [16]), "layer 0 is repeated 1000000000 times"),
        (layer(-1, 0, "Conv", [16]), "layer 0 is repeated 0 times"),
        (layer(-1, True, "Conv", [16]), "layer 0 is repeated True times"),
        (layer(5, 1, "Conv", [16]), "layer 0 takes 5"),
        (layer([], 1, "Conv", [16]), "layer 0 takes []"),
        (layer("x", 1, "Conv", [16]), "layer 0 takes 'x'"),
        (layer(-1, 1, "Conv"), "layer 0 is [-1, 1, 'Conv'], expected [from, repeats, module, arguments]"),
        ({"backbone": "x"}, "no list of layers under 'backbone'"),
        ({"backbone": []}, "it cannot be built|takes"),
        ({"backbone": SMALL["backbone"] * 200}, "layers, expected 1 to 300"),
        ({"head": None}, "it does not describe a detection model"),
        ({"head": [[-1, 1, "WorldDetect", ["nc", 256, True]]]}, 'the head to ask for is "boxes"'),
        ({"head": [[-1, 1, "YOLOEDetect", ["nc", 512, True]]]}, 'the head to ask for is "boxes"'),
        ({"head": [[-1, 1, "RTDETRDecoder", ["nc"]]]}, 'the head to ask for is "end2end"'),
        ({"head": [[-1, 1, "Segment", ["nc", 32, 64]]]}, "it describes a segment model; only detection models can"),
        ({"head": [[-1, 1, "Conv", [16]]]}, "it ends in 'Conv'"),
        ({"nc": -1}, "'nc' is -1"),
        ({"nc": "80"}, "'nc' is '80'"),
        ({"reg_max": 10**6}, "'reg_max' is 1000000"),
        ({"width_multiple": 1e9}, "'width_multiple' is 1000000000.0"),
        ({"end2end": "yes"}, "'end2end' is 'yes'"),
        ({"scales": {"n": [1, 2]}}, "scale 'n' is [1, 2]"),
        ({"scales": "x"}, "'scales' is 'x'"),
        ({"scale": ["n"], "scales": {"n": [1, 1, 1024]}}, "'scale' is ['n'], expected a letter"),
        ({"scale": "z", "scales": {"n": [1, 1, 1024]}}, "scale 'z' is None, expected depth, width"),
        ({"depth_multiple": 60000, **layer(-1, 100, "C2f", [16])}, "layer 0 is repeated 100 x 60000 times"),
        ({"scales": {"n": [60000, 1, 1024]}, **layer(-1, 100, "C2f", [16])}, "layer 0 is repeated 100 x 60000 times"),
        (layer(-1, 1, "RepNCSPELAN4", [16, 16, 16, 60000]), "it has more than the 20000 modules that are built"),
        (layer(-1, 1, "SPPF", [16, 5, 60000]), "values for an image of 256 x 256 pixels"),
        (layer(-1, 1, "SPPF", [16, 4097]), "pooling takes more than 1e+12 operations"),
        (layer(-1, 1, "SPP", [16, [4097]]), "pooling takes more than 1e+12 operations"),
        (layer(-1, 1, "SPPELAN", [16, 16, 4097]), "pooling takes more than 1e+12 operations"),
        (layer(-1, 1, "nn.MaxPool2d", [4097, 1, 2048]), "pooling takes more than 1e+12 operations"),
        (layer(-1, 1, "nn.AvgPool2d", [[4097, 4097], 1, 2048]), "pooling takes more than 1e+12 operations"),
        (
            {"backbone": [[-1, 1, "Conv", [1024, 3, 1]], [-1, 1, "Conv", [1024, 5, 1]], SMALL["backbone"][2]]},
            "layer 1 takes more than 1e+12 operations",
        ),
        ({"head": [*SMALL["head"][:-1], [[6] * 9, 1, "Detect", ["nc"]]]}, "expected a list of 1 to 8 layers"),
        ({"head": [*SMALL["head"][:-1], [6, 1, "Detect", ["nc"]]]}, "layer 7 takes 6, expected a list of 1 to 8"),
        (layer(-1, 1, "Conv", [16, 3, 0]), "layer 0 cannot be built: integer division"),
        (
            {"head": [SMALL["head"][0], [-1, 1, "nn.Upsample", ["None", 3, "nearest"]], *SMALL["head"][2:]]},
            "layer 5 cannot be built: Sizes of tensors must match",
        ),
        ({"head": [*SMALL["head"][:-1], [[6], 5, "Detect", ["nc"]]]}, "arch.yaml cannot be used: expected a detection"),
        (layer(-1, 1, "Conv", [60000, 31, 1]), "parameters, more than|values for an image|cannot be built"),
        (layer(-1, 1, "nn.Upsample", ["None", 60000, "nearest"]), "values for an image|cannot be built"),
        (
            {"backbone": [[-1, 1, "Conv", [8000, 3, 1]], [-1, 9, "Conv", [8000, 3, 1]], SMALL["backbone"][2]]},
            "parameters",
        ),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(write(tmp_path, **changes))
    assert any(part in str(error.value) for part in message.split("|")), error.value
    assert "\n" not in str(error.value)


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


#: 130 lists of 45 levels, each nested in the next.
CHAIN = "".join(f"a{n}: &a{n} {'[' * 45}{f'*a{n - 1} ' if n else 'x'}{']' * 45}\n" for n in range(130))


def test_what_is_nested_and_aliased_within_the_limits() -> None:
    text = f"a: &a {'[' * 20}x{']' * 20}\nb: {'[' * 20}*a {']' * 20}\nc: &c {{1: x}}\nd: {{<<: *c, 1: y, '1': z}}\n"
    read = parse_yaml(text)
    assert read["d"] == {1: "y", "1": "z"}
    assert str(read["b"]).count("[") == 40


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB + "names: *i\n", "more than 400000 values"),
        (BOMB.replace("[", "{? [").replace("]", "]}") + "names: [a]\n", ""),
        ("a: &a [*a]\n", "alias contains itself|unconstructable|recursive"),
        ("[" * 1000 + "]" * 1000, "nested deeper|maximum nesting depth"),
        ("[" * 100_000, "nest|recursion"),
        ("[" * 60 + "]" * 60, "nested deeper than 50 levels"),
        ("a: " + "9" * 5000, "a number of 5000 characters, in line 1"),
        ("a: 1" + ":59" * 300_000, "a number of 900001 characters, in line 1"),
        ("a: 0x" + "f" * 5000, "a number of 5002 characters, in line 1"),
        (
            "a: &a {k: v}\n"
            + "".join(
                f"{b}: &{b} {{<<: [{'*' + a}{', *' + a}{', *' + a}]}}\n"
                for a, b in zip("abcdefghijklmnopqrs", "bcdefghijklmnopqrst", strict=True)
            ),
            "more than 400000 values",
        ),
        ("a: 1\n\nb: {c: 1, c: 2}", "the key 'c' occurs twice, in line 3"),
        ("names: {0: a, 00: zzz, 1: b, 2: c}", "the key '00' occurs twice, as '0' too, in line 1"),
        ("{0x0: a, false: q}", "the key 'false' occurs twice, as '0x0' too"),
        ("{1: a, 1.0: b}", "the key '1.0' occurs twice"),
        ("{null: a, ~: b}", "the key '~' occurs twice"),
        ("a: &a {x: 1}\nb: {<<: *a, <<: *a}", "the key '<<' occurs twice, in line 2"),
        ("{? !!map x : a}", "does not fit its tag|expected a mapping"),
        (CHAIN, "nested deeper than 50 levels"),
        (CHAIN.replace("[", "{k: ").replace("]", "}"), "nested deeper than 50 levels"),
        ("a: !!binary aGk=", "the tag '!!binary' is not supported, in line 1"),
        ("a: !!bool x", "a value does not fit its tag"),
        ("!!python/object/apply:os.system ['true']", "the tag '!!python/object/apply:os.system' is not supported"),
        ("a: b: c", "mapping values"),
        ("\t- a", "cannot start any token|tab"),
        ("a: !!timestamp x", ""),
        ("\x00", "control characters|special characters"),
        ("%YAML 9.9\n---\na", "incompatible"),
        ("? {a: b}\n: c\n", "unhashable"),
    ],
)
def test_untrusted_yaml(text: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        parse_yaml(text)
    assert any(part in str(error.value) for part in message.split("|")), error.value
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["names", "path", "val"])
def test_aliases_of_a_data_yaml(key: str, tmp_path: Path) -> None:
    data = tmp_path / "data.yaml"
    data.write_text(BOMB + "".join(f"{name}: {'*i' if name == key else '[x]'}\n" for name in ("names", "path", "val")))
    for read in (load_dataset, list_images):
        with pytest.raises(LabelError, match="more than 400000 values"):
            read(data, "val")
    (tmp_path / "study.yaml").write_text(BOMB + "model: *i\n")
    with pytest.raises(StudyError, match="more than 400000 values"):
        read_study(tmp_path / "study.yaml")
    arch = tmp_path / "arch.yaml"
    arch.write_text(BOMB + "head: *i\n")
    with pytest.raises(CheckpointError, match="more than 400000 values"):
        load_checkpoint(arch)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [[a]]\nval: x\n", "'names' contains .*which is not a class name"),
        ("names: {0: {a: b}}\nval: x\n", "'names' contains"),
        ("names: [a]\nval: {a: b}\n", "'val' is .*expected a path"),
        ("names: [a]\nval: [[x]]\n", "'val' is .*expected a path"),
        ("names: [a]\npath: [x]\nval: x\n", "'path' is .*expected a path"),
    ],
)
def test_scalars_are_demanded(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(LabelError, match=message):
        load_dataset(tmp_path / "data.yaml")


def test_ultralytics_does_not_read_the_untrusted_file(blocks: Path, tmp_path: Path) -> None:
    """Its `download` is not run either; Ultralytics runs it if it does not find images."""
    from ultralytics.data.utils import check_det_dataset

    marker = tmp_path / "pwned"
    evil = blocks.with_name("evil.yaml")
    evil.write_text(f"path: .\n{blocks.read_text()}download: |\n  open({str(marker)!r}, 'w')\n")
    os.chdir(tmp_path)
    given = write_for_ultralytics(evil, tmp_path)
    read = check_det_dataset(given)
    assert read["names"] == {0: "red", 1: "green", 2: "blue"}
    assert len(Path(read["train"]).read_text().splitlines()) == 12
    assert not marker.exists()


def repacked(source: Path, target: Path, **options: Any) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", **options) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return target


def test_checkpoints_that_take_more_than_they_hold(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    source = checkpoint("yolov8n")
    load_checkpoint(repacked(source, tmp_path / "stored.pt"))
    with pytest.raises(CheckpointError, match="its records are compressed"):
        load_checkpoint(repacked(source, tmp_path / "deflated.pt", compression=zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(tmp_path / "pickle.pt", "w") as archive:
        archive.writestr("x/data.pkl", b"\x80\x02" + b"N0" * (9 << 20) + b".")
    with pytest.raises(CheckpointError, match="more than 16 MiB of objects"):
        load_checkpoint(tmp_path / "pickle.pt")
    saved = torch.load(source, weights_only=False)
    weight = saved["model"].model[0].conv.weight
    weight.data = weight.data[:1, :1, :1, :1].expand(1 << 15, 1 << 15, 1, 1)
    torch.save(saved, tmp_path / "expanded.pt")
    assert (tmp_path / "expanded.pt").stat().st_size < 20 << 20
    with pytest.raises(CheckpointError, match=r"numbers, more than the \d+ that are read"):
        load_checkpoint(tmp_path / "expanded.pt")

"""The commands equivalent to a recipe."""

from __future__ import annotations

import pytest

pytest.importorskip("ultralytics")
pytest.importorskip("optuna")

from yolort.tools.search.recipe import Recipe


def test_commands() -> None:
    recipe = Recipe(
        model="m.pt",
        imgsz=320,
        epochs=3,
        prune=0.2,
        finetune=2,
        engine="ncnn",
        precision="int8",
        train={"batch": 4, "lr0": 0.1},
    )
    assert list(recipe.commands("my data.yaml", 1)) == [
        "yolort train m.pt lr0=0.1 --batch 4 --data 'my data.yaml' --epochs 3 --imgsz 320 --seed 1 --output trained",
        "yolort prune trained/weights/best.pt lr0=0.1 --batch 4 --ratio 0.2 --method group-norm --round-to 8 "
        "--imgsz 320 --seed 1 --no-measure --data 'my data.yaml' --finetune 2 --distill --output pruned.pt",
        "yolort export pruned.pt --format ncnn --imgsz 320 --output model_ncnn_model",
        "yolort export pruned.pt --format onnx --imgsz 320 --output model.onnx",
        "yolort calibrate model.onnx --data 'my data.yaml' --output calibration.json",
        "yolort quantize model_ncnn_model --format ncnn --calibration calibration.json --output model-int8_ncnn_model",
        "yolort val model-int8_ncnn_model --data 'my data.yaml' --engine ncnn",
    ]
    engine = Recipe(model="m.pt", imgsz=320, engine="tensorrt", precision="int8")
    assert list(engine.commands("d.yaml", 1))[2:] == [
        "yolort quantize model.onnx --target gpu --calibration calibration.json --output model-int8.onnx",
        "yolort export model-int8.onnx --format engine --precision fp16 --output model-int8.engine",
        "yolort val model-int8.engine --data d.yaml --engine tensorrt",
    ]


def test_commands_of_a_distilled_model() -> None:
    base = Recipe(model="s.pt", imgsz=320, engine="onnxruntime", train={"lr0": 0.1})
    recipe = base.but({"model": "n.pt", "imgsz": 256, "epochs": 5, "teacher": base})
    how = "lr0=0.1 --data d.yaml --epochs 5 --imgsz 256 --seed 0 --output trained"
    last = [
        "yolort export trained/weights/best.pt --format onnx --imgsz 256 --output model.onnx",
        "yolort val model.onnx --data d.yaml --engine onnxruntime --precision fp32",
    ]
    assert list(recipe.commands("d.yaml", 0)) == [
        f"yolort distill --teacher s.pt --student n.pt {how}",
        *last,
    ]
    taught = recipe.but({"teacher": base.but({"epochs": 3})})
    assert list(taught.commands("d.yaml", 0)) == [
        "yolort train s.pt lr0=0.1 --data d.yaml --epochs 3 --imgsz 320 --seed 0 --output teacher-trained",
        f"yolort distill --teacher teacher-trained/weights/best.pt --student n.pt {how}",
        *last,
    ]


def test_commands_of_rare_classes_calibration_and_scales() -> None:
    recipe = Recipe(
        model="m.pt",
        imgsz=320,
        epochs=2,
        gamma=1.5,
        class_weights="median",
        sampling="repeat",
        prune=0.2,
        finetune=1,
        engine="openvino",
        precision="int8",
        calibration="minmax",
        calibration_images=32,
        per_channel=False,
        augment_scales=(320, 384),
    )
    rare = "--gamma 1.5 --class-weights median --sampling repeat"
    assert list(recipe.commands("d.yaml", 0)) == [
        f"yolort train m.pt {rare} --data d.yaml --epochs 2 --imgsz 320 --seed 0 --output trained",
        f"yolort prune trained/weights/best.pt {rare} --ratio 0.2 --method group-norm --round-to 8 --imgsz 320 "
        "--seed 0 --no-measure --data d.yaml --finetune 1 --distill --output pruned.pt",
        "yolort export pruned.pt --format onnx --imgsz 320 --dynamic --output model.onnx",
        "yolort calibrate model.onnx --data d.yaml --method minmax --images 32 --output calibration.json",
        "yolort quantize model.onnx --target openvino --per-tensor --calibration calibration.json "
        "--output model-int8.onnx",
        "yolort val model-int8.onnx --data d.yaml --engine openvino --scales 320,384",
    ]


def test_commands_say_all_that_is_done() -> None:
    recipe = Recipe(model="m.yaml", imgsz=320, epochs=2, scales=(0.5, 1.5), head="raw-e2e", augment=True)
    assert list(recipe.commands("d.yaml", 0)) == [
        "yolort train m.yaml --data d.yaml --epochs 2 --imgsz 320 --scales 0.5,1.5 --seed 0 --output trained",
        "yolort export trained/weights/best.pt --format onnx --imgsz 320 --head raw-e2e --output model.onnx",
        "yolort val model.onnx --data d.yaml --engine onnxruntime --precision fp32 --augment",
    ]

"""Calibration and INT8 quantization."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolort.tools._lazy import export_lazily

if TYPE_CHECKING:
    from yolort.tools.quantize.activations import CalibrationError as CalibrationError
    from yolort.tools.quantize.calibrate import Calibration as Calibration
    from yolort.tools.quantize.calibrate import calibrate as calibrate
    from yolort.tools.quantize.export_int8 import export_int8 as export_int8
    from yolort.tools.quantize.quantize import MODES as MODES
    from yolort.tools.quantize.quantize import Quantized as Quantized
    from yolort.tools.quantize.quantize import QuantizeError as QuantizeError
    from yolort.tools.quantize.quantize import quantize as quantize
    from yolort.tools.quantize.sweep import sweep as sweep

export_lazily(
    __name__,
    {
        "Calibration": "calibrate",
        "CalibrationError": "activations",
        "MODES": "quantize",
        "QuantizeError": "quantize",
        "Quantized": "quantize",
        "calibrate": "calibrate",
        "export_int8": "export_int8",
        "quantize": "quantize",
        "sweep": "sweep",
    },
)

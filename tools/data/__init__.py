"""Labeled images and statistics of their classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolort.tools._lazy import export_lazily

if TYPE_CHECKING:
    from yolort.tools.data.class_balance import ClassReport as ClassReport
    from yolort.tools.data.class_balance import class_report as class_report
    from yolort.tools.data.dataset import letterboxed as letterboxed
    from yolort.tools.data.dataset import list_images as list_images
    from yolort.tools.data.dataset import load_dataset as load_dataset
    from yolort.tools.data.dataset import splits as splits
    from yolort.tools.data.dataset import trainable as trainable
    from yolort.tools.data.dataset import write_for_ultralytics as write_for_ultralytics
    from yolort.tools.data.samples import Dataset as Dataset
    from yolort.tools.data.samples import LabelError as LabelError
    from yolort.tools.data.samples import Sample as Sample
    from yolort.tools.data.samples import listed as listed

export_lazily(
    __name__,
    {
        "ClassReport": "class_balance",
        "Dataset": "samples",
        "LabelError": "samples",
        "Sample": "samples",
        "class_report": "class_balance",
        "letterboxed": "dataset",
        "list_images": "dataset",
        "listed": "samples",
        "load_dataset": "dataset",
        "splits": "dataset",
        "trainable": "dataset",
        "write_for_ultralytics": "dataset",
    },
)

"""A Detector over HTTP: the Open Inference Protocol (KServe v2), `POST /detect`, metrics, and a page to try it.

app = yolort.serve.create_app(yolort.Detector("yolo26n.onnx"))  # any ASGI server runs it; `run` does with uvicorn
"""

from yolort.serve.app import create_app, run
from yolort.serve.limits import Limits

__all__ = ["Limits", "create_app", "run"]

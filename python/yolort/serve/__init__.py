"""A Detector over HTTP: the Open Inference Protocol (KServe v2), `POST /detect`, metrics, and a page to try it.

app = yolort.serve.create_app(yolort.Detector("yolo26n.onnx"))  # for any ASGI server; `run` uses uvicorn
"""

from yolort.serve.app import create_app, run
from yolort.serve.limits import Limits

__all__ = ["Limits", "create_app", "run"]

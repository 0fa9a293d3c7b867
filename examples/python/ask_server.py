"""Sends an image to `yolort serve` and prints what it found: ask_server.py IMAGE [URL]

With Python's standard library only; the server is started with: yolort serve yolo26n.onnx
"""

import json
import sys
import urllib.request
from pathlib import Path

image = Path(sys.argv[1])
url = sys.argv[2] if len(sys.argv) > 2 else "http://127.0.0.1:8000"
request = urllib.request.Request(f"{url}/detect?conf=0.4", data=image.read_bytes())
with urllib.request.urlopen(request, timeout=30) as answer:
    found = json.load(answer)
for detection in found["detections"]:
    print(detection["name"], f"{detection['score']:.2f}", *(f"{side:.0f}" for side in detection["box"]))

"""Your own HTTP application with a Detector: fastapi_app.py MODEL [PORT]; pip install fastapi uvicorn

Requests that arrive together run as one batch. `yolort serve` is a complete server with limits and metrics.
"""

import asyncio
import sys

import cv2
import numpy as np
import uvicorn
import yolort
from fastapi import FastAPI, HTTPException, Request

model = sys.argv[1]
port = int(sys.argv[2]) if len(sys.argv) > 2 else 8000
app = FastAPI()
batcher = yolort.Batcher(yolort.Detector(model))


@app.post("/detect")
async def detect(request: Request) -> dict[str, object]:
    image = cv2.imdecode(np.frombuffer(await request.body(), np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise HTTPException(400, "the body is not an image")
    found = await asyncio.wrap_future(batcher.submit(image, conf=0.4))
    return found.to_dict()


with batcher:
    uvicorn.run(app, port=port)

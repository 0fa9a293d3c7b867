"""Detects in an image and saves it with the boxes drawn: detect_image.py MODEL IMAGE OUTPUT

pip install "yolort-runtime[onnxruntime,cli]"
"""

import sys

import yolort

model, image, output = sys.argv[1:]
detector = yolort.Detector(model)
pixels = yolort.images.read(image)
found = detector(pixels)
for box, score, cls in found:
    print(detector.names[cls], f"{score:.2f}", *(f"{side:.0f}" for side in box))
found.save(output, pixels)

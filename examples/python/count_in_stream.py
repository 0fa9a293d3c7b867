"""Counts the objects of each class in every frame of a video, a camera or a folder: count_in_stream.py MODEL SOURCE

SOURCE is a file, a URL such as rtsp://camera/1, a folder or pattern of images, or the number of a camera.
"""

import sys
from collections import Counter

import yolort

model, source = sys.argv[1:]
detector = yolort.Detector(model)
with detector.stream(int(source) if source.isdecimal() else source, conf=0.4) as frames:
    for frame in frames:
        counts = Counter(detector.names[cls] for _, _, cls in frame.detections)
        print(frame.index, dict(sorted(counts.items())), flush=True)

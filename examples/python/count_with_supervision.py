"""Counts objects in the left half of each frame with supervision: count_with_supervision.py MODEL SOURCE

pip install supervision
"""

import sys

import numpy as np
import supervision as sv
import yolort

model, source = sys.argv[1:]
detector = yolort.Detector(model)
zone = None
with detector.stream(int(source) if source.isdecimal() else source, conf=0.4) as frames:
    for frame in frames:
        height, width = frame.image.shape[:2]
        if zone is None:
            corners = [(0, 0), (width // 2, 0), (width // 2, height), (0, height)]
            zone = sv.PolygonZone(np.array(corners), triggering_anchors=[sv.Position.CENTER])
        inside = zone.trigger(frame.detections.to_supervision())
        print(frame.index, len(inside), "objects,", int(inside.sum()), "in the left half", flush=True)

"""Draws the detections in a video or webcam into a new video: annotate_video.py MODEL SOURCE OUTPUT.avi [FRAMES]

SOURCE is a video file, a URL or the number of a webcam, which is read until FRAMES frames are written.
"""

import sys

import cv2
import yolort

model, source, output = sys.argv[1:4]
frames = int(sys.argv[4]) if len(sys.argv) > 4 else None
detector = yolort.Detector(model)
writer = None
with detector.stream(int(source) if source.isdecimal() else source, conf=0.4) as stream:
    for count, frame in enumerate(stream, 1):
        drawn = frame.detections.draw(frame.image)
        if writer is None:
            height, width = drawn.shape[:2]
            writer = cv2.VideoWriter(output, cv2.VideoWriter.fourcc(*"MJPG"), 30, (width, height))
        writer.write(drawn)
        if count == frames:
            break
if writer is None:
    sys.exit(f"{source} has no frames")
writer.release()
print(count, "frames")

"""Detects in every image of a folder and writes one JSON line per image: detect_folder.py MODEL FOLDER OUTPUT.jsonl"""

import json
import sys

import yolort

model, folder, output = sys.argv[1:]
detector = yolort.Detector(model)
with open(output, "w", encoding="utf-8") as lines:
    for path in yolort.images.find(folder):
        found = detector(path, conf=0.4)
        lines.write(json.dumps(found.to_dict()) + "\n")
        print(path, len(found), flush=True)

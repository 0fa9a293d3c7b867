#!/bin/sh
# INT8 in five commands: int8.sh CHECKPOINT DATA FOLDER [OPTIONS OF EXPORT, such as --imgsz 320]
# Needs the extra `tools`; DATA is a data.yaml with train and val.
set -eu
checkpoint=$1 data=$2 folder=$3
shift 3
mkdir -p "$folder"

yolort export "$checkpoint" --output "$folder/float.onnx" "$@"
yolort calibrate "$folder/float.onnx" --data "$data" --output "$folder/calibration.json"
yolort quantize "$folder/float.onnx" --calibration "$folder/calibration.json" --data "$data" --output "$folder/int8.onnx"
yolort val "$folder/int8.onnx" --data "$data" --save-conf "$folder/conf.json"
yolort benchmark "$folder/float.onnx" "$folder/int8.onnx" --runs 50 --warmup 10 --report "$folder/table.html"

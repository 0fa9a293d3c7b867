#!/usr/bin/env bash
# Compiles the TensorRT engine against headers, and tests what needs no GPU; each alone, then all in one library:
#   TENSORRT_INCLUDE_DIRS="8.6/include 10.16/include 11.1/include" tests/compile_tensorrt.sh
set -euo pipefail
cd "$(dirname "$0")/.."
read -ra folders <<<"${TENSORRT_INCLUDE_DIRS:?folders of TensorRT headers, separated by spaces}"
together=$(IFS=';' && echo "${folders[*]}")
for chosen in "${folders[@]}" "$together"; do
  echo "== $chosen"
  cmake -G Ninja -S . -B build/compile_tensorrt --fresh -DYOLORT_WERROR=ON -DYOLORT_BUILD_TESTS=ON -DYOLORT_NCNN=OFF \
    -DTENSORRT_INCLUDE_DIR="$chosen" >/dev/null
  cmake --build build/compile_tensorrt
  ctest --test-dir build/compile_tensorrt --output-on-failure
done

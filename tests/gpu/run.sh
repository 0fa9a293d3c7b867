#!/usr/bin/env bash
# Everything that a machine with an NVIDIA GPU has to verify, in well under 10 minutes; ends with a table.
#   tests/gpu/run.sh STORE         STORE holds what pack.py made: unpacked, or its pieces together in STORE/store.tar.zst
#   tests/gpu/run.sh STORE build   only builds, which needs STORE/include and STORE/wheels
# Needs nvcc, cmake, ninja, pybind11, scikit-build-core, torch, onnx, onnxruntime, opencv and pytest; zstd or pyarrow.
set -uo pipefail
cd "$(dirname "$0")/../.."
store=$(realpath "${1:?the folder that holds what pack.py made}")
work=$store/work
mkdir -p "$work"
began=$SECONDS
failed=()
step() {  # step SECONDS NAME COMMAND...: goes on where it fails
  # What is built is not built again unless a source is newer.
  local limit=$1 name=$2 from=$SECONDS
  shift 2
  echo "== $name"
  if [ -e "$work/$name.built" ] && [ -z "$(find cpp python tools tests CMakeLists.txt pyproject.toml \
    -newer "$work/$name.built" -not -path '*__pycache__*' -print -quit)" ]; then
    echo "   built before"
    return 0
  fi
  if timeout "$limit" "$@" >"$work/$name.log" 2>&1; then
    echo "   done in $((SECONDS - from)) s"
    case $name in build-* | wheels) touch "$work/$name.built" ;; esac
  else
    echo "   FAILED after $((SECONDS - from)) s:"
    tail -n 25 "$work/$name.log"
    failed+=("$name")
  fi
}

unpack() {
  if command -v zstd >/dev/null; then
    zstd -dc "$1"
  else
    python3 -c 'import shutil, sys, pyarrow
shutil.copyfileobj(pyarrow.CompressedInputStream(sys.argv[1], "zstd"), sys.stdout.buffer, 1 << 20)' "$1"
  fi
}
site=$work/site
export PYTHONPATH=$site LD_LIBRARY_PATH=$store/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
[ -d "$store/include" ] || unpack "$store/store.tar.zst" | tar -C "$store" -x || exit 1
step 60 wheels python3 -m pip install -q --no-index --no-deps --no-compile --target "$site" "$store"/wheels/*.whl
step 240 build-python python3 -m pip install -q --no-build-isolation --no-deps --no-index --upgrade --target "$site" . \
  --config-settings=cmake.define.YOLORT_NCNN=OFF --config-settings=cmake.define.YOLORT_WERROR=ON \
  --config-settings=cmake.define.TENSORRT_INCLUDE_DIR="$store/include"
step 120 build-bare nvcc -O2 -std=c++17 -w -I"$store/include" tests/gpu/bare_enqueue.cpp -ldl -o "$work/bare_enqueue"
step 60 build-configure cmake -G Ninja -S . -B "$work/cpp" -DYOLORT_BUILD_TESTS=ON -DYOLORT_NCNN=OFF \
  -DTENSORRT_INCLUDE_DIR="$store/include"
step 240 build-cpp cmake --build "$work/cpp"
[ "${2:-}" != build ] || exit $((${#failed[@]} > 0))

[ -d "$store/lib" ] || unpack "$store/store.tar.zst" | tar -C "$store" -x || exit 1
# The parser is linked to the plugins, which need cuDNN and cuBLAS; a YOLO needs none of them.
major=$(sed -n 's/^#define NV_TENSORRT_MAJOR *\([0-9]*\).*/\1/p' "$store/include/NvInferVersion.h")
echo 'extern "C" bool initLibNvInferPlugins(void*, const char*) { return true; }' |
  g++ -shared -fPIC -x c++ - -Wl,-soname,libnvinfer_plugin.so."$major" -o "$store/lib/libnvinfer_plugin.so.$major"

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
step 240 cpp ctest --test-dir "$work/cpp" --output-on-failure
side_by_side=$(python3 -c 'import xdist' 2>/dev/null && printf %s -n8)
step 300 contract python3 -m pytest -q $side_by_side -p no:cacheprovider -o addopts= tests/python/test_engines.py \
  tests/python/test_views.py tests/python/test_detector.py -k "tensorrt or gpu"
cat "$work/contract.log" | tail -n 3

echo "== measure"
(cd "$work" && timeout 400 python3 -u "$OLDPWD/tests/gpu/measure.py" --models "$store/models" \
  --data "$store/data/data.yaml" --work "$work" --bare "$work/bare_enqueue" --level "${YOLORT_LEVEL:-3}" --seconds 240) || failed+=(measure)
engine=$(find "$work" -name '*fp16.engine' | sort | head -n 1)
step 90 clones python3 tests/gpu/clones.py "$engine" 8 "${YOLORT_SOAK_S:-30}"
cat "$work/clones.log"
step 90 memcheck compute-sanitizer --tool memcheck --error-exitcode 9 python3 tests/gpu/clones.py "$engine" 8 3
tail -n 2 "$work/memcheck.log"

echo "== in $((SECONDS - began)) s; failed: ${failed[*]:-nothing}"
[ ${#failed[@]} -eq 0 ]

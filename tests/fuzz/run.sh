#!/usr/bin/env bash
# run.sh CORPUS SECONDS: fuzzes the target of a corpus, from what is in it and what earlier runs came upon.
set -euo pipefail
target=$(basename "$1")
corpus=$(realpath "$1") found=build/fuzz/found/$target
mkdir -p "$found/corpus"
# As many bytes as a model of that kind may make it take; 10 seconds are a hang.
if build/fuzz/fuzz_"$target" -max_total_time="$2" -max_len=8192 -rss_limit_mb=2048 -malloc_limit_mb=1024 -timeout=10 \
  -print_final_stats=1 -artifact_prefix="$found/" "$found/corpus" "$corpus" >"$found/log" 2>&1; then
  echo "$target: $(grep -ao 'number_of_executed_units: *[0-9]*' "$found/log" | grep -o '[0-9]*$') executions, nothing found"
else
  echo "$target: FOUND something, see $found/log"
  exit 1
fi

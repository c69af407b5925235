#!/usr/bin/env bash
# Prints the folder of NVIDIA's cuBLASLt from PyPI: include/ and lib/ (420 MB, fetched once into $HUMANIZER_CACHE). Nothing of it is Python.
set -euo pipefail
cd "$(dirname "$0")"
CACHE=${HUMANIZER_CACHE:-$HOME/.cache/humanizer}
folder=$CACHE/cublas-$(cat cublas.txt cublas.sh | sha256sum | cut -c1-12)
mkdir -p "$CACHE"; exec 9>"$folder.lock"; flock 9
if [ ! -d "$folder" ]; then
  echo "fetching cuBLASLt into $folder (log: $folder.log)" >&2
  rm -rf "$folder.partial"
  python3 -m pip install -q --disable-pip-version-check --no-deps --require-hashes --no-cache-dir --target "$folder.partial" -r cublas.txt \
    >"$folder.log" 2>&1 || { tail -20 "$folder.log" >&2; exit 1; }
  find "$folder.partial/nvidia/cu13/lib" -type f ! -name 'libcublasLt.so*' -delete # the rest of cuBLAS is not used
  mv "$folder.partial" "$folder"
fi
echo "$folder/nvidia/cu13"

#!/usr/bin/env bash
# Prints the home of a CUDA toolkit made of PyPI's wheels (400 MB, made once under $HUMANIZER_CACHE). Nothing of it is Python.
set -euo pipefail
cd "$(dirname "$0")"
CACHE=${HUMANIZER_CACHE:-$HOME/.cache/humanizer}
folder=$CACHE/cuda-$(cat requirements.txt toolkit.sh | sha256sum | cut -c1-12)
mkdir -p "$CACHE"; exec 9>"$folder.lock"; flock 9
if [ ! -d "$folder" ]; then
  echo "installing the CUDA compiler into $folder (log: $folder.log)" >&2
  rm -rf "$folder.partial"
  python3 -m pip install -q --disable-pip-version-check --no-deps --target "$folder.partial" -r requirements.txt >"$folder.log" 2>&1 ||
    { tail -20 "$folder.log" >&2; exit 1; }
  home=$folder.partial/nvidia/cu13
  chmod +x "$home"/bin/* "$home"/nvvm/bin/*
  ln -s lib "$home/lib64"
  mv "$folder.partial" "$folder"
fi
echo "$folder/nvidia/cu13"

#!/usr/bin/env bash
# Prints the Python of a virtual environment with the peers of the benchmarks (6 GB, made once). Only benchmarks use Python.
set -euo pipefail
cd "$(dirname "$0")"
CACHE=${HUMANIZER_CACHE:-$HOME/.cache/humanizer}
folder=$CACHE/bench-peers-$(sha256sum requirements.txt | cut -c1-12)
if [ ! -e "$folder/made" ]; then
  echo "installing the peers into $folder (6 GB; log: $folder.log)" >&2
  rm -rf "$folder"; python3 -m venv "$folder"
  "$folder/bin/pip" install -q --disable-pip-version-check -r requirements.txt >"$folder.log" 2>&1 || { tail -20 "$folder.log" >&2; exit 1; }
  touch "$folder/made"
fi
echo "$folder/bin/python"

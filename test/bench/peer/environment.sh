#!/usr/bin/env bash
# environment.sh REQUIREMENTS: prints the Python of a virtual environment with what that file names (made once; requirements.txt takes 6 GB,
# requirements-llamacpp.txt compiles llama.cpp for the processor it runs on). Only benchmarks and the test of OpenAI's client use Python.
set -euo pipefail
cd "$(dirname "$0")"
CACHE=${HUMANIZER_CACHE:-$HOME/.cache/humanizer}
folder=$CACHE/bench-peers-$(sha256sum "$1" | cut -c1-12)
if [ ! -e "$folder/made" ]; then
  echo "installing the peers of $1 into $folder (log: $folder.log)" >&2
  rm -rf "$folder"; python3 -m venv "$folder"
  "$folder/bin/pip" install -q --disable-pip-version-check -r "$1" >"$folder.log" 2>&1 || { tail -20 "$folder.log" >&2; exit 1; }
  touch "$folder/made"
fi
echo "$folder/bin/python"

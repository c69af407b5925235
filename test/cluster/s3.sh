#!/usr/bin/env bash
# Builds Versity's S3 gateway (Apache-2.0) once from its Go module and prints the path of its program: the S3 server of the tests.
set -euo pipefail
. "$(dirname "$0")/env.sh"
FOLDER=$CACHE/s3-$(content_hash s3 s3.sh)
mkdir -p "$CACHE"; exec 9>"$CACHE/s3.lock"; flock 9
if [ ! -e "$FOLDER" ]; then
  rm -rf "$FOLDER.partial"; mkdir "$FOLDER.partial"; cd "$HERE/s3"
  CGO_ENABLED=0 go build -mod=mod -trimpath -ldflags '-s -w' -o "$FOLDER.partial/" tool >"$CACHE/s3.log" 2>&1 ||
    { tail -20 "$CACHE/s3.log" >&2; echo "building the S3 server failed; see $CACHE/s3.log" >&2; exit 1; }
  mv "$FOLDER.partial" "$FOLDER"
fi
echo "$FOLDER/versitygw"

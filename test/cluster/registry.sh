#!/usr/bin/env bash
# Fetches Debian's docker-registry once and prints the path of its program, for tests that push images. Unpacked, not installed: the
# package would start a service with the machine.
set -euo pipefail
. "$(dirname "$0")/env.sh"
FOLDER=$CACHE/docker-registry
if [ ! -e "$FOLDER" ]; then
  temporary=$(mktemp -d /tmp/docker-registry.XXXXXX); trap 'rm -rf "$temporary"' EXIT
  chmod 0755 "$temporary"; cd "$temporary"
  { apt-get download -q docker-registry || { apt-get update -q && apt-get download -q docker-registry; }; } >&2
  dpkg-deb -x docker-registry_*.deb unpacked
  mkdir -p "$CACHE"; rm -rf "$FOLDER.partial"; cp -r unpacked "$FOLDER.partial"; mv "$FOLDER.partial" "$FOLDER"
fi
echo "$FOLDER/usr/bin/docker-registry"

#!/usr/bin/env bash
# Builds the operator's and the trainer's image and prints, as shell assignments, their names and archives:
#   OPERATOR_IMAGE OPERATOR_ARCHIVE TRAINER_IMAGE TRAINER_ARCHIVE
# Tags are hashes of what is inside, so an image that exists is not built again. With REGISTRY=host/path the images are pushed
# there (a user's own cluster) and named accordingly.
set -euo pipefail
. "$(dirname "$0")/env.sh"
ROOT=$(cd "$HERE/../.." && pwd)
"$HERE/packages.sh"
mkdir -p "$CACHE/images"; exec 9>"$CACHE/images.lock"; flock 9
LOG=$CACHE/images.log
hash_of() { (cd "$ROOT" && find "$@" -type f ! -name '*.test.ts' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c1-12); }
quietly() { "$@" >>"$LOG" 2>&1 || { tail -20 "$LOG" >&2; echo "failed: $*; see $LOG" >&2; exit 1; }; }
# 512 MB of archives a day adds up: what was not used for three days goes
find "$CACHE/images" -name '*.tar' -atime +3 -delete

BASE=localhost/humanizer-base:$(hash_of package.json package-lock.json test/cluster/images/base test/cluster/images.sh)
build_base() {
  local context; context=$(mktemp -d "$CACHE/base.XXXXXX")
  cp "$HERE/images/base/Dockerfile" "$ROOT/package.json" "$ROOT/package-lock.json" "$context/"
  mmdebstrap --variant=extract --include=base-files,libc6,libstdc++6,libgcc-s1,libgomp1,libdnnl2 bookworm "$context/rootfs.tar"
  (cd "$context" && npm install --no-save --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error)
  "$ROOT/node_modules/.bin/node" -e 'require("fs").copyFileSync(process.execPath, process.argv[1])' "$context/node"
  chmod 0755 "$context/node"; strip "$context/node" || true
  $BUILDAH build -q --isolation chroot -t "$BASE" "$context"
  rm -rf "$context"
}
$BUILDAH inspect --type image "$BASE" >/dev/null 2>&1 || quietly build_base

# image NAME DOCKERFILE PATH...: builds localhost/humanizer/NAME:<hash of PATHs> unless its archive is there
image() {
  local name=$1 dockerfile=$2; shift 2
  local tag; tag=$(printf '%s %s' "$BASE" "$(hash_of "$dockerfile" "$@")" | sha256sum | cut -c1-12)
  local reference=${REGISTRY:-localhost/humanizer}/$name:$tag archive=$CACHE/images/$name-$tag.tar
  if [ ! -e "$archive" ]; then
    quietly $BUILDAH build -q --isolation chroot --build-arg "BASE=$BASE" -f "$ROOT/$dockerfile" -t "localhost/humanizer/$name:$tag" "$ROOT"
    rm -f "$archive.partial"
    quietly $BUILDAH push -q "localhost/humanizer/$name:$tag" "docker-archive:$archive.partial:localhost/humanizer/$name:$tag"
    mv "$archive.partial" "$archive"
  fi
  touch -a "$archive"
  if [ -n "${REGISTRY:-}" ]; then quietly $BUILDAH push -q ${REGISTRY_FLAGS:-} "localhost/humanizer/$name:$tag" "docker://$reference"; fi
  echo "${name^^}_IMAGE=$reference ${name^^}_ARCHIVE=$archive"
}
make -s -C "$ROOT" native >>"$LOG" 2>&1 || { tail -20 "$LOG" >&2; exit 1; }
image operator operator/Dockerfile proto/generated operator
image trainer trainer-image/Dockerfile proto/generated trainer-image build/native/trainer_native.node
# the demo's file server: busybox, the model and the corpus
if [ "${DEMO_FILES:-0}" = 1 ]; then
  model=$("$HERE/model.sh"); corpus=$ROOT/test/fixtures/prose.jsonl
  tag=$(cat "$HERE/images/demo-files/Dockerfile" "$corpus" <(stat -c %s "$model") | sha256sum | cut -c1-12)
  archive=$CACHE/images/demo-files-$tag.tar reference=${REGISTRY:-localhost/humanizer}/demo-files:$tag
  if [ ! -e "$archive" ]; then
    context=$(mktemp -d "$CACHE/demo-files.XXXXXX"); mkdir "$context/www"
    cp "$HERE/images/demo-files/Dockerfile" "$context/"; cp "$model" "$context/www/model.gguf"; cp "$corpus" "$context/www/prose.jsonl"; chmod -R a+rX "$context"
    quietly $BUILDAH build -q --isolation chroot -t "localhost/humanizer/demo-files:$tag" "$context"
    quietly $BUILDAH push -q "localhost/humanizer/demo-files:$tag" "docker-archive:$archive.partial:localhost/humanizer/demo-files:$tag"
    mv "$archive.partial" "$archive"; rm -rf "$context"
  fi
  if [ -n "${REGISTRY:-}" ]; then quietly $BUILDAH push -q ${REGISTRY_FLAGS:-} "localhost/humanizer/demo-files:$tag" "docker://$reference"; fi
  echo "FILES_IMAGE=$reference FILES_ARCHIVE=$archive"
fi

#!/usr/bin/env bash
# Builds the operator's and the trainer's image and prints, as shell assignments, their names and archives:
#   OPERATOR_IMAGE OPERATOR_ARCHIVE TRAINER_IMAGE TRAINER_ARCHIVE
# With ARCHIVES=0 it writes and names no archives (that of a trainer with the CUDA kernels has 840 MB).
# Tags are hashes of what is inside, so an image that exists is not built again. With REGISTRY=host/path the images are pushed
# there (a user's own cluster) and named accordingly; REGISTRY_FLAGS are flags of buildah push, such as --tls-verify=false.
# ENGINE=cuda takes the engine with the CUDA kernels; without it the CPU's alone.
# With NAMES=folder the names also go there: to images.yaml as values of the chart, and with DEMO_FILES=1 (the demo's file server, too) to
# demo-files.yaml.
set -euo pipefail
. "$(dirname "$0")/env.sh"
ROOT=$(cd "$HERE/../.." && pwd)
ENGINE=${ENGINE:-native} ARCHIVES=${ARCHIVES:-1}
"$HERE/packages.sh"
mkdir -p "$CACHE/images"; exec 9>"$CACHE/images.lock"; flock 9
LOG=$CACHE/images.log
hash_of() { (cd "$ROOT" && find "$@" -type f ! -name '*.test.ts' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c1-12); }
present() { $BUILDAH inspect --type image "$1" >/dev/null 2>&1; }
quietly() { "$@" >>"$LOG" 2>&1 || { tail -20 "$LOG" >&2; echo "failed: $*; see $LOG" >&2; exit 1; }; }
# 512 MB of archives a day adds up: what was not used for three days goes
find "$CACHE/images" -name '*.tar' -atime +3 -delete

BASE=localhost/humanizer-base:$(hash_of package.json package-lock.json test/cluster/images/base test/cluster/images.sh)
build_base() {
  local context; context=$(mktemp -d "$CACHE/base.XXXXXX")
  cp "$HERE/images/base/Dockerfile" "$ROOT/package.json" "$ROOT/package-lock.json" "$context/"
  mmdebstrap --variant=extract --include=base-files,libc6,libstdc++6,libgcc-s1,libgomp1,libdnnl2 bookworm "$context/rootfs.tar"
  (cd "$context" && npm install --no-save --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error)
  # What nothing in an image loads: the packages of the operator, which is one file; those of another libc; what only compilers and debuggers read
  (cd "$context/node_modules" && rm -rf @kubernetes @dot-i @types @duckdb/*-musl && find . \( -name '*.d.ts' -o -name '*.map' \) -delete)
  "$ROOT/node_modules/.bin/node" -e 'require("fs").copyFileSync(process.execPath, process.argv[1])' "$context/node"
  chmod 0755 "$context/node"; strip "$context/node" || true
  $BUILDAH build -q --isolation chroot -t "$BASE" "$context"
  rm -rf "$context"
}
present "$BASE" || quietly build_base

# archive NAME TAG COMMAND...: the archive of localhost/humanizer/NAME:TAG, which COMMAND builds if it is not there yet; pushed to REGISTRY when
# there is one
archive() {
  local name=$1 tag=$2 archive=$CACHE/images/$1-$2.tar image=localhost/humanizer/$1:$2; shift 2
  local reference=${REGISTRY:-localhost/humanizer}/$name:$tag
  if [ "$ARCHIVES" = 0 ]; then
    present "$image" || "$@" "$image"
  elif [ ! -e "$archive" ]; then
    "$@" "$image"
    rm -f "$archive.partial"
    quietly $BUILDAH push -q "$image" "docker-archive:$archive.partial:$image"
    mv "$archive.partial" "$archive"
  fi
  [ -z "${REGISTRY:-}" ] || quietly $BUILDAH push -q ${REGISTRY_FLAGS:-} "$image" "docker://$reference"
  name=${name#demo-}; echo "${name^^}_IMAGE=$reference"
  [ "$ARCHIVES" = 0 ] || { touch -a "$archive"; echo "${name^^}_ARCHIVE=$archive"; }
}
build() { quietly $BUILDAH build -q --isolation chroot --build-arg "BASE=$BASE" -f "$ROOT/$1" -t "$2" "${@:3}" "$ROOT"; } # DOCKERFILE IMAGE FLAG...
build_trainer() { BASE=$TRAINER_BASE build trainer-image/Dockerfile "$1" --build-arg "ENGINE=$ENGINE"; }                    # IMAGE
tag_of() { printf '%s %s' "$BASE" "$(hash_of "$@")" | sha256sum | cut -c1-12; }
TRAINER_BASE=$BASE
if [ "$ENGINE" = cuda ]; then
  TRAINER_BASE=localhost/humanizer-base-cuda:$(tag_of test/cluster/images/cuda.Dockerfile test/cuda/cublas.txt test/cuda/cublas.sh)
  cublas=$("$ROOT/test/cuda/cublas.sh")
  present "$TRAINER_BASE" || quietly $BUILDAH build -q --isolation chroot --build-arg "BASE=$BASE" \
    -f "$HERE/images/cuda.Dockerfile" -t "$TRAINER_BASE" "$cublas/lib"
fi
make -s -C "$ROOT" operator build/$ENGINE/trainer_native.node >>"$LOG" 2>&1 || { tail -20 "$LOG" >&2; exit 1; }
operator=$(tag_of operator/Dockerfile build/operator.mjs)
trainer=$(BASE=$TRAINER_BASE tag_of trainer-image/Dockerfile proto/generated trainer-image build/$ENGINE/trainer_native.node)
archive operator "$operator" build operator/Dockerfile
archive trainer "$trainer" build_trainer
if [ -n "${NAMES:-}" ]; then
  for name in operator trainer; do
    printf '%s: {image: {repository: %s, tag: "%s"}}\n' $name "${REGISTRY:-localhost/humanizer}/$name" "${!name}"
  done >"$NAMES/images.yaml"
fi
[ "${DEMO_FILES:-0}" = 1 ] || exit 0

# the demo's file server: busybox, the model and the corpus
model=$("$HERE/model.sh"); corpus=$ROOT/test/fixtures/prose.jsonl dockerfile=$HERE/images/demo-files/Dockerfile
build_files() { # IMAGE
  local context; context=$(mktemp -d "$CACHE/demo-files.XXXXXX"); mkdir "$context/www"
  cp "$dockerfile" /bin/busybox "$context/"; cp "$model" "$context/www/model.gguf"; cp "$corpus" "$context/www/prose.jsonl"
  chmod -R a+rX "$context"
  quietly $BUILDAH build -q --isolation chroot -t "$1" "$context"
  rm -rf "$context"
}
tag=$(cat "$dockerfile" "$corpus" /bin/busybox <(stat -c %s "$model") | sha256sum | cut -c1-12)
archive demo-files "$tag" build_files
[ -z "${NAMES:-}" ] || sed "s#FILES_IMAGE#${REGISTRY:-localhost/humanizer}/demo-files:$tag#" "$ROOT/docs/demo/files.yaml" >"$NAMES/demo-files.yaml"

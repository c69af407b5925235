#!/usr/bin/env bash
# Builds what a cluster is made of from package registries alone: Kubernetes, etcd, CoreDNS and Helm from Go modules, the
# node's few images from Debian. Each part once, under a folder named by the hash of its inputs; a second call takes milliseconds.
set -euo pipefail
. "$(dirname "$0")/env.sh"
mkdir -p "$CACHE" "$BIN"
exec 9>"$CACHE/build.lock"; flock 9
LOG=$CACHE/build.log

step() { printf '%s  %s\n' "$(date +%T)" "$*"; }

# build_once FOLDER COMMAND...: runs COMMAND with OUT set to a fresh folder, which becomes FOLDER only when it succeeds
build_once() {
  local folder=$1; shift
  [ -d "$folder" ] && return 0
  step "building $(basename "$folder") (log: $LOG)"
  rm -rf "$folder.partial"; mkdir -p "$folder.partial"
  if ! OUT=$folder.partial "$@" >>"$LOG" 2>&1; then tail -20 "$LOG"; echo "building $(basename "$folder") failed; see $LOG" >&2; exit 1; fi
  mv "$folder.partial" "$folder"
}

# All programs of k8s.io/kubernetes at one version, and etcd. The version is stamped as upstream's build does it;
# without the stamp the server calls itself v0.0.0.
build_kubernetes() {
  cd "$HERE/kubernetes"
  local version major minor flags=-s\ -w package
  version=$(go list -mod=mod -m -f '{{.Version}}' k8s.io/kubernetes)
  IFS=. read -r major minor _ <<<"${version#v}"
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=$version -X $package.gitMajor=$major -X $package.gitMinor=$minor -X $package.gitTreeState=clean"
    flags+=" -X $package.gitCommit=0000000000000000000000000000000000000000 -X $package.buildDate=1970-01-01T00:00:00Z"
  done
  CGO_ENABLED=0 go build -mod=mod -trimpath -ldflags "$flags" -o "$OUT/" tool
  mv "$OUT/server" "$OUT/etcd" # etcd's package path ends in server/v3
}

build_coredns() { cd "$HERE/coredns"; CGO_ENABLED=0 go build -mod=mod -trimpath -ldflags '-s -w' -o "$OUT/coredns" .; }

build_helm() {
  cd "$HERE/helm"
  local version; version=$(go list -mod=mod -m -f '{{.Version}}' helm.sh/helm/v3)
  CGO_ENABLED=0 go build -mod=mod -trimpath -ldflags "-s -w -X helm.sh/helm/v3/internal/version.version=$version" -o "$OUT/" tool
}

# buildah with chroot isolation: the oci isolation leaves a bridge on the host
build_node_images() {
  local context=$OUT/context name
  cp -r "$HERE/images" "$context"
  gcc -Os -static -s -o "$context/pause/pause" "$context/pause/pause.c"
  cp /bin/busybox "$context/busybox/busybox"
  cp "$COREDNS/coredns" "$context/coredns/coredns"
  for name in pause:3.10 busybox:1 coredns:1; do
    $BUILDAH build -q --isolation chroot -t "localhost/$name" "$context/${name%:*}"
    $BUILDAH push -q "localhost/$name" "docker-archive:$OUT/${name%:*}.tar:localhost/$name"
  done
  rm -rf "$context"
}

build_once "$HELM" build_helm
build_once "$KUBE" build_kubernetes
build_once "$COREDNS" build_coredns
build_once "$NODE_IMAGES" build_node_images
ln -sfn "$KUBE"/* "$HELM"/helm "$BIN/"

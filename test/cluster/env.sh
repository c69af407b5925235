# Where the cluster's parts lie. Sourced by every script of this folder.
#   HUMANIZER_CACHE  what is built once, by content hash (kept between runs, outside the tree)
#   CLUSTER          name of this cluster; several may run side by side
#   API_PORT         port of 127.0.0.1 that reaches its API server
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${HUMANIZER_CACHE:-$HOME/.cache/humanizer}
CLUSTER=${CLUSTER:-demo}
API_PORT=${API_PORT:-16443}
RUN=$CACHE/run/$CLUSTER   # all that a running cluster writes; removed by down.sh
CGROOT=humanizer-$CLUSTER # parent cgroup of its pods
NODE=node1
NODE_IP=172.31.77.2       # exists only inside the cluster's own network namespace
POD_CIDR=10.244.0.0/24
SVC_CIDR=10.96.0.0/16
KUBERNETES_SVC_IP=10.96.0.1
DNS_IP=10.96.0.10
SLOWER=${SLOWER:-1}       # whole number; all waiting takes this many times as long, for an emulated machine
CTRL_ONLY=${CTRL_ONLY:-0} # 1: etcd, API server, controller manager and scheduler without a node

# content_hash PATH...: twelve characters that change when any byte below the paths does
content_hash() { (cd "$HERE" && find "$@" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c1-12); }
KUBE=$CACHE/kubernetes-$(content_hash kubernetes build.sh)
COREDNS=$CACHE/coredns-$(content_hash coredns build.sh)
HELM=$CACHE/helm-$(content_hash helm build.sh)
NODE_IMAGES=$CACHE/node-images-$(content_hash images/pause images/busybox images/coredns coredns build.sh)
BIN=$CACHE/bin            # links to the binaries of this checkout's versions
BUILDAH="buildah --root $CACHE/containers --runroot $CACHE/containers-run --storage-driver overlay"

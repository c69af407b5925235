#!/usr/bin/env bash
# Pid 1 of the cluster's own pid, mount, net, uts and ipc namespaces: killing it ends everything in it.
set -euo pipefail
. "$(dirname "$0")/env.sh"
P=$RUN/pki; L=$RUN/log; mkdir -p "$L"
export GOGC=400 GOMEMLIMIT=600MiB # small heaps: collecting them took a sixth of the API server's processor time
# runs a program and starts it again 1 s after it ends (touch $RUN/stay-down.NAME to keep it down); pid files hold pids as seen inside
start() { local n=$1; shift; ( while :; do "$@" >>"$L/$n.log" 2>&1 & echo $! >"$RUN/pid.$n"; wait $! || true
  echo "--- $n ended" >>"$L/$n.log"; while [ -e "$RUN/stay-down.$n" ]; do sleep 0.5; done; sleep 1; done ) & }

# --- mounts: private to this namespace, so nothing is left behind on the host
mount --make-rshared /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p "$RUN"/{etcd,kubelet,cni-state,containerd} /run/netns /run/lock
for d in /var/lib/kubelet /var/lib/cni /var/log/pods /var/log/containers; do mkdir -p $d; done
# in memory: quick image import, and nothing to delete afterwards (rm -rf of unpacked layers took 9 s); DISK=1 for the disk
[ "${DISK:-0}" = 1 ] || { mount -t tmpfs tmpfs "$RUN/containerd"; mount -t tmpfs tmpfs "$RUN/etcd"; }
mount --bind "$RUN/kubelet" /var/lib/kubelet
mount --bind "$RUN/cni-state" /var/lib/cni
mkdir -p "$L/pods" "$L/containers"; mount --bind "$L/pods" /var/log/pods; mount --bind "$L/containers" /var/log/containers
: >"$RUN/resolv.conf"; mount --bind "$RUN/resolv.conf" "$(readlink -f /etc/resolv.conf)" 2>/dev/null || true

# --- network: a dead-end uplink (veth, both ends in here); no path to the host or outside
hostname $NODE
ip link set lo up
ip link add eth0 type veth peer name uplink; ip link set uplink up   # this kernel has no dummy device
ip addr add $NODE_IP/24 dev eth0; ip link set eth0 up
ip route add default via ${NODE_IP%.*}.1 dev eth0
sysctl -qw net.ipv4.ip_forward=1

if [ "$CTRL_ONLY" != 1 ]; then   # containerd first: images are imported while the control plane starts
  mkdir -p $RUN/cni.d
  cat > $RUN/cni.d/10-bridge.conflist <<K
{"cniVersion":"1.0.0","name":"pods","plugins":[
 {"type":"bridge","bridge":"cni0","isGateway":true,"hairpinMode":true,"ipMasq":false,
  "ipam":{"type":"host-local","ranges":[[{"subnet":"$POD_CIDR"}]],"routes":[{"dst":"0.0.0.0/0"}]}},
 {"type":"portmap","capabilities":{"portMappings":true},"snat":true}]}
K
  cat > $RUN/containerd.toml <<K
version = 2
root = "$RUN/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.aufs","io.containerd.snapshotter.v1.btrfs","io.containerd.snapshotter.v1.devmapper","io.containerd.snapshotter.v1.zfs","io.containerd.tracing.processor.v1.otlp","io.containerd.internal.v1.tracing"]
[grpc]
  address = "$RUN/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:3.10"
  restrict_oom_score_adj = true   # no CAP_SYS_RESOURCE here: runc fails (nsexec EOF) when it has to lower oom_score_adj
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "$RUN/certs.d"   # read at each pull: HOST/hosts.toml says how a registry is reached
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$RUN/cni.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
K
  start containerd containerd --config $RUN/containerd.toml
  (for i in $(seq 100); do [ -S $RUN/containerd.sock ] && break; sleep $((100 * SLOWER))e-3; done
   for t in "$NODE_IMAGES"/*.tar; do [ -e "$t" ] && ctr -a $RUN/containerd.sock -n k8s.io images import "$t" >>"$L/import.log" 2>&1; done) & IMPORT=$!
fi

start etcd "$KUBE/etcd" --name e --data-dir "$RUN/etcd" --unsafe-no-fsync \
  --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
  --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
  --initial-cluster e=http://127.0.0.1:2380 --log-level warn
start kube-apiserver "$KUBE/kube-apiserver" --etcd-servers http://127.0.0.1:2379 \
  --secure-port 6443 --bind-address 0.0.0.0 --advertise-address $NODE_IP --service-cluster-ip-range $SVC_CIDR \
  --client-ca-file $P/ca.crt --tls-cert-file $P/apiserver.crt --tls-private-key-file $P/apiserver.key \
  --service-account-issuer https://kubernetes.default.svc.cluster.local \
  --service-account-key-file $P/sa.pub --service-account-signing-key-file $P/sa.key \
  --kubelet-client-certificate $P/apiserver-kubelet.crt --kubelet-client-key $P/apiserver-kubelet.key \
  --kubelet-certificate-authority $P/ca.crt --kubelet-preferred-address-types InternalIP \
  --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --allow-privileged --profiling=false
socat UNIX-LISTEN:$RUN/api.sock,fork,reuseaddr TCP:127.0.0.1:6443 >"$L/socat.log" 2>&1 &
# the controller-manager exits if the bootstrap RBAC roles are not there yet
for i in $(seq 300); do "$KUBE/kubectl" --kubeconfig $RUN/admin-in-node.conf get --raw /readyz >/dev/null 2>&1 && break; sleep $((100 * SLOWER))e-3; done
start kube-controller-manager "$KUBE/kube-controller-manager" --kubeconfig $P/kcm.conf \
  --authentication-kubeconfig $P/kcm.conf --authorization-kubeconfig $P/kcm.conf --bind-address 127.0.0.1 \
  --service-account-private-key-file $P/sa.key --root-ca-file $P/ca.crt \
  --cluster-signing-cert-file $P/ca.crt --cluster-signing-key-file $P/ca.key \
  --use-service-account-credentials --leader-elect=false --node-monitor-period 2s --pvclaimbinder-sync-period 1s \
  --profiling=false
start kube-scheduler "$KUBE/kube-scheduler" --kubeconfig $P/scheduler.conf \
  --authentication-kubeconfig $P/scheduler.conf --authorization-kubeconfig $P/scheduler.conf --bind-address 127.0.0.1 \
  --leader-elect=false --profiling=false

if [ "$CTRL_ONLY" != 1 ]; then
  if grep -qw memory /sys/fs/cgroup/cgroup.controllers 2>/dev/null; then   # cgroup v2, as on a stock Debian 12; docs/cluster.md says what was seen there
    mkdir -p "/sys/fs/cgroup/$CGROOT"
    for g in /sys/fs/cgroup "/sys/fs/cgroup/$CGROOT"; do
      for c in cpuset cpu io memory hugetlb pids; do echo "+$c" >"$g/cgroup.subtree_control" 2>/dev/null || true; done
    done
  else
    for c in /sys/fs/cgroup/*/; do [ "$c" = /sys/fs/cgroup/unified/ ] || mkdir -p "$c$CGROOT"; done   # cgroup v1
  fi
  cat > $RUN/kubelet.yaml <<K
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 0.0.0.0
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $P/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $P/kubelet-server.crt
tlsPrivateKeyFile: $P/kubelet-server.key
readOnlyPort: 0
healthzBindAddress: 127.0.0.1
cgroupDriver: cgroupfs
cgroupRoot: /$CGROOT
failCgroupV1: false          # default is true since 1.35; here the controllers sit on cgroup v1
failSwapOn: false
containerRuntimeEndpoint: unix://$RUN/containerd.sock
clusterDNS: [$DNS_IP]
clusterDomain: cluster.local
resolvConf: $RUN/resolv.conf
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%"}
nodeStatusUpdateFrequency: 2s
syncFrequency: 10s
fileCheckFrequency: 0s
podLogsDir: /var/log/pods
K
  cat > $RUN/proxy.yaml <<K
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: ${PROXY_MODE:-nftables}
clientConnection: {kubeconfig: $P/proxy.conf}
clusterCIDR: $POD_CIDR
hostnameOverride: $NODE
metricsBindAddress: 127.0.0.1:10249
healthzBindAddress: 127.0.0.1:10256
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}   # not writable in a netns
K
  wait $IMPORT || true   # images must be there before the first pod
  start kubelet "$KUBE/kubelet" --config $RUN/kubelet.yaml --kubeconfig $P/kubelet.conf \
    --hostname-override $NODE --node-ip $NODE_IP --root-dir /var/lib/kubelet
  start kube-proxy "$KUBE/kube-proxy" --config $RUN/proxy.yaml
fi
touch $RUN/started
trap 'exit 0' TERM INT
while :; do wait -n || sleep 0.2; done   # reap whatever is re-parented to us

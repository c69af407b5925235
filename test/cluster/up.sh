#!/usr/bin/env bash
# Starts the cluster named $CLUSTER and prints how long each stage took. Everything runs in namespaces of its own; pid 1 of them is node-init.sh.
set -euo pipefail
cd "$(dirname "$0")"; . ./env.sh
if [ -e "$RUN/pid.init" ] && grep -qa node-init.sh "/proc/$(cat "$RUN/pid.init")/cmdline" 2>/dev/null; then
  echo "cluster $CLUSTER is up"; exit 0
fi
./packages.sh; ./build.sh
[ ! -e "$RUN" ] || ./down.sh >/dev/null # what a cluster left that died with its machine
t0=$(date +%s.%N)
say() { printf '%6.2fs  %s\n' "$(awk -v a="$t0" -v b="$(date +%s.%N)" 'BEGIN{print b-a}')" "$*"; }
modprobe -a br_netfilter overlay 2>/dev/null || true # modules on a stock Debian kernel; built into others
mkdir -p "$RUN"; ./pki.sh; say "certificates made"
setsid unshare --fork --kill-child --pid --mount-proc --mount --net --uts --ipc --propagation private -- \
  bash "$HERE/node-init.sh" >"$RUN/init.log" 2>&1 </dev/null &
unshare_pid=$!; echo $unshare_pid >"$RUN/pid.unshare"
for _ in $(seq 50); do init=$(tr -d ' ' <"/proc/$unshare_pid/task/$unshare_pid/children" 2>/dev/null || true); [ -n "$init" ] && break; sleep 0.1; done
echo "$init" >"$RUN/pid.init"
setsid socat "TCP-LISTEN:$API_PORT,bind=127.0.0.1,fork,reuseaddr" "UNIX-CONNECT:$RUN/api.sock" >"$RUN/host-socat.log" 2>&1 </dev/null &
echo $! >"$RUN/pid.host-socat"
export KUBECONFIG=$RUN/admin.conf
wait_for() { # what seconds command...
  local what=$1 end=$((SECONDS + $2 * SLOWER)); shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { echo "gave up waiting for: $what. Last lines of $RUN/init.log and $RUN/log:"; tail -n 20 "$RUN/init.log" "$RUN"/log/*.log; exit 1; }
    sleep $((200 * SLOWER))e-3
  done
  say "$what"
}
node_ready() { "$BIN/kubectl" get node $NODE -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}' | grep -q True; }
wait_for "API server answers /readyz" 120 "$BIN/kubectl" get --raw /readyz
wait_for "controller manager works (default service account)" 120 "$BIN/kubectl" -n default get sa default
if [ "$CTRL_ONLY" != 1 ]; then
  wait_for "node is Ready" 180 node_ready
  "$BIN/kubectl" apply -f coredns/manifest.yaml >/dev/null
  ./volumes.sh | "$BIN/kubectl" apply -f - >/dev/null
  wait_for "cluster DNS answers" 180 "$BIN/kubectl" -n kube-system wait --for=condition=Available deploy/coredns --timeout=1s
fi

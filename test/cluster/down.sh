#!/usr/bin/env bash
# Stops the cluster named $CLUSTER by its recorded pids, then removes its state and cgroups. With KEEP_LOGS=1 its logs and a
# dump of its objects are kept aside, and their folder is printed.
set -uo pipefail
cd "$(dirname "$0")"; . ./env.sh
[ -e "$RUN" ] || { echo "cluster $CLUSTER is not up"; exit 0; }
is() { grep -qa "$2" "/proc/$1/cmdline" 2>/dev/null; } # is PID still the program named? (pids are reused)
stop() { [ -e "$RUN/pid.$1" ] && is "$(cat "$RUN/pid.$1")" "$2" && kill "-$3" "$(cat "$RUN/pid.$1")"; }
if [ "${KEEP_LOGS:-0}" = 1 ]; then
  timeout 30 "$BIN/kubectl" --kubeconfig "$RUN/admin.conf" get hds,qlr,arl,deploy,job,pod,configmap,pvc,events -A -o yaml >"$RUN/log/objects.yaml" 2>&1
fi
stop host-socat socat TERM
stop init node-init.sh KILL # pid 1 of the namespaces: the kernel ends all the rest
# a zombie has no cmdline, and whoever reaps it may be slow: look at the cmdline, not at /proc/PID
if [ -e "$RUN/pid.unshare" ]; then for _ in $(seq 100); do is "$(cat "$RUN/pid.unshare")" node-init.sh || break; sleep 0.1; done; fi
for _ in 1 2 3 4 5 6 7 8; do
  left=
  for c in "/sys/fs/cgroup/$CGROOT" /sys/fs/cgroup/*/"$CGROOT"; do # v2, v1
    [ -d "$c" ] || continue
    find "$c" -depth -type d -exec rmdir {} + 2>/dev/null; [ ! -d "$c" ] || left+=" $c"
  done
  [ -n "$left" ] || break; sleep 0.5
done
[ -z "$left" ] || echo "cgroups left:$left"
if [ "${KEEP_LOGS:-0}" = 1 ]; then
  kept=$CACHE/logs/$CLUSTER-$(date +%Y%m%d-%H%M%S)
  mkdir -p "$kept"; mv "$RUN/log" "$RUN"/*.log "$kept/" 2>/dev/null
  ls -dt "$CACHE"/logs/*/ | tail -n +6 | xargs -r rm -rf # the last five are enough
  echo "logs of cluster $CLUSTER are kept in $kept: log/objects.yaml, log/pods, and a file for each program of the node"
fi
rm -rf --one-file-system "$RUN"
echo "cluster $CLUSTER is down"

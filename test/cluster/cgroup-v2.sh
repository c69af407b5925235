#!/usr/bin/env bash
# cgroup-v2.sh TRAINER-ARCHIVE: shows on a machine with cgroup v2 that a cluster comes up, that a trainer's container finds its limits
# where the code looks for them, is held to the one and killed over the other, that down.sh leaves nothing, and that the next cluster comes up.
set -euo pipefail
cd "$(dirname "$0")"; export CLUSTER=cgroup-v2 API_PORT=16446; . ./env.sh
fail() { echo "FAILED: $*"; exit 1; }
[ -e /sys/fs/cgroup/cgroup.controllers ] || fail "/sys/fs/cgroup is not cgroup v2"
namespaces() { lsns -rno NS,TYPE | grep -E ' (net|pid|ipc|cgroup)$' | sort; } # a system service may start with mnt or uts of its own
before=$(namespaces)
gone() {
  local left; left=$(pgrep -af "$RUN/|$CGROOT" || true; find /sys/fs/cgroup -path "*$CGROOT*"; grep -F "$RUN" /proc/mounts || true
    comm -13 <(echo "$before") <(namespaces))
  [ -z "$left" ] || fail "left after down.sh: $left"
  echo "no process, mount, cgroup or namespace is left"
}
trap "KEEP_LOGS=1 ./down.sh" EXIT
./up.sh; ./load.sh "$1"
export KUBECONFIG=$RUN/admin.conf PATH=$BIN:$PATH
image=$(tar -xOf "$1" manifest.json | jq -r '.[0].RepoTags[0]')

pod() { # NAME SCRIPT, which node runs within half a CPU and 256 MiB
  kubectl apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  restartPolicy: Never
  containers:
  - {name: node, image: "$image", command: [node, -e, $(jq -Rs . <<<"$2")], resources: {limits: {cpu: 500m, memory: 256Mi}}}
Y
}
pod limits 'import("/app/trainer-image/train/threads.ts").then(({ cpuQuota, readText }) => {
  console.log("cgroup", readText("/proc/self/cgroup").trim())
  console.log("cpus", cpuQuota())
  console.log("memory", Number(readText("/sys/fs/cgroup/memory.max")))
  const before = process.cpuUsage(), end = Date.now() + 4000
  while (Date.now() < end);
  const { user, system } = process.cpuUsage(before)
  console.log("throttled", (user + system) / 1e6 < 2.6)
})'
fill='const held = []; for (;;) held.push(Buffer.alloc(2 ** 24, 1))'
pod over "$fill"
pod child "require('child_process').spawnSync(process.execPath, ['-e', '$fill'])" # what a container starts counts, too
state() { kubectl get pod "$1" -o jsonpath="{.status.containerStatuses[0].state.terminated$2}"; }
for name in limits over child; do
  for _ in $(seq 120); do [ -z "$(state $name .reason)" ] || break; sleep "$SLOWER"; done
  case $name in
  limits) want=$'cgroup 0::/\ncpus 0.5\nmemory 268435456\nthrottled true' got=$(kubectl logs limits) ;;
  *) want="OOMKilled 137" got="$(state $name .reason) $(state $name .exitCode)" ;;
  esac
  [ "$got" = "$want" ] || fail "pod $name: $got; expected $want; $(state $name '')"
  echo "pod $name: ${got//$'\n'/, }"
done

./down.sh; gone
./up.sh; ./down.sh; gone
trap - EXIT

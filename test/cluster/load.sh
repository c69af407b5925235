#!/usr/bin/env bash
# load.sh FILE.tar...: puts image archives into the running cluster $CLUSTER
set -euo pipefail
. "$(dirname "$0")/env.sh"
for archive in "$@"; do ctr -a "$RUN/containerd.sock" -n k8s.io images import "$archive" >>"$RUN/log/import.log"; done

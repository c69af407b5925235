#!/usr/bin/env bash
# Prints the default StorageClass and its volumes: folders of this machine, made by hand since nothing here provisions them. One claim takes one.
set -euo pipefail
. "$(dirname "$0")/env.sh"
cat <<K
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: local, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
K
for n in $(seq -w 1 40); do
  mkdir -p "$RUN/volumes/$n"; chmod 0777 "$RUN/volumes/$n"
  cat <<K
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: local-$n}
spec:
  capacity: {storage: 100Gi}
  accessModes: [ReadWriteOnce, ReadWriteMany]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: local
  local: {path: $RUN/volumes/$n}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [$NODE]}]}]}}
K
done

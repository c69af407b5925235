#!/usr/bin/env bash
# Installs the Debian packages that the cluster, the images and the native engine are built from; with the argument "engine" those of the
# engine alone, beside which a machine keeps the container runtime that it has. Needs root; does nothing when all are there.
set -euo pipefail
ENGINE=(gcc g++ cmake make libdnnl-dev python3-pip)
PACKAGES=("${ENGINE[@]}" containerd runc containernetworking-plugins iptables nftables conntrack busybox-static buildah mmdebstrap socat jq
  openssl iproute2 procps curl clang-format chromium)
[ "${1:-}" != engine ] || PACKAGES=("${ENGINE[@]}")
installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${PACKAGES[@]}" 2>/dev/null | awk '$2 == "installed" { print $1 }' || true)
missing=$(printf '%s\n' "${PACKAGES[@]}" | grep -vxFf <(printf '%s\n' "$installed") | tr '\n' ' ' || true)
[ -n "${missing// /}" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "Debian packages are missing, which root can install: apt-get install --no-install-recommends $missing" >&2
  exit 1
fi
LOG=${HUMANIZER_CACHE:-$HOME/.cache/humanizer}/packages.log; mkdir -p "$(dirname "$LOG")"
echo "installing $missing(log: $LOG)"
# services must not start by themselves while containerd is installed
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then printf '#!/bin/sh\nexit 101\n' >$policy; chmod +x $policy; trap 'rm -f $policy' EXIT; fi
{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } >>"$LOG" 2>&1 ||
  { tail -20 "$LOG"; exit 1; }

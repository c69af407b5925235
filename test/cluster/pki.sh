#!/usr/bin/env bash
# Makes the cluster's own certificates and kubeconfigs in $RUN/pki; EC keys, valid for 30 days.
set -euo pipefail
. "$(dirname "$0")/env.sh"
P=$RUN/pki; mkdir -p "$P"; cd "$P"
key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key" 2>/dev/null; }
key ca
openssl req -x509 -new -key ca.key -subj /CN=kubernetes-ca -days 30 -out ca.crt \
  -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign,cRLSign' 2>/dev/null
cert() { # name subject eku [san]
  key "$1"
  openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out "$1.crt" -extfile <(
    echo "basicConstraints=critical,CA:FALSE"; echo "keyUsage=critical,digitalSignature,keyEncipherment"
    echo "extendedKeyUsage=$3"; [ -z "${4:-}" ] || echo "subjectAltName=$4") 2>/dev/null
}
cert apiserver /CN=kube-apiserver serverAuth \
  "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,IP:127.0.0.1,IP:$NODE_IP,IP:$KUBERNETES_SVC_IP"
cert kubelet-server "/CN=$NODE" serverAuth "DNS:$NODE,IP:$NODE_IP,IP:127.0.0.1"
cert admin /O=system:masters/CN=admin clientAuth
cert apiserver-kubelet /O=system:masters/CN=kube-apiserver-kubelet-client clientAuth
cert kcm /CN=system:kube-controller-manager clientAuth
cert scheduler /CN=system:kube-scheduler clientAuth
cert kubelet "/O=system:nodes/CN=system:node:$NODE" clientAuth
cert proxy /CN=system:kube-proxy clientAuth
openssl genrsa -out sa.key 2048 2>/dev/null; openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
kubeconf() { # file user server
  cat > "$1" <<K
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "$3", certificate-authority-data: $(base64 -w0 ca.crt)}}]
users: [{name: u, user: {client-certificate-data: $(base64 -w0 "$2.crt"), client-key-data: $(base64 -w0 "$2.key")}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
K
}
for u in kcm scheduler kubelet proxy; do kubeconf $u.conf $u https://127.0.0.1:6443; done
kubeconf "$RUN/admin.conf" admin https://127.0.0.1:$API_PORT          # for the host
kubeconf "$RUN/admin-in-node.conf" admin https://127.0.0.1:6443       # for processes inside the namespaces

#!/usr/bin/env bash
# up.sh: bring up Kubernetes on this machine, with KC_NODES nodes, and print the KUBECONFIG to export. Each node is a
# network namespace with a containerd, a kubelet and a kube-proxy of its own. Run again, it starts what has died.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib/settings.sh"
started=$SECONDS

step() { tell "[$((SECONDS - started))s] $*"; }

fail() {
  echo "up.sh: $*" >&2
  exit 1
}

check_machine() {
  [ "$(id -u)" = 0 ] || fail "needs root: it makes network namespaces, mounts and cgroups"
  command -v dpkg >/dev/null || fail "needs Debian: it installs containerd and runc by apt-get"
  grep -q ' /sys/fs/cgroup/pids cgroup ' /proc/mounts ||
    fail "needs cgroup v1, and /sys/fs/cgroup/pids is none: boot with systemd.unified_cgroup_hierarchy=0"
  command -v go >/dev/null || fail "needs Go 1.24 or later on the PATH, to build Kubernetes with"
}

install_packages() {
  local packages=(containerd runc containernetworking-plugins iptables conntrack socat iproute2 busybox-static openssl)
  dpkg -s "${packages[@]}" >/dev/null 2>&1 || "$here/../../scripts/apt-install.sh" "${packages[@]}"
}

# Build Kubernetes, etcd and CoreDNS from their Go modules. One program holds every component of Kubernetes, since separate
# ones would link the same packages seven times. Without inlining and DWARF, and with a lazy garbage collector, that takes
# a quarter less time.
build_programs() {
  local key minor flags package component
  key=$(cat "$here"/src/go.mod "$here"/src/*/main.go "$here"/src/dns/go.mod | sha256sum | cut -c1-16)-$(go env GOVERSION)
  [ "$(cat "$programs/.key" 2>/dev/null)" != "$key" ] || return 0
  minor=${kubernetes#v*.}
  flags="-s -w"
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=$kubernetes -X $package.gitMajor=1 -X $package.gitMinor=${minor%.*}"
    flags+=" -X $package.gitTreeState=clean -X $package.gitCommit=kc"
  done
  (
    export CGO_ENABLED=0 GOGC=400 GOMODCACHE=$KC_DIR/gomod GOCACHE=$KC_DIR/gocache
    build() { go build -trimpath -ldflags "$flags" "-gcflags=all=-l -dwarf=false" -o "$programs/$1" "$2"; }
    cd "$here/src"
    build kc ./kc
    build pause ./pause
    build tsrv ./tsrv
    cd dns
    build coredns .
  )
  rm -f "$images"/{pause,tsrv}.tar
  for component in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do
    ln -sf kc "$programs/$component"
  done
  echo "$key" >"$programs/.key"
}

make_images() { # pause, which every pod needs, and tsrv, a server to try the cluster with
  local root command
  if [ ! -s "$images/pause.tar" ]; then
    python3 "$here/lib/image.py" "$images/pause.tar" localhost/pause:1 "$programs/pause=/pause" --entrypoint /pause
  fi
  if [ ! -s "$images/tsrv.tar" ]; then
    root=$(mktemp -d)
    mkdir -p "$root"/{bin,tmp,etc,proc,sys,dev,root}
    cp /bin/busybox "$programs/tsrv" "$root/bin/"
    for command in $(/bin/busybox --list); do
      [ "$command" = busybox ] || ln -sf busybox "$root/bin/$command"
    done
    echo root:x:0:0::/root:/bin/sh >"$root/etc/passwd"
    chmod 755 "$root"
    chmod 1777 "$root/tmp"
    python3 "$here/lib/image.py" "$images/tsrv.tar" localhost/tsrv:1 "$root" --entrypoint /bin/tsrv
    rm -r "$root"
  fi
}

make_certificate() { # make_certificate FILE COMMON_NAME ORGANISATION [ALTERNATIVE_NAMES]
  local extensions=extendedKeyUsage=clientAuth,serverAuth
  [ ! -s "$pki/$1.crt" ] || return 0
  [ -z "${4:-}" ] || extensions+=$'\n'subjectAltName=$4
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$pki/$1.key" -subj "/O=$3/CN=$2" \
    -out "$pki/$1.csr" 2>/dev/null
  openssl x509 -req -in "$pki/$1.csr" -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial -days 365 \
    -out "$pki/$1.crt" -extfile <(echo "$extensions") 2>/dev/null
}

make_user() { # make_user NAME COMMON_NAME ORGANISATION: its certificate and $state/NAME.kubeconfig
  make_certificate "$@"
  cat >"$state/$1.kubeconfig" <<END
{apiVersion: v1, kind: Config, current-context: kc,
 clusters: [{name: kc, cluster: {server: "https://$api_address:6443", certificate-authority: $pki/ca.crt}}],
 users: [{name: u, user: {client-certificate: $pki/$1.crt, client-key: $pki/$1.key}}],
 contexts: [{name: kc, context: {cluster: kc, user: u}}]}
END
}

make_certificates() {
  local names=IP:$api_address,IP:127.0.0.1,IP:10.96.0.1,DNS:localhost name i
  for name in kubernetes kubernetes.default kubernetes.default.svc kubernetes.default.svc.cluster.local; do
    names+=,DNS:$name
  done
  if [ ! -s "$pki/ca.crt" ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$pki/ca.key" -subj /CN=kc-ca -days 365 \
      -out "$pki/ca.crt" 2>/dev/null
  fi
  if [ ! -s "$pki/sa.key" ]; then
    openssl genrsa -out "$pki/sa.key" 2048 2>/dev/null
    openssl rsa -in "$pki/sa.key" -pubout -out "$pki/sa.pub" 2>/dev/null
  fi
  make_certificate apiserver kube-apiserver kc "$names"
  make_certificate apiserver-kubelet apiserver-kubelet system:masters
  make_user admin admin system:masters
  make_user kcm system:kube-controller-manager kc
  make_user scheduler system:kube-scheduler kc
  make_user kube-proxy system:kube-proxy kc
  for i in $(seq "$KC_NODES"); do
    make_user "n$i" "system:node:n$i" system:nodes
  done
}

make_networks() {
  local range i
  # The kubelets set these for the whole machine; down.sh puts them back.
  [ -s "$state/sysctl.saved" ] ||
    sysctl vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops net.bridge.bridge-nf-call-iptables \
      >"$state/sysctl.saved" 2>/dev/null || :
  # A guard that stays when the cluster ends: without it, packets to the cluster's addresses would then leave by the
  # default route.
  for range in $nodes_net.0/24 $pods_net.0.0/16 $services_net; do
    ip route replace unreachable "$range" metric 9999
  done
  if ! ip link show kcbr0 >/dev/null 2>&1; then
    ip link add kcbr0 type bridge
    ip addr add $api_address/24 dev kcbr0
    ip link set kcbr0 up
  fi
  # Packets across the bridge must not pass this machine's iptables: dockerd sets FORWARD to DROP.
  sysctl -qw net.bridge.bridge-nf-call-iptables=0 2>/dev/null || :
  for i in $(seq "$KC_NODES"); do
    [ -e "/run/netns/kc-n$i" ] || add_node_network "$i"
  done
  ip route replace $services_net via $nodes_net.11 dev kcbr0 # from this machine, Services are reached by way of node 1
}

add_node_network() { # add_node_network I: only the cluster's own ranges are routed, so nothing leaves this machine
  local i=$1 other
  ip netns add "kc-n$i"
  ip link add "kcv$i" type veth peer name eth0 netns "kc-n$i"
  ip link set "kcv$i" master kcbr0 up
  ip -n "kc-n$i" link set lo up
  ip -n "kc-n$i" addr add "$nodes_net.$((10 + i))/24" dev eth0
  ip -n "kc-n$i" link set eth0 up
  ip -n "kc-n$i" route add $services_net via $api_address
  for other in $(seq "$KC_NODES"); do
    [ "$i" = "$other" ] || ip -n "kc-n$i" route add "$pods_net.$other.0/24" via "$nodes_net.$((10 + other))"
  done
  ip route replace "$pods_net.$i.0/24" via "$nodes_net.$((10 + i))" dev kcbr0
}

start() { # start PROGRAM ARGUMENT...: a part of the control plane
  start_daemon "$1" sys-cp "$logs/$1.log" "$@"
}

start_control_plane() {
  start etcd --name=kc --data-dir="$state/etcd" --listen-client-urls=http://127.0.0.1:23790 \
    --advertise-client-urls=http://127.0.0.1:23790 --listen-peer-urls=http://127.0.0.1:23800 \
    --initial-advertise-peer-urls=http://127.0.0.1:23800 --initial-cluster=kc=http://127.0.0.1:23800 \
    --unsafe-no-fsync --log-level=warn
  start kube-apiserver --etcd-servers=http://127.0.0.1:23790 --bind-address=$api_address --advertise-address=$api_address \
    --secure-port=6443 --service-cluster-ip-range=$services_net --client-ca-file="$pki/ca.crt" \
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
    --kubelet-client-certificate="$pki/apiserver-kubelet.crt" --kubelet-client-key="$pki/apiserver-kubelet.key" \
    --kubelet-preferred-address-types=InternalIP --service-account-issuer=https://kubernetes.default.svc \
    --service-account-key-file="$pki/sa.pub" --service-account-signing-key-file="$pki/sa.key" \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --enable-aggregator-routing \
    --allow-privileged
  await 60 apiserver kubectl get --raw /readyz
  start kube-controller-manager --kubeconfig="$state/kcm.kubeconfig" --bind-address=127.0.0.1 --leader-elect=false \
    --service-account-private-key-file="$pki/sa.key" --root-ca-file="$pki/ca.crt" --use-service-account-credentials \
    --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key"
  start kube-scheduler --kubeconfig="$state/scheduler.kubeconfig" --bind-address=127.0.0.1 --leader-elect=false
}

start_nodes() {
  local i enter
  for i in $(seq "$KC_NODES"); do
    if is_alive "n$i-containerd"; then
      enter=(nsenter -t "$(cat "$state/n$i-containerd.pid")" -m -n -u)
    else
      enter=(nsenter "--net=/run/netns/kc-n$i" unshare -m -u --propagation private)
    fi
    "${enter[@]}" "$here/lib/node.sh" "$i" >>"$logs/n$i.log" 2>&1 &
  done
  await 120 nodes nodes_are_ready
}

nodes_are_ready() {
  local status='{range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}'
  [ "$(kubectl get nodes -o jsonpath="$status" | grep -c True)" -ge "$KC_NODES" ]
}

start_dns() { # CoreDNS beside the control plane; its Service has an endpoint that no pod is behind
  kubectl apply -f - >/dev/null <<END
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec: {clusterIP: $dns_address, ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns-kc, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: IPv4
endpoints: [{addresses: [$api_address], conditions: {ready: true}}]
ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
END
  cat >"$state/Corefile" <<END
.:53 {
	bind $api_address
	errors
	kubernetes cluster.local in-addr.arpa {
		kubeconfig $state/admin.kubeconfig kc
		ttl 1
	}
}
END
  start coredns -conf "$state/Corefile"
  await 20 "cluster DNS" python3 "$here/lib/resolve.py" $dns_address kubernetes.default.svc.cluster.local
}

check_machine
mkdir -p "$programs" "$images" "$pki" "$logs"
export PATH=$programs:$PATH
step "1 Debian packages"
install_packages
step "2 programs"
build_programs
step "3 images"
make_images
step "4 certificates"
make_certificates
step "5 networks"
make_networks
step "6 control plane"
start_control_plane
step "7 nodes"
start_nodes
step "8 cluster DNS"
start_dns
await 30 "default service account" kubectl get sa default
step "ready: export KUBECONFIG=$KUBECONFIG"
kubectl get nodes -o wide

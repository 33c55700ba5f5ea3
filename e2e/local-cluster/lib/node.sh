#!/usr/bin/env bash
# node.sh I: start containerd, kubelet and kube-proxy of node I. up.sh runs it in the node's own network, mount and UTS
# namespaces. Run again in there, it starts what has died.
set -eu
. "$(dirname "$0")/settings.sh"
number=$1
node=n$number
address=$nodes_net.$((10 + number))
home=$state/$node
export PATH=$programs:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

prepare_namespaces() {
  mkdir -p "$home"/{kubelet,logs,containerd,run,cni,netd,dev-plugins} /var/lib/kubelet
  mount --make-rprivate /
  mount --bind "$home/kubelet" /var/lib/kubelet
  mkdir -p /run/netns
  mount -t tmpfs tmpfs /run/netns
  mount --make-rshared /
  hostname "$node"
  sysctl -qw net.ipv4.ip_forward=1
  sysctl -qw net.ipv4.conf.all.rp_filter=0 || :
  ip link set lo up
}

make_cgroups() { # the kubelet's cgroupRoot, in every hierarchy
  local hierarchy group
  for hierarchy in /sys/fs/cgroup/*/; do
    [ "$hierarchy" = /sys/fs/cgroup/unified/ ] && continue
    mkdir -p "${hierarchy}kc/$node"
    [ -e "${hierarchy}kc/cpuset.cpus" ] || continue
    for group in "${hierarchy}kc" "${hierarchy}kc/$node"; do # a cpuset starts empty, and takes no process while it is
      [ -n "$(cat "$group/cpuset.cpus")" ] && continue
      cat "${hierarchy}cpuset.cpus" >"$group/cpuset.cpus"
      cat "${hierarchy}cpuset.mems" >"$group/cpuset.mems"
    done
  done
  # The pods of all nodes share one cgroup, beside which each process of the machine counts as much. On a real node pods
  # stand still for no daemon, so give them the weight of eight processes.
  echo 8192 | tee /sys/fs/cgroup/*/kc/cpu.shares >/dev/null
}

write_pod_network() {
  cat >"$home/netd/10-kc.conflist" <<END
{"cniVersion":"0.4.0","name":"kc","plugins":[
 {"type":"ptp","mtu":1450,"ipam":{"type":"host-local","dataDir":"$home/cni","ranges":[[{"subnet":"$pods_net.$number.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}},
 {"type":"portmap","capabilities":{"portMappings":true},"snat":true}]}
END
}

write_containerd_config() {
  cat >"$home/containerd.toml" <<END
version = 2
root = "$home/containerd"
state = "$home/run"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs","io.containerd.snapshotter.v1.zfs","io.containerd.snapshotter.v1.devmapper","io.containerd.snapshotter.v1.aufs","io.containerd.internal.v1.tracing"]
[grpc]
  address = "$home/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  disable_apparmor = true
  restrict_oom_score_adj = true   # without CAP_SYS_RESOURCE a negative oom_score_adj would fail
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$home/netd"
END
}

write_kubelet_config() {
  printf 'nameserver %s\n' "$api_address" >"$home/resolv.conf"
  cat >"$home/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $address
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: $pki/ca.crt}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: /kc/$node
failCgroupV1: false
failSwapOn: false
clusterDomain: cluster.local
clusterDNS: [$dns_address]
resolvConf: $home/resolv.conf
containerRuntimeEndpoint: unix://$home/containerd.sock
podLogsDir: $home/logs
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, nodefs.inodesFree: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
serializeImagePulls: true
syncFrequency: 10s
nodeStatusUpdateFrequency: 4s
shutdownGracePeriod: 0s
END
}

start() { # start PROGRAM ARGUMENT...
  start_daemon "$node-$1" "sys-$node" "$home/$1.log" "$@"
}

if ! is_alive "$node-containerd"; then
  prepare_namespaces
  write_pod_network
  write_containerd_config
  write_kubelet_config
  make_cgroups
  start containerd -c "$home/containerd.toml"
  await 20 "containerd of $node" ctr -a "$home/containerd.sock" version
  for archive in "$images"/*.tar; do
    ctr -a "$home/containerd.sock" -n k8s.io images import "$archive" >>"$home/import.log" 2>&1
  done
fi
start kubelet --config="$home/kubelet.yaml" --kubeconfig="$state/$node.kubeconfig" --hostname-override="$node" \
  --node-ip="$address" --root-dir=/var/lib/kubelet --cert-dir="$home/kubelet-pki" --register-node=true --v=2
start kube-proxy --kubeconfig="$state/kube-proxy.kubeconfig" --proxy-mode=iptables --cluster-cidr="$pods_net.0.0/16" \
  --hostname-override="$node" --conntrack-max-per-core=0 --conntrack-min=0 --conntrack-tcp-timeout-established=0s \
  --conntrack-tcp-timeout-close-wait=0s --v=2

# shellcheck shell=bash disable=SC2034 # the scripts that source this file read its variables
# Settings and helpers that the local cluster's scripts share. Sourced, never run.
: "${KC_DIR:=$HOME/.cache/kc}" # the cache: built programs and images; kept from run to run
: "${KC_NODES:=3}"

kubernetes=v1.34.4 # the version of k8s.io/kubernetes in src/go.mod
programs=$KC_DIR/bin
images=$KC_DIR/img
state=$KC_DIR/state # the files of the running cluster; down.sh removes them
pki=$state/pki
logs=$state/log

nodes_net=10.89.0 # node I has the address 10.89.0.(10+I)
pods_net=10.90    # the pods of node I have addresses in 10.90.I.0/24
services_net=10.96.0.0/16
api_address=$nodes_net.1
dns_address=10.96.0.10

export KUBECONFIG=$state/admin.kubeconfig

tell() { printf '%(%H:%M:%S)T %s\n' -1 "$*" >&2; }

is_alive() { # is_alive NAME: its process runs; a zombie does not
  [ -s "$state/$1.pid" ] && grep -qs '^State:.*[RSD] ' "/proc/$(cat "$state/$1.pid")/status"
}

await() { # await SECONDS WHAT COMMAND...: repeats the command until it succeeds
  local tries=$(($1 * 5)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    if [ $((tries -= 1)) -le 0 ]; then
      tell "timed out waiting for $what"
      return 1
    fi
    sleep 0.2
  done
}

# Each daemon joins the pids cgroup /kc/GROUP, so that down.sh finds every process of the cluster and no other. In the
# other hierarchies daemons stay where they were started; there the kubelets make /kc/nI for the pods of node I.
start_daemon() { # start_daemon NAME GROUP LOG COMMAND...: starts it, unless it is alive, and keeps its pid
  local name=$1 group=$2 log=$3
  shift 3
  is_alive "$name" && return
  mkdir -p "/sys/fs/cgroup/pids/kc/$group"
  (
    echo "$BASHPID" >"/sys/fs/cgroup/pids/kc/$group/cgroup.procs"
    exec setsid "$@"
  ) >>"$log" 2>&1 </dev/null &
  echo $! >"$state/$name.pid"
}

#!/usr/bin/env bash
# down.sh: end every process of the local cluster, and only those (they are in the cgroups under /kc), and remove its
# networks and state. The cache stays.
set -uo pipefail
. "$(dirname "$0")/lib/settings.sh"

processes() { find /sys/fs/cgroup/pids/kc -name cgroup.procs -exec cat {} + 2>/dev/null; }

for _ in {1..10}; do # again, since a process may start others before it is killed
  mapfile -t pids < <(processes)
  [ ${#pids[@]} -gt 0 ] || break
  kill -KILL "${pids[@]}" 2>/dev/null
  sleep 0.2
done
for namespace in /run/netns/kc-n*; do
  [ ! -e "$namespace" ] || ip netns del "$(basename "$namespace")"
done
ip link del kcbr0 2>/dev/null
for group in /sys/fs/cgroup/*/kc; do
  [ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} + 2>/dev/null
done
awk -v under="$state/" 'index($2, under) == 1 {print $2}' /proc/mounts | sort -r | xargs -r umount -l
[ ! -s "$state/sysctl.saved" ] || sysctl -qp "$state/sysctl.saved" || :
rm -rf "$state"

mapfile -t pids < <(processes)
if [ ${#pids[@]} -gt 0 ]; then
  tell "still there: ${pids[*]}"
  exit 1
fi
tell down

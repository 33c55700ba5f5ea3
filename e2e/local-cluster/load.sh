#!/usr/bin/env bash
# load.sh ARCHIVE...: import images (docker or OCI archives) into every node of the running cluster.
set -eu
. "$(dirname "$0")/lib/settings.sh"
for socket in "$state"/n*/containerd.sock; do
  [ -S "$socket" ] || { echo "load.sh: no cluster runs in $state: start one with up.sh" >&2; exit 1; }
  for archive in "$@"; do
    ctr -a "$socket" -n k8s.io images import "$archive"
  done
done

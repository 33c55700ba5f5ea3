#!/usr/bin/env bash
# Install Debian packages: apt-install.sh PACKAGE...
# Waits up to five minutes for another apt to let go of its locks, and shows apt's own words when it fails.
set -uo pipefail
if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
  echo "apt-install: needs root and apt-get to install $*; install it yourself and try again" >&2
  exit 1
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
apt=(apt-get -qq -o DPkg::Lock::Timeout=300)
patience=300

# DPkg::Lock::Timeout covers dpkg's lock alone; the lists have a lock of their own, for which apt does not wait.
until "${apt[@]}" update >"$log" 2>&1; do
  if ! grep -q 'Could not get lock' "$log" || [ $((patience -= 3)) -le 0 ]; then
    echo "apt-install: apt-get update failed, trying with the lists that are here; it said:" >&2
    cat "$log" >&2
    break
  fi
  sleep 3
done
if ! "${apt[@]}" install -y --no-install-recommends "$@" >"$log" 2>&1; then
  echo "apt-install: could not install $*; apt-get said:" >&2
  cat "$log" >&2
  exit 1
fi

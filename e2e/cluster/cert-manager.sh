#!/usr/bin/env bash
# cert-manager.sh: cert-manager's controller, built from its Go module into .tools/cert-manager, and its CRDs beside it;
# prints that directory. Its images come from a registry that a cluster under test may not reach; the controller runs
# just as well outside of a cluster. 1.11 is the last whose controller is in the module itself.
set -euo pipefail
version=v1.11.5
root=$(cd "$(dirname "$0")/../.." && pwd)
out=$root/.tools/cert-manager
if [ ! -e "$out/$version" ]; then
  command -v go >/dev/null || { echo "cert-manager.sh: no go here, to build cert-manager with" >&2; exit 1; }
  work=$(mktemp -d)
  trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
  cd "$work"
  go mod init build 2>/dev/null
  module=$(go mod download -json "github.com/cert-manager/cert-manager@$version" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
  cp -r "$module" source && chmod -R u+w source
  cd source
  mkdir -p "$out"
  go build -mod=mod -o "$out/controller" ./cmd/controller >&2
  # Written for a helm chart: its labels are not ours to fill.
  for crd in deploy/crds/crd-*.yaml; do grep -v '{{' "$crd" >"$out/$(basename "$crd")"; done
  touch "$out/$version"
fi
echo "$out"

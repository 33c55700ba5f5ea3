#!/usr/bin/env bash
# Writes sipgw/README.md: helm-docs of the PATH, else the pinned one, built by go.
set -euo pipefail
cd "$(dirname "$0")"
docs() { if command -v helm-docs >/dev/null; then helm-docs "$@"; else go run github.com/norwoodj/helm-docs/cmd/helm-docs@v1.14.2 "$@"; fi; }
docs --chart-search-root=sipgw --sort-values-order=file --log-level=warning

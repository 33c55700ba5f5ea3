#!/usr/bin/env bash
# Writes libs/api from the protos: messages, stubs and their types. `make proto` runs it; CI runs it and diffs.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/.venv/bin
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
(cd proto && PATH="$bin:$PATH" "$bin/python" -m grpc_tools.protoc -I . \
  --python_out="$new" --grpc_python_out="$new" --mypy_out="quiet:$new" --mypy_grpc_out="quiet:$new" \
  $(find . -name '*.proto' | sed 's|^\./||' | sort))
# voicebot.proto keeps its bare package name on the wire; in Python it lives in sipgw.api.
for f in "$new"/voicebot_pb2*; do
  sed -E 's/^import voicebot_pb2/from sipgw.api import voicebot_pb2/' "$f" > "$new/sipgw/api/$(basename "$f")"
  rm "$f"
done
find libs/api/src/sipgw/api -name '*_pb2*' | while read -r old; do
  [ -e "$new/${old#libs/api/src/}" ] || rm "$old"
done
cp -r "$new/sipgw" libs/api/src/

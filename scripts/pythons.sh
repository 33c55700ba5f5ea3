#!/usr/bin/env bash
# Prove the demo on every Python that is supported: pythons.sh UV
# Runs `make demo` in a clean copy of this tree on each version that is found here (on the PATH, by pyenv; the newest
# Debian's in a root made by mmdebstrap), and for the others shows that the locks resolve to wheels alone.
set -uo pipefail
cd "$(dirname "$0")/.."
uv=$(realpath "$1")
supported=(3.11 3.12 3.13 3.14)
suite=trixie suite_python=3.13
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
report=()
failed=0

find_python() { # find_python VERSION: prints a path
  local candidate
  for candidate in "$(command -v "python$1")" "$HOME"/.pyenv/versions/"$1".*/bin/python /opt/python/"$1"*/bin/python; do
    [ -x "$candidate" ] && "$candidate" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null &&
      { realpath -s "$candidate"; return; }
  done
  return 1
}

copy_tree() { # copy_tree DIRECTORY: the files of the work tree that git does not ignore
  mkdir -p "$1" && git ls-files -z --cached --others --exclude-standard | tar --create --null --files-from=- --ignore-failed-read | tar --extract --directory "$1"
}

tell() { # tell STATUS WORDS: a line of the table at the end
  report+=("$2: $([ "$1" = 0 ] && echo passed || echo FAILED)")
  [ "$1" = 0 ] || failed=1
}

demo_here() { # demo_here VERSION PYTHON
  local tree=$work/$1
  copy_tree "$tree"
  (cd "$tree" && env -u VIRTUAL_ENV PATH="$(dirname "$uv"):$PATH" make demo PYTHON="$2")
  tell $? "Python $1 (found here): make demo"
  rm -rf "$tree"
}

demo_in_debian() { # a fresh Debian with python3 and make alone
  local root=$work/debian status
  command -v mmdebstrap >/dev/null || scripts/apt-install.sh mmdebstrap || return 1
  mmdebstrap --quiet --variant=apt --include=python3,make,ca-certificates "$suite" "$root" || return 1
  copy_tree "$root/sipgw"
  cp --dereference /etc/resolv.conf "$root/etc/" 2>/dev/null
  cp --dereference "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$root/etc/ssl/certs/ca-certificates.crt"
  mount --bind /proc "$root/proc" && mount --bind /dev "$root/dev"
  chroot "$root" make -C /sipgw demo
  status=$?
  umount "$root/proc" "$root/dev"
  tell $status "Python $suite_python (fresh Debian $suite, with python3 and make alone): make demo"
}

resolve() { # resolve VERSION LOCK...: wheels alone, for Linux on x86-64 and arm64
  local version=$1 platform status=0
  shift
  for platform in x86_64 aarch64; do
    "$uv" pip compile --quiet --no-header --no-annotate --only-binary :all: --python-version "$version" \
      --python-platform "$platform-manylinux_2_28" "$@" >/dev/null || status=1
  done
  tell $status "Python $version: $* resolve to wheels"
}

for version in "${supported[@]}"; do
  resolve "$version" requirements-run.lock
  resolve "$version" requirements.lock
  python=$(find_python "$version") && demo_here "$version" "$python"
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  demo_in_debian || tell 1 "Python $suite_python (fresh Debian $suite): its root file system"
fi
printf '%s\n' "${report[@]}"
exit $failed

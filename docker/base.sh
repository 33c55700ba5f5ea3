#!/usr/bin/env bash
# base.sh run|build DEST.tar: a Python base made from Debian packages, for where no image registry can be reached.
# `run` is what services stand on: Python, its libraries and nothing to install or compile with, not even a shell;
# `build` adds what the builder stages use. No maintainer script runs: the packages are unpacked, which takes seconds.
set -euo pipefail
kind=$1 dest=$2
suite=${SIPGW_DEBIAN_SUITE:-bookworm}
mirrors=${SIPGW_DEBIAN_MIRRORS:-} # as mmdebstrap takes them, by blanks; empty: Debian's own, with security updates
python=python3.11
packages=$python-minimal,lib$python-stdlib,libgcc-s1,libstdc++6,libc6,zlib1g,netbase
[ "$kind" = run ] || packages+=,$python-venv,python3-pip-whl,python3-setuptools-whl,ca-certificates,dash,coreutils,redis-server

command -v mmdebstrap >/dev/null || {
  "$(dirname "$0")/../scripts/apt-install.sh" mmdebstrap
} >/dev/null

work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
root=$work/root
# The packages' own records, so that scanners and the SBOM know what is inside; and whose each file is, where files are
# taken from to be put on another base.
record='for deb in "$1"/var/cache/apt/archives/*.deb; do dpkg-deb -f "$deb"; echo "Status: install ok installed"; echo; done'
list=true
[ "$kind" = run ] || list='mkdir -p "$1/var/lib/dpkg/info"; for deb in "$1"/var/cache/apt/archives/*.deb; do
  dpkg-deb --fsys-tarfile "$deb" | tar -t | sed s/^.// >"$1/var/lib/dpkg/info/$(dpkg-deb -f "$deb" Package).list"; done'
mmdebstrap --quiet --variant=extract --include="$packages" --extract-hook="{ $record; } >$work/status" \
  --extract-hook="$list" "$suite" "$root" $mirrors >&2

cp "$work/status" "$root/var/lib/dpkg/status"
ln -sf $python "$root/usr/bin/python3"
mkdir -p "$root"/{proc,sys,run,root,home} "$root/usr/local/bin" "$root/etc/ssl/certs"
printf 'root:x:0:0::/root:/usr/sbin/nologin\nnonroot:x:65532:65532::/home:/usr/sbin/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\nnonroot:x:65532:\n' >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
rm -rf "$root"/etc/{apt,hostname,resolv.conf,fstab} "$root"/var/{cache,lib/apt} "$root"/dev/* \
  "$root"/usr/share/{man,locale,lintian,bug} "$root"/usr/lib/$python/pydoc_data
find "$root/usr/share/doc" -type f ! -name copyright -delete
if [ "$kind" = run ]; then
  rm -rf "$root"/usr/bin/{dpkg*,update-alternatives} "$root"/{bin,sbin}/* "$root"/usr/sbin/* "$root"/usr/lib/$python/ensurepip
else
  ln -sf dash "$root/bin/sh"
  cat "$root"/usr/share/ca-certificates/mozilla/*.crt >"$root/etc/ssl/certs/ca-certificates.crt"
fi
# Compiled here: on a read-only root Python would compile its library anew at every start.
chroot "$root" /usr/bin/python3 -m compileall -q --invalidation-mode unchecked-hash /usr/lib/$python
tar -C "$root" --sort=name --numeric-owner --owner=0 --group=0 --mtime=@0 -cf "$dest" .

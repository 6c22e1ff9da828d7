#!/bin/bash
# Checks that the packages for building and testing are installed; on Debian it installs missing ones.
set -euo pipefail

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  missing=
  "${PG_CONFIG:-pg_config}" --pgxs >/dev/null 2>&1 || missing+=' the PostgreSQL server with its headers (pg_config),'
  cflags=$(pkg-config --cflags openblas 2>/dev/null || true)
  "${CC:-cc}" --version >/dev/null 2>&1 || missing+=' a C compiler,'
  # shellcheck disable=SC2086 # a list of words
  echo '#include <cblas.h>' | "${CC:-cc}" $cflags -E -x c - >/dev/null 2>&1 || missing+=' OpenBLAS with cblas.h,'
  perl -MIPC::Run -e 1 2>/dev/null || missing+=' perl with IPC::Run (for the TAP tests),'
  [ -z "$missing" ] || { echo "please install:${missing%,}" >&2; exit 1; }
  exit 0
fi

# The server to build for: the one whose headers are installed, otherwise that of this Debian release
config() { "${PG_CONFIG:-pg_config}" "$@" 2>/dev/null || true; }
distribution_major() {
  # fails if there are no package lists yet
  (apt-cache depends postgresql 2>/dev/null || true) | sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p'
}
if [ -f "$(config --includedir-server)/postgres.h" ]; then
  major=$(config --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
  bindir=$(config --bindir)
else
  major=$(distribution_major)
  bindir=
fi

# the packages that are not installed, in one line
missing() {
  local p
  set -- gcc libc6-dev make libopenblas-serial-dev libipc-run-perl
  # a server that was not installed from a package is left alone
  if [ -z "$bindir" ] || [ "$bindir" = "/usr/lib/postgresql/$major/bin" ]; then
    set -- "$@" "postgresql-${major:-15}" "postgresql-server-dev-${major:-15}"
  fi
  for p in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || printf '%s ' "$p"
  done
}

todo=$(missing)
[ -n "$todo" ] || exit 0

if [ "$(id -u)" = 0 ]; then
  as_root=()
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
  as_root=(sudo -n)
else
  echo "Some packages are missing. As root, run:" >&2
  echo "  apt-get update && apt-get install --no-install-recommends $todo" >&2
  exit 1
fi

exec </dev/null
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 "$@"; }

apt update || true # the packages may still be in the cache
if [ -z "$major" ]; then
  major=$(distribution_major)
  todo=$(missing)
fi
echo "installing: $todo"
# shellcheck disable=SC2086 # a list of words
apt install --no-install-recommends $todo
